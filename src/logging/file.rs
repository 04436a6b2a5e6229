//! A file of the log: one object of JSON a line, in files that wrap by size. The open one keeps the configured name, older ones
//! are `name.1`, `name.2` and so on. A line is written whole or not at all: what a full disk cuts off is taken back, and what a
//! crash left without its end is cut off at the next start.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::destination::{Line, Write};
use crate::disk::{FileId, open_lines, wrap};

/// Where lines go, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlan {
    pub path: PathBuf,
    pub max_bytes: u64,
    /// With the open one.
    pub max_files: u32,
}

/// The open file.
#[derive(Debug)]
struct Opened {
    file: File,
    bytes: u64,
    /// What the name stood for when it was opened.
    id: FileId,
}

/// Writes one file after the other.
#[derive(Debug)]
pub struct LogFile {
    plan: FilePlan,
    opened: Option<Opened>,
    is_told: bool,
}

/// Bytes that a file's end is looked through for the end of its last line.
const TORN_BYTES_MAX: u64 = 64 * 1024;

impl LogFile {
    /// # Errors
    /// When the file cannot be opened: a start says so.
    pub fn new(plan: FilePlan) -> io::Result<Self> {
        let opened = Some(open(&plan.path)?);
        Ok(Self { plan, opened, is_told: false })
    }

    /// The open file; another one where somebody has renamed or removed it.
    fn opened(&mut self) -> io::Result<&mut Opened> {
        let is_there = self.opened.as_ref().is_some_and(|opened| {
            fs::metadata(&self.plan.path).is_ok_and(|found| FileId::new(&found) == opened.id)
        });
        if !is_there {
            self.opened = None;
        }
        match &mut self.opened {
            Some(opened) => Ok(opened),
            none => Ok(none.insert(open(&self.plan.path)?)),
        }
    }

    fn write_lines(&mut self, lines: &[Line], written: &mut usize) -> io::Result<()> {
        let max_bytes = self.plan.max_bytes;
        let mut rest = lines;
        while !rest.is_empty() {
            let opened = self.opened()?;
            let mut text = Vec::new();
            let mut count = 0;
            for line in rest {
                let length = text.len() + line.json.len() + 1;
                if opened.bytes + length as u64 > max_bytes && (opened.bytes > 0 || count > 0) {
                    break;
                }
                text.extend_from_slice(line.json.as_bytes());
                text.push(b'\n');
                count += 1;
            }
            if count == 0 {
                self.opened = None;
                wrap(&self.plan.path, self.plan.max_files)?;
                continue;
            }
            opened.append(&text)?;
            *written += count;
            rest = &rest[count..];
        }
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, lines: &[Line]) -> usize {
        let mut written = 0;
        match self.write_lines(lines, &mut written) {
            Ok(()) => self.is_told = false,
            Err(error) if !std::mem::replace(&mut self.is_told, true) => {
                let path = self.plan.path.display();
                tracing::warn!(target: "gemba::kaizen", %path, %error, "a file of the log cannot be written");
            }
            Err(_) => {}
        }
        lines.len() - written
    }

    fn reopen(&mut self) {
        // One that cannot be opened is opened with the next line, which says so.
        self.opened = open(&self.plan.path).ok();
    }
}

impl Opened {
    /// All of it, or nothing.
    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        match self.file.write_all(text) {
            Ok(()) => {
                self.bytes += text.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.file.set_len(self.bytes)?;
                Err(error)
            }
        }
    }
}

/// Opens a regular file to append to it, and cuts off a last line that has no end. What is not a line of ours is ended instead: the
/// file may have been somebody else's.
fn open(path: &Path) -> io::Result<Opened> {
    let (mut file, found) = open_lines(path, true)?;
    let id = FileId::new(&found);
    let (whole, torn) = last_line(&mut file, found.len())?;
    let mut bytes = found.len();
    if OURS.starts_with(&torn) || torn.starts_with(OURS) {
        file.set_len(whole)?;
        bytes = whole;
    } else {
        file.write_all(b"\n")?;
        bytes += 1;
    }
    Ok(Opened { file, bytes, id })
}

/// How every line of ours begins.
const OURS: &[u8] = b"{\"ts\":\"";

