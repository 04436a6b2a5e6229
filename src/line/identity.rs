//! Which journal this is, and whose. An edge's numbers begin anew with a new journal, and whoever takes its signals must not mistake
//! the new ones for those it has taken; so a journal has an id of its own beside the node's name.

use std::io;
use std::path::Path;

use crate::disk::{self, Disk, make_dir};
use crate::event::JournalId;

const ID_BYTES: usize = 8;

/// A journal's id; it is made when there is none. `dir` is the journal's.
///
/// # Errors
/// Whatever the disk says, and `InvalidData` where the file holds something else.
pub fn of(disk: &dyn Disk, dir: &Path) -> io::Result<JournalId> {
    make_dir(disk, dir)?;
    if let Some(id) = known(disk, dir)? {
        return Ok(id);
    }
    let mut bytes = [0; ID_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("there is no randomness"))?;
    // None has the number 0: it is what a journal without a name is counted as.
    bytes[0] |= 1;
    disk::replace(disk, &dir.join("id"), format!("{}\n", faster_hex::hex_string(&bytes)).as_bytes())?;
    Ok(JournalId(u64::from_be_bytes(bytes)))
}

/// A journal's id, if it has one yet.
///
/// # Errors
/// As [`of`].
pub fn known(disk: &dyn Disk, dir: &Path) -> io::Result<Option<JournalId>> {
    let path = dir.join("id");
    let bytes = match disk::read(disk, &path, 64) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8(bytes).unwrap_or_default();
    let digits = text.trim_end();
    let is_id = digits.len() == 2 * ID_BYTES && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = is_id.then(|| u64::from_str_radix(digits, 16).unwrap_or_default()).filter(|id| *id != 0);
    let what =
        || io::Error::new(io::ErrorKind::InvalidData, format!("{} is not a journal's id", path.display()));
    id.map(|id| Some(JournalId(id))).ok_or_else(what)
}

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
    fn a_journal_keeps_its_id_and_a_new_one_has_another() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        let first = of(&RealDisk, &one).unwrap();
        let name = named("edge-1", first);
        assert!(name.starts_with("edge-1.") && name.len() == 23, "{name}");
        assert_eq!(of(&RealDisk, &one).unwrap(), first);
        assert_ne!(of(&RealDisk, &two).unwrap(), first);
        std::fs::write(one.join("id"), "none\n").unwrap();
        assert!(of(&RealDisk, &one).unwrap_err().to_string().contains("not a journal's id"));
    }
}
