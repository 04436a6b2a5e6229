//! What the embedded store may have left in the page cache only. fjall appends each commit to its newest journal and
//! syncs it; tables, manifests and older journals are synced before anything refers to them. After a failed sync it
//! refuses further commits, but the next process reads the commit from the cache and goes on behind it; a power cut then
//! leaves a hole, at which fjall ends its recovery: later commits would be lost with it. So its newest journal is written
//! again as it stands, before fjall opens it (decision 16).

use std::io;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use crate::disk::{Disk, File};

/// Bytes read and written at once.
const PIECE_BYTES: usize = 1 << 20;

/// Makes the newest commits of the store in `dir` durable, if there is one. It must not be open.
///
/// # Errors
/// [`StoreError::Uncertain`]: nothing may be built on what the store says.
pub fn make_certain(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    let newest = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names.map(|names| names.into_iter().filter_map(numbered).max()),
    };
    let uncertain = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Uncertain { path, source }
    };
    disk.sync_dir(dir).map_err(uncertain(dir))?;
    let Some((_, path)) = newest.map_err(uncertain(dir))? else { return Ok(()) };
    disk.open(&path).and_then(|file| write_all_again(&*file)).map_err(uncertain(&path))
}

/// fjall's journals are numbered in decimal digits.
fn numbered(path: PathBuf) -> Option<(u64, PathBuf)> {
    let number = path.file_name()?.to_str()?.strip_suffix(".jnl")?.parse().ok()?;
    Some((number, path))
}

/// Up to the last byte that is not zero: the rest was reserved and never written.
fn write_all_again(file: &dyn File) -> io::Result<()> {
    let (mut at, mut end, mut piece) = (0, 0, vec![0; PIECE_BYTES]);
    loop {
        let got = file.read_at(&mut piece, at)?;
        if let Some(last) = piece.iter().take(got).rposition(|byte| *byte != 0) {
            end = at + last as u64 + 1;
        }
        at += got as u64;
        if got < piece.len() {
            break;
        }
    }
    at = 0;
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(piece.len());
        let got = file.read_at(&mut piece[..wanted], at)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_all_at(&piece[..got], at)?;
        at += got as u64;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::disk::RealDisk;

    /// The real disk, which notes what is written and synced.
    struct Watched(RealDisk, Arc<Mutex<Vec<String>>>);

    struct WatchedFile(Arc<dyn File>, String, Arc<Mutex<Vec<String>>>);

    impl Disk for Watched {
        fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
            self.0.create(path)
        }
        fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            Ok(Arc::new(WatchedFile(self.0.open(path)?, name, Arc::clone(&self.1))))
        }
        fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
            self.0.list(dir)
        }
        fn create_dir(&self, dir: &Path) -> io::Result<bool> {
            self.0.create_dir(dir)
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.0.rename(from, to)
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            self.0.remove(path)
        }
        fn sync_dir(&self, dir: &Path) -> io::Result<()> {
            self.1.lock().unwrap().push("names".into());
            self.0.sync_dir(dir)
        }
        fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
            self.0.free_bytes(dir)
        }
    }

    impl File for WatchedFile {
        fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
            self.2.lock().unwrap().push(format!("{} {at}+{}", self.1, bytes.len()));
            self.0.write_all_at(bytes, at)
        }
        fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
            self.0.read_at(buffer, at)
        }
        fn sync_data(&self) -> io::Result<()> {
            self.2.lock().unwrap().push(format!("{} synced", self.1));
            self.0.sync_data()
        }
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }
        fn truncate(&self, len: u64) -> io::Result<()> {
            self.0.truncate(len)
        }
    }

    #[test]
    fn the_newest_journal_is_written_again_up_to_its_last_byte_and_stays_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let story = Arc::new(Mutex::new(Vec::new()));
        let disk = Watched(RealDisk, Arc::clone(&story));
        make_certain(&disk, &dir.path().join("none")).unwrap();
        make_certain(&disk, dir.path()).unwrap();
        assert_eq!(std::mem::take(&mut *story.lock().unwrap()), ["names"], "a new store has no journal");
        let written = [vec![1; 10], vec![0; 2 * PIECE_BYTES], vec![2; 10]].concat();
        for name in ["9.jnl", "10.jnl", "x.jnl", "lock"] {
            std::fs::write(dir.path().join(name), &written).unwrap();
        }
        let newest = dir.path().join("10.jnl");
        let reserved = 4 * PIECE_BYTES;
        std::fs::File::options().write(true).open(&newest).unwrap().set_len(reserved as u64).unwrap();
        make_certain(&disk, dir.path()).unwrap();
        let piece = PIECE_BYTES;
        let again = [(0, piece), (piece, piece), (2 * piece, 20)];
        let mut expected = vec!["names".to_owned()];
        expected.extend(again.map(|(at, bytes)| format!("10.jnl {at}+{bytes}")));
        expected.push("10.jnl synced".to_owned());
        assert_eq!(*story.lock().unwrap(), expected);
        let read = std::fs::read(&newest).unwrap();
        assert_eq!(read.len(), reserved);
        assert!(read[..written.len()] == written && read[written.len()..].iter().all(|byte| *byte == 0));
    }
}
