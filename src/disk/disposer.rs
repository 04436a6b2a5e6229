//! Removes large files slowly. On a file system that is mounted with `discard` the device is told of each freed block
//! when the file system commits, and every sync beside it waits: 20 ms for 64 MiB at once, 70 ms for 256 MiB.
//!
//! Whoever has no use for a large file renames it ([`set_aside`]); that costs nothing and is durable with the directory.
//! The [`Disposer`] finds such files by their names, also those of an earlier process, and cuts them from the end, one
//! piece and one sync at a time, so that no commit frees more than one piece. The directory is the queue: nothing is
//! remembered, and nothing is lost by a crash.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::beside::REST;
use super::storage::{Disk, File};
use crate::clock;
use crate::limits::DISPOSED_FILES_BEHIND;

/// Extension of a file that nobody needs.
const ASIDE: &str = "gone";
/// The directories are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause after an error: the space is not urgent, and a message a minute is enough.
const PAUSE: Duration = Duration::from_mins(1);

/// Renames a file that nobody reads or writes any more, so that the [`Disposer`] removes it. Durable with its directory.
///
/// # Errors
/// Whatever the file system says.
pub fn set_aside(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut number = 0_u32;
    loop {
        // A name that is taken would be replaced, and its file removed at once.
        let aside = path.with_file_name(format!("{name}.{number}.{ASIDE}"));
        match disk.open(&aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return disk.rename(path, &aside),
            Err(error) => return Err(error),
            Ok(_) => number += 1,
        }
    }
}

/// What becomes shorter now.
struct Removal {
    path: PathBuf,
    file: Arc<dyn File>,
    left: u64,
}

/// Removes what was set aside in some directories, piece by piece: a thread calls it for ever, a simulation in any order.
pub struct Disposer {
    disk: Arc<dyn Disk>,
    dirs: Vec<PathBuf>,
    piece_bytes: u64,
    now: Option<Removal>,
    /// Files that wait, when it was last looked.
    waiting: usize,
}

impl std::fmt::Debug for Disposer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disposer").field("dirs", &self.dirs).finish_non_exhaustive()
    }
}

impl Disposer {
    /// Cuts `piece_bytes` at a time. Directories that do not exist yet are looked for again.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, dirs: Vec<PathBuf>, piece_bytes: u64) -> Self {
        Self { disk, dirs, piece_bytes, now: None, waiting: 0 }
    }

    /// Removes the next piece; false when nothing is left.
    ///
    /// # Errors
    /// Whatever the file system says; a later step tries again.
    pub fn step(&mut self) -> io::Result<bool> {
        let removal = match self.now.take() {
            Some(removal) => Some(removal),
            None => self.next()?,
        };
        let Some(mut removal) = removal else { return Ok(false) };
        if removal.left <= self.piece_bytes {
            drop(removal.file);
            self.disk.remove(&removal.path)?;
            self.disk.sync_dir(removal.path.parent().unwrap_or(Path::new(".")))?;
            return Ok(true);
        }
        removal.left -= self.piece_bytes;
        removal.file.truncate(removal.left)?;
        removal.file.sync_data()?;
        self.now = Some(removal);
        Ok(true)
    }

    fn next(&mut self) -> io::Result<Option<Removal>> {
        self.waiting = 0;
        let mut first = None;
        for dir in &self.dirs {
            let names = match self.disk.list(dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                names => names?,
            };
            let mut aside = names.into_iter().filter(|path| path.extension().is_some_and(|of| of == ASIDE));
            if first.is_none() {
                first = aside.next().map(|path| (dir, path));
            }
            self.waiting += aside.count();
        }
        let Some((dir, path)) = first else { return Ok(None) };
        // The name first: a power cut must not give a file back its old name after a part of it has gone.
        self.disk.sync_dir(dir)?;
        let file = self.disk.open(&path)?;
        let left = file.len()?;
        Ok(Some(Removal { path, file, left }))
    }

    /// Works on a thread of its own until the handle is dropped. What it cannot remove is logged.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn spawn(self) -> io::Result<Disposing> {
        let (stop, stopped) = mpsc::sync_channel(0);
        let thread = thread::Builder::new().name("disposer".into()).spawn(move || self.work(&stopped))?;
        Ok(Disposing { stop: Some(stop), thread: Some(thread) })
    }

    fn work(mut self, stopped: &mpsc::Receiver<()>) {
        // A priority that cannot be lowered leaves the pauses.
        let _as_it_was = rustix::process::nice(19);
        let mut pause = Duration::ZERO;
        while stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
            let begun = clock::now();
            pause = match self.step() {
                Ok(true) if self.waiting > DISPOSED_FILES_BEHIND => Duration::ZERO,
                Ok(true) => ((clock::now() - begun) * REST).min(LOOK_EVERY),
                Ok(false) => LOOK_EVERY,
                Err(error) => {
                    tracing::warn!(
                        target: "gemba::disk",
                        %error,
                        again_in_seconds = PAUSE.as_secs(),
                        "a file that is not needed any more cannot be removed"
                    );
                    PAUSE
                }
            };
        }
    }
}

/// A running [`Disposer`]; it ends when this is dropped.
#[derive(Debug)]
pub struct Disposing {
    stop: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Disposing {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // What it was at is found again by its name.
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RealDisk;
    use super::*;

    const PIECE: u64 = 4096;

    fn names(dir: &Path) -> Vec<String> {
        let names = RealDisk.list(dir).unwrap();
        names.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn what_is_set_aside_goes_piece_by_piece_and_nothing_else_does() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("journal");
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let disposer =
            || Disposer::new(Arc::clone(&disk), vec![home.path().join("dedup"), dir.clone()], PIECE);
        assert!(!disposer().step().unwrap(), "there are no directories yet");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("1.journal"), "needed").unwrap();
        for _ in 0..2 {
            std::fs::File::create(dir.join("0.journal")).unwrap().set_len(3 * PIECE).unwrap();
            set_aside(&*disk, &dir.join("0.journal")).unwrap();
        }
        assert_eq!(names(&dir), ["0.journal.0.gone", "0.journal.1.gone", "1.journal"]);
        let mut first = disposer();
        assert!(first.step().unwrap());
        assert_eq!(dir.join("0.journal.0.gone").metadata().unwrap().len(), 2 * PIECE);
        // The process ends here, and the next one goes on.
        let mut second = disposer();
        let mut pieces = 0;
        while second.step().unwrap() {
            pieces += 1;
        }
        assert_eq!((pieces, names(&dir)), (5, vec!["1.journal".to_owned()]));
    }

    #[test]
    fn a_thread_removes_what_is_set_aside_and_ends_when_it_is_told_to() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("large");
        std::fs::File::create(&file).unwrap().set_len(2 * PIECE).unwrap();
        set_aside(&RealDisk, &file).unwrap();
        let disposer = Disposer::new(Arc::new(RealDisk), vec![home.path().to_owned()], PIECE);
        let disposing = disposer.spawn().unwrap();
        let until = clock::now() + Duration::from_secs(30);
        while !names(home.path()).is_empty() {
            assert!(clock::now() < until, "it is still there");
            thread::sleep(Duration::from_millis(5));
        }
        drop(disposing);
    }
}
