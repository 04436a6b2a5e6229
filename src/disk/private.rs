//! The data directory is for its owner alone: it holds what senders wrote, and in the `dev` profile secrets. What a volume
//! mount or an earlier start left open is closed where it is this process's own, and refused where it is not.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::{getegid, geteuid, getgroups};

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotPrivate {
    #[error("{path} belongs to the user {owner}, and this process runs as {us}")]
    Foreign { path: PathBuf, owner: u32, us: u32 },
    #[error("{path} belongs to the user {owner}, and others may use it (mode {mode:04o})")]
    Open { path: PathBuf, owner: u32, mode: u32 },
    #[error("{path} is open to others (mode {mode:04o}) and holds files that are not Gemba's")]
    Shared { path: PathBuf, mode: u32 },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl NotPrivate {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Foreign { path, owner, us } => {
                Some(format!("chown -R {us} {}, or run as the user {owner}", path.display()))
            }
            Self::Open { path, .. } => Some(format!(
                "close it with chmod go= {0}, or name a directory below it, such as {0}/gemba, which is then made for this \
                 process alone",
                path.display()
            )),
            Self::Shared { path, .. } => {
                Some(format!("give the node a directory of its own, or chmod 700 {}", path.display()))
            }
            Self::Io { .. } => None,
        }
    }
}

/// What was open to others and is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The data directory itself, with the mode that it had.
    Dir { mode: u32 },
    /// Files and directories in it: how many, and one of them.
    Below { count: usize, first: PathBuf },
}

/// Who asks.
struct Process {
    user: u32,
    groups: Vec<u32>,
}

/// Bits of the group, of others, and what each may do.
const GROUP_AND_OTHERS: u32 = 0o077;
const OTHERS: u32 = 0o007;
const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
const STICKY: u32 = 0o1000;
const ROOT: u32 = 0;

/// Closes `data_dir`, which exists, and everything in it to everybody else; says what it changed.
///
/// # Errors
/// Where others may use what this process may not close.
pub fn keep_private(data_dir: &Path) -> Result<Vec<Closed>, NotPrivate> {
    let groups = getgroups().unwrap_or_default().into_iter().chain([getegid()]);
    let process =
        Process { user: geteuid().as_raw(), groups: groups.map(rustix::process::Gid::as_raw).collect() };
    let metadata = fs::metadata(data_dir).map_err(at(data_dir))?;
    let mut told = Vec::new();
    if process.closes(data_dir, &metadata)? {
        let mode = metadata.mode() & 0o7777;
        if mode & STICKY != 0 || !is_ours(data_dir)? {
            return Err(NotPrivate::Shared { path: data_dir.to_owned(), mode });
        }
        let closed = fs::Permissions::from_mode((mode | 0o700) & !GROUP_AND_OTHERS);
        fs::set_permissions(data_dir, closed).map_err(at(data_dir))?;
        told.push(Closed::Dir { mode });
    }
    let mut closed = Vec::new();
    process.close_below(data_dir, true, &mut closed)?;
    if let Some(first) = closed.first() {
        told.push(Closed::Below { count: closed.len(), first: first.clone() });
    }
    Ok(told)
}

impl Process {
    /// Whether the directory is open and this process may close it.
    fn closes(&self, path: &Path, metadata: &Metadata) -> Result<bool, NotPrivate> {
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        let path = || path.to_owned();
        if owner == self.user {
            return Ok(mode & GROUP_AND_OTHERS != 0);
        }
        if owner != ROOT {
            return Err(NotPrivate::Foreign { path: path(), owner, us: self.user });
        }
        // A mounted volume. Names may be seen in it; what has the names is closed.
        if mode & OTHERS_WRITE != 0 || mode & GROUP_WRITES != 0 && !self.groups.contains(&metadata.gid()) {
            return Err(NotPrivate::Open { path: path(), owner, mode });
        }
        Ok(false)
    }

    fn close_below(&self, dir: &Path, is_top: bool, closed: &mut Vec<PathBuf>) -> Result<(), NotPrivate> {
        let entries = match fs::read_dir(dir) {
            // Somebody else's, such as `lost+found`; what is needed of it says so itself.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            entries => entries.map_err(at(dir))?,
        };
        for entry in entries {
            let path = entry.map_err(at(dir))?.path();
            let metadata = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata.map_err(at(&path))?,
            };
            if !metadata.is_dir() && !metadata.is_file() {
                continue;
            }
            self.close(&path, &metadata, is_top, closed)?;
            if metadata.is_dir() {
                self.close_below(&path, false, closed)?;
            }
        }
        Ok(())
    }

    fn close(
        &self,
        path: &Path,
        metadata: &Metadata,
        is_top: bool,
        closed: &mut Vec<PathBuf>,
    ) -> Result<(), NotPrivate> {
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        if owner != self.user {
            // A process with another user, which shares the volume's group, has left it.
            let group_is_ours = self.groups.contains(&metadata.gid());
            let is_open = mode & OTHERS != 0 || mode & GROUP_WRITES != 0 && !group_is_ours;
            return if is_open {
                Err(NotPrivate::Open { path: path.to_owned(), owner, mode })
            } else {
                Ok(())
            };
        }
        // A secret that others could read may be known to them: whoever reads it refuses it.
        let known = is_top && is_secret(path) && mode & OTHERS != 0;
        if mode & GROUP_AND_OTHERS == 0 || known {
            return Ok(());
        }
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(at(path))?;
        let mode = file.metadata().map_err(at(path))?.mode() & 0o7777;
        file.set_permissions(fs::Permissions::from_mode(mode & !GROUP_AND_OTHERS)).map_err(at(path))?;
        closed.push(path.to_owned());
        Ok(())
    }
}

