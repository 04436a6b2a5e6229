//! What a node is called by others, and which role its data is of.

use std::io;
use std::path::Path;

use crate::disk::{self, Disk};
use crate::event::JournalId;

/// What a node is called where others must not take it for one that had its name before: `<name>.<id>`.
#[must_use]
pub fn named(name: &str, JournalId(id): JournalId) -> Box<str> {
    format!("{name}.{id:016x}").into()
}

/// The role whose data `data_dir` holds: what an edge has accepted is decided elsewhere, and nowhere twice. A directory
/// without a note is new, and then noted as of `role`, or of a version that had one role.
///
/// # Errors
/// Whatever the disk says.
pub fn role(disk: &dyn Disk, data_dir: &Path, role: &str) -> io::Result<String> {
    let path = data_dir.join("role");
    match disk::read(disk, &path, 64) {
        Ok(bytes) => return Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let used = disk.list(data_dir)?.iter().any(|path| path.ends_with("journal"));
    let role = if used { "all" } else { role };
    disk::replace(disk, &path, format!("{role}\n").as_bytes())?;
    Ok(role.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_directory_keeps_the_role_that_it_began_with() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(role(&RealDisk, dir.path(), "edge").unwrap(), "edge");
        assert_eq!(role(&RealDisk, dir.path(), "all").unwrap(), "edge");
        let older = tempfile::tempdir().unwrap();
        std::fs::create_dir(older.path().join("journal")).unwrap();
        assert_eq!(role(&RealDisk, older.path(), "processor").unwrap(), "all");
    }

    #[test]
    fn a_node_is_named_with_its_journal() {
        assert_eq!(&*named("edge-1", JournalId(0xab)), "edge-1.00000000000000ab");
    }
}
