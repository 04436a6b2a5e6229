//! What the stages do with the disk: each call is one operation, which may fail or be the last.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gemba::disk::{Disk, File};

use super::{Inner, Inode, NameChange, SECTOR, SimDisk, persist};

struct SimFile {
    disk: SimDisk,
    inode: usize,
    /// The name it was last opened or created under, for the story and the watch.
    path: PathBuf,
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut inner = self.inner();
        inner.operation("create", 0)?;
        if inner.seen.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if path.parent().is_none_or(|dir| !inner.seen.dirs.contains(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.need(1)?;
        let at = inner.inodes.len();
        inner.inodes.push(Inode::default());
        inner.change_name(NameChange::Link(path.to_owned(), at));
        Ok(Arc::new(SimFile { disk: self.clone(), inode: at, path: path.to_owned() }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut inner = self.inner();
        inner.operation("open", 0)?;
        let inode = inner.find(path)?;
        let dropped = inner.rng.pick(&[0, 0, 0, 3000]);
        inner.drop_ghosts(inode, dropped);
        Ok(Arc::new(SimFile { disk: self.clone(), inode, path: path.to_owned() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut inner = self.inner();
        inner.operation("list", 0)?;
        if !inner.seen.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(inner.seen.names.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<bool> {
        let mut inner = self.inner();
        inner.operation("mkdir", 0)?;
        if dir.parent().is_none_or(|above| !inner.seen.dirs.contains(above)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let made = !inner.seen.dirs.contains(dir);
        if made {
            inner.change_name(NameChange::MakeDir(dir.to_owned()));
        }
        Ok(made)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.operation("rename", 0)?;
        let inode = inner.find(from)?;
        inner.archive(from);
        inner.change_name(NameChange::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.operation("remove", 0)?;
        inner.find(path)?;
        inner.archive(path);
        inner.change_name(NameChange::Unlink(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.operation("sync_dir", 0)?;
        let rate = inner.faults.sync_dir;
        inner.maybe_fail("sync_dir", rate)?;
        let pending = std::mem::take(&mut inner.pending);
        for change in pending {
            if change.dir() == Some(dir) {
                inner.durable.apply(&change);
            } else {
                inner.pending.push(change);
            }
        }
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let mut inner = self.inner();
        inner.operation("statvfs", 0)?;
        Ok(inner.free())
    }
}

impl Inner {
    fn archive(&mut self, path: &Path) {
        if path.extension().is_some_and(|extension| extension == "journal") {
            let content = self.inodes[self.seen.names[path]].volatile.clone();
            self.archive.insert(path.to_owned(), content);
        }
    }
}

impl File for SimFile {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        let from = usize::try_from(at).unwrap();
        let named = inner.seen.names.iter().find(|(_, inode)| **inode == self.inode);
        let path = named.map_or_else(|| self.path.clone(), |(path, _)| path.clone());
        inner.watch(&path, self.inode, bytes, from);
        let rate = inner.faults.write;
        let growth = (from + bytes.len()).saturating_sub(inner.inodes[self.inode].volatile.len());
        let result = inner
            .operation("write", bytes.len() as u64)
            .and_then(|()| inner.need(growth as u64))
            .and_then(|()| inner.maybe_fail("write", rate));
        let arrives = match &result {
            Ok(()) => bytes.len(),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => 0,
            Err(_) => inner.rng.index(bytes.len() + 1),
        };
        inner.write(self.inode, &bytes[..arrives], from);
        result
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut inner = self.disk.inner();
        inner.operation("read", 0)?;
        let rate = inner.faults.read;
        inner.maybe_fail("read", rate)?;
        let content = &inner.inodes[self.inode].volatile;
        let rest = content.get(usize::try_from(at).unwrap()..).unwrap_or_default();
        let got = rest.len().min(buffer.len());
        buffer[..got].copy_from_slice(&rest[..got]);
        Ok(got)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.operation("sync", 0)?;
        let (rate, slow) = (inner.faults.sync, inner.faults.slow);
        let rate = if inner.refuses(self.inode) { 10_000 } else { rate };
        if inner.rng.chance(slow) {
            let took = 1_000 + inner.rng.below(7_000);
            inner.elapsed_millis += took;
            inner.note(format!("a sync takes {took} ms"));
        }
        let failed = inner.maybe_fail("sync", rate);
        let dirty = std::mem::take(&mut inner.inodes[self.inode].dirty);
        if failed.is_err() {
            let arrives = inner.rng.pick(&[0, 0, 5000]);
            for sector in dirty {
                if inner.rng.chance(arrives) {
                    persist(&mut inner.inodes[self.inode], sector);
                } else {
                    inner.inodes[self.inode].ghosts.insert(sector);
                }
            }
            return failed;
        }
        let inode = &mut inner.inodes[self.inode];
        inode.shrunk = None;
        let len = inode.volatile.len();
        inode.durable.resize(len, 0);
        for sector in dirty {
            persist(inode, sector);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut inner = self.disk.inner();
        inner.operation("len", 0)?;
        Ok(inner.inodes[self.inode].volatile.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.operation("truncate", len)?;
        let len = usize::try_from(len).unwrap();
        let inode = &mut inner.inodes[self.inode];
        inode.volatile.truncate(len);
        inode.dirty.retain(|sector| sector * SECTOR < len);
        inode.ghosts.retain(|sector| sector * SECTOR < len);
        inode.shrunk = Some(inode.shrunk.map_or(len, |shrunk| shrunk.min(len)));
        Ok(())
    }
}
