//! Files in memory, so that thousands of damaged copies are cheap.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::disk::{Disk, File};

#[derive(Clone, Default)]
pub(super) struct Memory(pub(super) Arc<Mutex<BTreeMap<PathBuf, Content>>>);

#[derive(Clone, Default)]
pub(super) struct Content(pub(super) Arc<Mutex<Vec<u8>>>);

impl Memory {
    pub(super) fn file(&self, path: &Path) -> io::Result<Content> {
        self.0.lock().unwrap().get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The same files, changed by nobody else.
    pub(super) fn copy(&self) -> Self {
        let files = self.0.lock().unwrap();
        let copied = files.iter().map(|(path, content)| {
            (path.clone(), Content(Arc::new(Mutex::new(content.0.lock().unwrap().clone()))))
        });
        Self(Arc::new(Mutex::new(copied.collect())))
    }

    pub(super) fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.file(path).unwrap().0.lock().unwrap());
    }

    pub(super) fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }
}

impl Disk for Memory {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let content = Content(Arc::default());
        let taken = self.0.lock().unwrap().insert(path.to_owned(), content.clone());
        assert!(taken.is_none(), "{} is taken", path.display());
        Ok(Arc::new(content))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.file(path)?))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.0.lock().unwrap().keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }
    fn create_dir(&self, _: &Path) -> io::Result<bool> {
        Ok(false)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let content = self.file(from)?;
        let mut files = self.0.lock().unwrap();
        files.remove(from);
        files.insert(to.to_owned(), content);
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().unwrap().remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl File for Content {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut content = self.0.lock().unwrap();
        let at = usize::try_from(at).unwrap();
        let len = content.len().max(at + bytes.len());
        content.resize(len, 0);
        content[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let content = self.0.lock().unwrap();
        let rest = content.get(usize::try_from(at).unwrap()..).unwrap_or_default();
        let got = rest.len().min(buffer.len());
        buffer[..got].copy_from_slice(&rest[..got]);
        Ok(got)
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().truncate(usize::try_from(len).unwrap());
        Ok(())
    }
}
