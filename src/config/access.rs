//! Who may read or write a file, by its owner, its mode and its access control list: whether it can hold a secret.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::fgetxattr;
use rustix::process::{Gid, getegid, geteuid, getgroups};

/// The user and the groups that a process has.
pub struct Process {
    pub user: u32,
    pub groups: Vec<u32>,
}

/// What a file lets whom do, beside its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    User(u32, u32),
    Group(u32, u32),
    Others(u32),
}

const ROOT: u32 = 0;
const READ: u32 = 4;
const WRITE: u32 = 2;
/// The attribute in which Linux keeps a POSIX access control list.
const LIST: &str = "system.posix_acl_access";
/// A longer list is refused.
const LIST_BYTES_MAX: usize = 1024;

impl Process {
    pub fn this() -> Self {
        let groups = getgroups().unwrap_or_default().into_iter().chain([getegid()]);
        Self { user: geteuid().as_raw(), groups: groups.map(Gid::as_raw).collect() }
    }

    /// Why an open file cannot hold a secret of this process, if so. It belongs to this process' user or to root (to root,
    /// everybody's files are as good as its own); nobody else may write it, and nobody else may read it; but a file of root's may
    /// be readable for a group that the process is in, which is how a secret is mounted for a process that is not root.
    pub fn objection(&self, file: &File, metadata: &Metadata) -> Option<String> {
        let mut list = vec![0; LIST_BYTES_MAX];
        let list = match fgetxattr(file, LIST, &mut list[..]) {
            Ok(length) => Some(list[..length].to_vec()),
            Err(rustix::io::Errno::RANGE) => return Some("its access control list is too long".into()),
            // There is none, or the file system has none.
            Err(_) => None,
        };
        self.objection_to((metadata.uid(), metadata.gid(), metadata.mode()), list.as_deref())
    }

    fn objection_to(&self, (owner, group, mode): (u32, u32, u32), list: Option<&[u8]>) -> Option<String> {
        if owner != self.user && owner != ROOT && self.user != ROOT {
            return Some(format!(
                "it belongs to the user {owner}, not to this process' user {} or root",
                self.user
            ));
        }
        let Some(grants) = list.map_or_else(|| Some(by_mode(group, mode)), |list| by_list(group, list))
        else {
            return Some("its access control list cannot be read".into());
        };
        grants.into_iter().find_map(|grant| {
            let (who, may) = match grant {
                Grant::User(user, _) if user == self.user || user == ROOT => return None,
                Grant::Group(group, may)
                    if may & WRITE == 0 && owner == ROOT && self.groups.contains(&group) =>
                {
                    return None;
                }
                Grant::User(user, may) => (format!("the user {user}"), may),
                Grant::Group(group, may) => (format!("the group {group}"), may),
                Grant::Others(may) => ("everybody".to_owned(), may),
            };
            match (may & WRITE, may & READ) {
                (0, 0) => None,
                (0, _) => Some(format!("{who} may read it")),
                _ => Some(format!("{who} may write it")),
            }
        })
    }
}

fn by_mode(group: u32, mode: u32) -> Vec<Grant> {
    vec![Grant::Others(mode & 7), Grant::Group(group, mode >> 3 & 7)]
}

