//! The file itself. What is appended is durable when that returns, or it is not in the file: what a full disk cuts off is taken
//! back, also when the file is opened the next time.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::ending::{FileEnd, LastLine, ending};
use super::error::AuditError;
use super::plan::AuditPlan;
use crate::disk::{FileId, PIECE_BYTES, numbered, open_lines, wrap};

/// A file of receipts that wraps by size.
#[derive(Debug)]
pub struct AuditFile {
    plan: AuditPlan,
    open: Option<Open>,
    /// How much of it was whole when a write failed.
    uncut: Option<(FileId, u64)>,
    /// What was opened last.
    was: Option<FileId>,
    /// The one before was full, and nothing stands in this one yet.
    is_wrapped: bool,
}

/// What was found when it was opened.
#[derive(Debug, PartialEq, Eq)]
pub struct AuditOpened {
    pub last: Option<LastLine>,
    /// It is the file that was open before.
    pub is_same: bool,
    /// It is empty since the one before was full.
    pub is_wrapped: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    id: FileId,
    /// All of it is whole lines, and durable.
    bytes: u64,
}

impl AuditFile {
    #[must_use]
    pub fn new(plan: AuditPlan) -> Self {
        Self { plan, open: None, uncut: None, was: None, is_wrapped: false }
    }

    #[must_use]
    pub fn plan(&self) -> &AuditPlan {
        &self.plan
    }

    /// Whether it can be written, for a start that has not taken the data directory: another process may be writing it.
    pub fn check(&self) -> Result<(), AuditError> {
        let path = &self.plan.path;
        let (file, found) = open_lines(path, false).map_err(AuditError::io(path))?;
        match ending(&file, found.len()).map_err(AuditError::io(path))? {
            Some(_) => Ok(()),
            None => Err(AuditError::NotReceipts { path: path.clone() }),
        }
    }

    /// Opens it where it is not open, or where its name stands for a different file or its length is not what was written.
    pub fn look(&mut self) -> Result<Option<AuditOpened>, AuditError> {
        let path = &self.plan.path;
        let is_as_left = self.open.as_ref().is_some_and(|open| {
            fs::metadata(path).is_ok_and(|found| FileId::new(&found) == open.id && found.len() == open.bytes)
        });
        if is_as_left {
            return Ok(None);
        }
        self.open = None;
        let (open, last) = open_at(path, self.uncut)?;
        let is_same = self.was.replace(open.id) == Some(open.id);
        (self.open, self.uncut) = (Some(open), None);
        Ok(Some(AuditOpened { last, is_same, is_wrapped: self.is_wrapped }))
    }

    /// The newest line of the files that it wrapped to.
    pub fn older(&self) -> Result<Option<LastLine>, AuditError> {
        for number in 1..self.plan.max_files {
            let path = numbered(&self.plan.path, number);
            let found = File::open(&path).and_then(|file| {
                let bytes = file.metadata()?.len();
                ending(&file, bytes)
            });
            match found {
                Ok(Some(FileEnd { last: Some(last), .. })) => return Ok(Some(last)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(AuditError::io(&path)(error)),
            }
        }
        Ok(None)
    }

    /// Whether it has room for `bytes` more.
    #[must_use]
    pub fn fits(&self, bytes: usize) -> bool {
        let written = self.open.as_ref().map_or(0, |open| open.bytes);
        written + bytes as u64 <= self.plan.max_bytes
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.bytes == 0)
    }