/// Bytes up to the end of the last whole line, and how what follows begins. Of a line longer than any of ours that is its middle.
fn last_line(file: &mut File, bytes: u64) -> io::Result<(u64, Vec<u8>)> {
    let from = bytes.saturating_sub(TORN_BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.take(TORN_BYTES_MAX).read_to_end(&mut end)?;
    let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let torn = end[whole..].iter().take(OURS.len()).copied().collect();
    Ok((from + whole as u64, torn))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::Level;

    use super::*;
    use crate::disk::numbered;
    use crate::event::UnixMillis;

    fn lines(from: u32, count: u32) -> Vec<Line> {
        let line = |number| Line {
            now: UnixMillis(0),
            level: Level::INFO,
            target: "gemba::line",
            json: Arc::from(format!("{{\"n\":{number:06}}}")),
        };
        (from..from + count).map(line).collect()
    }

    fn plan(dir: &Path) -> FilePlan {
        FilePlan { path: dir.join("gemba.log"), max_bytes: 100, max_files: 3 }
    }

    fn read(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn files_wrap_by_size_and_no_line_is_parted() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LogFile::new(plan(dir.path())).unwrap();
        for number in 0..10 {
            assert_eq!(file.write(&lines(number * 7, 7)), 0);
            let names = fs::read_dir(dir.path()).unwrap().count();
            assert!(names <= 3, "{names} files");
        }
        let path = dir.path().join("gemba.log");
        let kept: Vec<String> =
            [numbered(&path, 2), numbered(&path, 1), path].iter().flat_map(|path| read(path)).collect();
        let newest: Vec<String> = lines(0, 70).iter().map(|line| line.json.to_string()).collect();
        assert!(kept.len() > 14 && newest.ends_with(&kept), "{kept:?}");
        for number in 0..=2 {
            let path =
                if number == 0 { plan(dir.path()).path } else { numbered(&plan(dir.path()).path, number) };
            assert!(fs::metadata(path).unwrap().len() <= 100);
        }
    }

    #[test]
    fn a_line_without_its_end_is_cut_off_and_never_read_with_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = plan(dir.path()).path;
        for (left, whole) in [
            ("{\"n\":1}\n{\"ts\":\"2026", vec!["{\"n\":1}"]),
            ("{\"ts\":\"2026", vec![]),
            ("{\"n\":1}\n{", vec!["{\"n\":1}"]),
            ("", vec![]),
            ("{\"n\":1}\n", vec!["{\"n\":1}"]),
            // Nobody asked for this to be cut.
            ("somebody's notes", vec!["somebody's notes"]),
        ] {
            fs::write(&path, left).unwrap();
            assert_eq!(LogFile::new(plan(dir.path())).unwrap().write(&lines(7, 1)), 0);
            assert_eq!(read(&path), [whole, vec!["{\"n\":000007}"]].concat(), "{left}");
        }
    }

    #[test]
    fn a_file_that_was_renamed_or_removed_is_opened_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = plan(dir.path()).path;
        let mut file = LogFile::new(plan(dir.path())).unwrap();
        file.write(&lines(1, 1));
        fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        file.write(&lines(2, 1));
        fs::remove_file(&path).unwrap();
        file.write(&lines(3, 1));
        assert_eq!(read(&dir.path().join("elsewhere")), ["{\"n\":000001}"]);
        assert_eq!(read(&path), ["{\"n\":000003}"]);
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        assert!(LogFile::new(FilePlan { path, max_bytes: 1, max_files: 1 }).is_err());
        std::os::unix::fs::symlink("/dev/null", plan(dir.path()).path).unwrap();
        assert!(LogFile::new(plan(dir.path())).is_err());
    }

    #[test]
    fn what_a_full_disk_cuts_off_is_taken_back() {
        // Of a file whose size is bounded, as of a full disk, a part is written.
        let dir = tempfile::tempdir().unwrap();
        let mut file = LogFile::new(FilePlan { max_bytes: u64::MAX, ..plan(dir.path()) }).unwrap();
        file.write(&lines(0, 1));
        let opened = file.opened.as_mut().unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let well = std::mem::replace(&mut opened.file, full);
        assert!(opened.append(b"{}\n").is_err());
        opened.file = well;
        assert_eq!(file.write(&lines(1, 1)), 0);
        assert_eq!(read(&plan(dir.path()).path), ["{\"n\":000000}", "{\"n\":000001}"]);
    }
}