/// An access control list as the kernel writes it: a version, then entries of a tag, what is allowed, and whom.
fn by_list(group: u32, list: &[u8]) -> Option<Vec<Grant>> {
    const VERSION: [u8; 4] = 2u32.to_le_bytes();
    const ENTRY_BYTES: usize = 8;
    const OF_OWNER: u16 = 0x01;
    const OF_USER: u16 = 0x02;
    const OF_OWN_GROUP: u16 = 0x04;
    const OF_GROUP: u16 = 0x08;
    const MASK: u16 = 0x10;
    const OF_OTHERS: u16 = 0x20;
    let entries = list.strip_prefix(&VERSION)?.chunks(ENTRY_BYTES);
    let entries: Vec<(u16, u32, u32)> = entries
        .map(|entry| {
            let (tag, may, who) = (entry.get(..2)?, entry.get(2..4)?, entry.get(4..8)?);
            let may = u16::from_le_bytes(may.try_into().ok()?);
            Some((
                u16::from_le_bytes(tag.try_into().ok()?),
                may.into(),
                u32::from_le_bytes(who.try_into().ok()?),
            ))
        })
        .collect::<Option<_>>()?;
    let mask = entries.iter().find(|(tag, ..)| *tag == MASK).map_or(7, |(_, may, _)| *may);
    let grants = entries.into_iter().filter_map(|(tag, may, who)| match tag {
        OF_OWNER | MASK => None,
        OF_USER => Some(Some(Grant::User(who, may & mask))),
        OF_OWN_GROUP => Some(Some(Grant::Group(group, may & mask))),
        OF_GROUP => Some(Some(Grant::Group(who, may & mask))),
        OF_OTHERS => Some(Some(Grant::Others(may))),
        _ => Some(None),
    });
    grants.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u32 = 1000;
    const OURS: u32 = 2000;
    const NOBODY: u32 = u32::MAX;

    fn told(owner: u32, group: u32, mode: u32, list: Option<&[u8]>) -> String {
        let process = Process { user: US, groups: vec![US, OURS] };
        process.objection_to((owner, group, mode), list).unwrap_or_default()
    }

    #[test]
    fn a_group_reads_what_root_has_given_it_and_nothing_else() {
        for (owner, group, mode, expected) in [
            (US, US, 0o600, ""),
            (US, US, 0o400, ""),
            (0, OURS, 0o440, ""),
            (0, OURS, 0o640, ""),
            (0, 0, 0o400, ""),
            (0, OURS, 0o660, "the group 2000 may write it"),
            (0, OURS, 0o420, "the group 2000 may write it"),
            (0, 3000, 0o440, "the group 3000 may read it"),
            (US, OURS, 0o640, "the group 2000 may read it"),
            (0, OURS, 0o444, "everybody may read it"),
            (0, OURS, 0o442, "everybody may write it"),
            (3000, OURS, 0o440, "it belongs to the user 3000, not to this process' user 1000 or root"),
        ] {
            assert_eq!(told(owner, group, mode, None), expected, "{owner}:{group} {mode:04o}");
        }
        let root = Process { user: 0, groups: vec![0, OURS] };
        for (owner, group, mode, is_good) in [
            (US, US, 0o600, true),
            (US, OURS, 0o640, false),
            (0, 0, 0o640, true),
            (0, OURS, 0o440, true),
            (0, 0, 0o644, false),
        ] {
            let objection = root.objection_to((owner, group, mode), None);
            assert_eq!(objection.is_none(), is_good, "{owner}:{group} {mode:04o}: {objection:?}");
        }
    }

    /// A list with these entries.
    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut list = 2u32.to_le_bytes().to_vec();
        for (tag, may, who) in entries {
            list.extend(tag.to_le_bytes());
            list.extend(may.to_le_bytes());
            list.extend(who.to_le_bytes());
        }
        list
    }

    #[test]
    fn a_list_says_who_is_behind_the_groups_bits() {
        // What systemd makes for a credential of a service with a user: the mode reads 0440.
        let credential = |user, others| {
            list(&[(1, 4, NOBODY), (2, 4, user), (4, 0, NOBODY), (16, 4, NOBODY), (32, others, NOBODY)])
        };
        assert_eq!(told(0, 0, 0o440, Some(&credential(US, 0))), "");
        assert_eq!(told(0, 0, 0o440, Some(&credential(3000, 0))), "the user 3000 may read it");
        assert_eq!(told(0, 0, 0o444, Some(&credential(US, 4))), "everybody may read it");
        assert_eq!(told(0, 0, 0o440, None), "the group 0 may read it");
        // A group of ours by its mode, and somebody else beside it.
        let shared = list(&[
            (1, 6, NOBODY),
            (2, 4, 3000),
            (4, 4, NOBODY),
            (8, 6, 4000),
            (16, 4, NOBODY),
            (32, 0, NOBODY),
        ]);
        assert_eq!(told(0, OURS, 0o640, Some(&shared)), "the user 3000 may read it");
        let group = list(&[(1, 6, NOBODY), (4, 4, NOBODY), (8, 6, 4000), (16, 6, NOBODY), (32, 0, NOBODY)]);
        assert_eq!(told(0, OURS, 0o660, Some(&group)), "the group 4000 may write it");
        let masked = list(&[(1, 6, NOBODY), (4, 6, NOBODY), (8, 6, OURS), (16, 4, NOBODY), (32, 0, NOBODY)]);
        assert_eq!(told(0, OURS, 0o640, Some(&masked)), "");
        for broken in [&b""[..], b"\x03\0\0\0", b"\x02\0\0\0\x01", &list(&[(64, 4, 1)])] {
            assert_eq!(told(0, OURS, 0o440, Some(broken)), "its access control list cannot be read");
        }
    }
}