    /// Appends whole lines, durable when this returns.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), AuditError> {
        let path = &self.plan.path;
        let Some(open) = &mut self.open else {
            return Err(AuditError::io(path)(io::ErrorKind::NotFound.into()));
        };
        let appended = open.file.write_all_at(lines, open.bytes).and_then(|()| open.file.sync_data());
        if let Err(error) = appended {
            self.uncut = Some((open.id, open.bytes));
            // Where that fails, too, it is cut when it is opened again.
            let _cut = open.file.set_len(open.bytes);
            self.open = None;
            return Err(AuditError::io(path)(error));
        }
        open.bytes += lines.len() as u64;
        self.is_wrapped = false;
        Ok(())
    }

    /// It becomes the first of the older ones, and an empty one is opened.
    pub fn wrap(&mut self) -> Result<(), AuditError> {
        self.open = None;
        wrap(&self.plan.path, self.plan.max_files).map_err(AuditError::io(&self.plan.path))?;
        self.is_wrapped = true;
        self.look().map(drop)
    }

    /// The next look opens it again.
    pub fn close(&mut self) {
        self.open = None;
    }
}

/// Opens a file and cuts off what is not whole lines of ours.
fn open_at(path: &Path, uncut: Option<(FileId, u64)>) -> Result<(Open, Option<LastLine>), AuditError> {
    let io = || AuditError::io(path);
    let (file, found) = open_lines(path, false).map_err(io())?;
    let (id, mut bytes) = (FileId::new(&found), found.len());
    if let Some((_, whole)) = uncut.filter(|(of, whole)| *of == id && *whole < bytes) {
        file.set_len(whole).map_err(io())?;
        bytes = whole;
    }
    let Some(FileEnd { whole, last }) = ending(&file, bytes).map_err(io())? else {
        return Err(AuditError::NotReceipts { path: path.to_owned() });
    };
    if whole < bytes {
        file.set_len(whole).map_err(io())?;
    }
    make_certain(&file, whole).map_err(io())?;
    if whole == 0 {
        sync_name(path).map_err(io())?;
    }
    Ok((Open { file, id, bytes: whole }, last))
}

/// What a process that was killed, or whose sync failed, has written last may be in the page cache alone. It is written again
/// before anything follows it (decision 16).
fn make_certain(file: &File, bytes: u64) -> io::Result<()> {
    let from = bytes.saturating_sub(PIECE_BYTES as u64);
    let mut end = vec![0; usize::try_from(bytes - from).unwrap_or(PIECE_BYTES)];
    file.read_exact_at(&mut end, from)?;
    file.write_all_at(&end, from)?;
    file.sync_data()
}

/// Makes the file's name durable, where the directory is one that can be synced.
fn sync_name(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        Err(error)
            if error.kind() != io::ErrorKind::InvalidInput
                && error.kind() != io::ErrorKind::PermissionDenied =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::AuditSelection;
    use super::*;

    const LINE: &[u8] = b"{\"action_id\":null,\"log_index\":1,\"log_origin\":\"a\"}\n";

    #[test]
    fn what_a_full_disk_cuts_off_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let selection = AuditSelection::All;
        let mut file =
            AuditFile::new(AuditPlan { path: path.clone(), max_bytes: 1 << 20, max_files: 2, selection });
        assert_eq!(file.look().unwrap(), Some(AuditOpened { last: None, is_same: false, is_wrapped: false }));
        file.append(LINE).unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let open = file.open.as_mut().unwrap();
        let well = std::mem::replace(&mut open.file, full);
        assert!(file.append(LINE).is_err());
        // As where a part was written, and could not be cut off.
        well.write_all_at(&LINE[..20], LINE.len() as u64).unwrap();
        well.write_all_at(LINE, LINE.len() as u64).unwrap();
        let opened = file.look().unwrap().unwrap();
        assert!(opened.is_same && opened.last.unwrap().entry.log_index == 1);
        assert_eq!(fs::read(&path).unwrap(), LINE);
        file.append(LINE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [LINE, LINE].concat());
        assert_eq!(file.look().unwrap(), None, "it is as it was left");
        file.wrap().unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        file.open.as_mut().unwrap().file = full;
        assert!(file.append(LINE).is_err());
        let opened = file.look().unwrap();
        assert_eq!(opened, Some(AuditOpened { last: None, is_same: true, is_wrapped: true }));
        file.append(LINE).unwrap();
        file.close();
        assert!(!file.look().unwrap().unwrap().is_wrapped);
    }
}
