//! What the mount of a directory does that an operator should know. Pure, but for [`discards`] and [`kind`].

use std::path::{Path, PathBuf};

/// The mount point of `dir`, if freed blocks are discarded there within the commit that frees them.
///
/// # Errors
/// When the mounts cannot be read.
pub fn discards(dir: &Path) -> std::io::Result<Option<PathBuf>> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(discards_in(&mounts, &dir.canonicalize()?))
}

/// The kind of file system that holds `dir`, such as `ext4`.
///
/// # Errors
/// When the mounts cannot be read.
pub fn kind(dir: &Path) -> std::io::Result<Option<String>> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(holding(&mounts, &dir.canonicalize()?).map(|mount| mount.kind))
}

/// The same as [`discards`], where `mounts` is what `/proc/self/mountinfo` says and `dir` is absolute without links.
#[must_use]
pub fn discards_in(mounts: &str, dir: &Path) -> Option<PathBuf> {
    holding(mounts, dir).filter(|mount| mount.discards).map(|mount| mount.point)
}

struct Mount {
    point: PathBuf,
    kind: String,
    discards: bool,
}

/// The mount that holds `dir`.
fn holding(mounts: &str, dir: &Path) -> Option<Mount> {
    let mut holds: Option<Mount> = None;
    for mount in mounts.lines().filter_map(mount) {
        // A later mount covers an earlier one at the same place.
        let deeper = holds.as_ref().is_none_or(|known| mount.point.starts_with(&known.point));
        if dir.starts_with(&mount.point) && deeper {
            holds = Some(mount);
        }
    }
    holds
}

/// Mount point, kind, and whether one of its options is `discard`. The options stand before and after the ` - `:
/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext4 /dev/sda1 rw,discard`.
fn mount(line: &str) -> Option<Mount> {
    let (mount, system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(4);
    let (point, options) = (fields.next()?, fields.next()?);
    let kind = system.split(' ').next().unwrap_or_default().to_owned();
    let of_system = system.split(' ').nth(2).unwrap_or_default();
    // `discard=async` of btrfs and bcachefs is done beside the commits.
    let is_discard = |option: &str| option == "discard" || option == "discard=sync";
    let discards = options.split(',').chain(of_system.split(',')).any(is_discard);
    Some(Mount { point: PathBuf::from(unescaped(point)), kind, discards })
}

/// Blanks, tabs, newlines and backslashes are written as three octal digits.
fn unescaped(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(text.to_owned(), |text, (escape, of)| text.replace(escape, of))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw,discard,errors=remount-ro
40 27 8:1 / /data rw,noatime shared:2 - ext4 /dev/sda1 rw,nodiscard
41 40 8:2 / /data/fast rw,noatime - xfs /dev/sdb rw,attr2,discard,inode64
42 27 0:40 / /srv/with\\040blank rw - btrfs /dev/sdc rw,discard=async,space_cache=v2
43 27 0:41 / /srv/sync rw - btrfs /dev/sdd rw,discard=sync
44 27 0:42 / /srv/over rw master:3 propagate_from:2 - ext4 /dev/sde rw,discard
45 44 0:43 / /srv/over rw - tmpfs tmpfs rw,size=4k
no mount at all
46 27 - ext4
";

    #[test]
    fn the_deepest_and_latest_mount_decides() {
        let found = |dir: &str| discards_in(MOUNTS, Path::new(dir));
        assert_eq!(found("/var/lib/gemba"), Some("/".into()));
        assert_eq!(found("/database"), Some("/".into()), "not below /data");
        assert_eq!(found("/data/gemba"), None, "nodiscard is no discard");
        assert_eq!(found("/data/fast/gemba"), Some("/data/fast".into()));
        assert_eq!(found("/srv/with blank/x"), None, "it is done beside the commits");
        assert_eq!(found("/srv/sync"), Some("/srv/sync".into()));
        assert_eq!(found("/srv/over/x"), None, "another file system was mounted over it");
        assert_eq!(discards_in("", Path::new("/x")), None);
        let kind = |dir: &str| holding(MOUNTS, Path::new(dir)).map(|mount| mount.kind);
        assert_eq!((kind("/srv/over/x"), kind("/data/fast")), (Some("tmpfs".into()), Some("xfs".into())));
    }

    #[test]
    fn the_mounts_of_this_machine_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        discards(dir.path()).unwrap();
        assert!(discards(&dir.path().join("missing")).is_err());
    }
}