fn is_secret(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| ["secret", "token", "key"].iter().any(|secret| extension == *secret))
}

/// Whether a node has used it, or nobody has.
fn is_ours(dir: &Path) -> Result<bool, NotPrivate> {
    if dir.join("lock").is_file() && dir.join("journal").is_dir() {
        return Ok(true);
    }
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let path = entry.map_err(at(dir))?.path();
        // A new file system has this one.
        if !is_secret(&path) && !path.ends_with("lost+found") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn at(path: &Path) -> impl Fn(io::Error) -> NotPrivate + use<'_> {
    move |source| NotPrivate::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A used data directory, open as an earlier start or a volume's group left it.
    fn used(dir: &Path) {
        fs::create_dir_all(dir.join("journal")).unwrap();
        fs::create_dir_all(dir.join("state/tables")).unwrap();
        for file in ["lock", "journal/0.journal", "state/tables/1", "admin.token", "known.secret"] {
            fs::write(dir.join(file), "x").unwrap();
            chmod(&dir.join(file), 0o660);
        }
        for dir in [dir.to_owned(), dir.join("journal"), dir.join("state"), dir.join("state/tables")] {
            chmod(&dir, 0o2775);
        }
        chmod(&dir.join("known.secret"), 0o644);
    }

    #[test]
    fn what_is_open_is_closed_and_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, "x").unwrap();
        chmod(&outside, 0o644);
        let data = dir.path().join("data");
        used(&data);
        std::os::unix::fs::symlink(&outside, data.join("link")).unwrap();
        let told = keep_private(&data).unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0], Closed::Dir { mode: 0o2775 });
        assert!(matches!(told[1], Closed::Below { count: 7, .. }), "{told:?}");
        for (path, closed) in [
            (data.clone(), 0o2700),
            (data.join("state/tables"), 0o2700),
            (data.join("state/tables/1"), 0o600),
            (data.join("admin.token"), 0o600),
            (outside, 0o644),
        ] {
            assert_eq!(mode(&path), closed, "{}", path.display());
        }
        assert_eq!(
            mode(&data.join("known.secret")),
            0o644,
            "others may know it: it is refused when it is read"
        );
        assert_eq!(keep_private(&data).unwrap(), []);
    }

    #[test]
    fn a_directory_that_is_somebody_elses_too_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::write(shared.join("letter"), "x").unwrap();
        chmod(&shared, 0o755);
        assert!(matches!(keep_private(&shared), Err(NotPrivate::Shared { mode: 0o755, .. })));
        assert_eq!(mode(&shared), 0o755);
        fs::remove_file(shared.join("letter")).unwrap();
        chmod(&shared, 0o1777);
        assert!(matches!(keep_private(&shared), Err(NotPrivate::Shared { mode: 0o1777, .. })));
        chmod(&shared, 0o777);
        fs::create_dir(shared.join("lost+found")).unwrap();
        assert_eq!(keep_private(&shared).unwrap().len(), 2, "a new file system");
        assert_eq!(mode(&shared), 0o700);
    }

    /// As `process` would find a directory with these owner, group and mode; `None` where this user cannot make it so.
    fn judged(process: &Process, owner: u32, group: u32, mode: u32) -> Option<Result<bool, NotPrivate>> {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(owner), Some(group)).ok()?;
        chmod(dir.path(), mode);
        Some(process.closes(dir.path(), &fs::metadata(dir.path()).unwrap()))
    }

    #[test]
    fn a_volume_of_root_is_used_by_its_group_alone() {
        let process = Process { user: 1000, groups: vec![1000, 2000] };
        let cases = [
            (0, 2000, 0o2770, "good"),
            // As Kubernetes makes a new file system: names may be seen, and nothing more.
            (0, 2000, 0o2775, "good"),
            (0, 2000, 0o2777, "open"),
            (0, 3000, 0o2770, "open"),
            (0, 3000, 0o755, "good"),
            (0, 0, 0o1777, "open"),
            (1000, 1000, 0o700, "good"),
            (1000, 2000, 0o2770, "closes"),
            (1001, 2000, 0o700, "foreign"),
        ];
        for (owner, group, mode, expected) in cases {
            let Some(found) = judged(&process, owner, group, mode) else { continue };
            let found = match found {
                Ok(false) => "good",
                Ok(true) => "closes",
                Err(NotPrivate::Open { .. }) => "open",
                Err(_) => "foreign",
            };
            assert_eq!(found, expected, "{owner}:{group} {mode:04o}");
        }
    }
}
