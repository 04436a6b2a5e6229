//! How much processor time a process may have: the quota of its control groups, of both versions. A container with
//! `--cpus 2` on a machine of 64 cores sees 64 in its affinity mask.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Processors that this process may use at once by its quota, rounded up; `None` where there is none.
#[must_use]
pub fn quota() -> Option<usize> {
    quota_below(Path::new("/"))
}

/// The same, where the system's files stand below `root`.
fn quota_below(root: &Path) -> Option<usize> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let quotas = mounts.lines().filter_map(Mount::parse).flat_map(|mount| {
        let group = groups.lines().find_map(|line| mount.group(line));
        group.map_or(Vec::new(), |group| mount.quotas(root, &group))
    });
    quotas
        .map(|Quota { micros, period }| usize::try_from(micros.div_ceil(period)).unwrap_or(usize::MAX))
        .min()
}

/// Microseconds of processor time in each period, neither of them 0.
struct Quota {
    micros: u64,
    period: u64,
}

impl Quota {
    /// No number is no quota: `max` in version 2, and -1 in version 1.
    fn parse(micros: &str, period: &str) -> Option<Self> {
        let number = |text: &str| text.trim().parse().ok().filter(|number| *number > 0);
        Some(Self { micros: number(micros)?, period: number(period)? })
    }
}

/// Where a hierarchy of groups that limits processors is mounted.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The group that stands at the mount point.
    top: PathBuf,
    at: PathBuf,
    is_version_2: bool,
}

impl Mount {
    /// From a line of `mountinfo`.
    fn parse(line: &str) -> Option<Self> {
        let (of_mount, of_system) = line.split_once(" - ")?;
        let mut of_mount = of_mount.split(' ').skip(3);
        let (top, at) = (unescaped(of_mount.next()?), unescaped(of_mount.next()?));
        let mut of_system = of_system.split(' ');
        let (kind, options) = (of_system.next()?, of_system.nth(1).unwrap_or_default());
        let is_version_2 = kind == "cgroup2";
        let limits = is_version_2 || kind == "cgroup" && options.split(',').any(|option| option == "cpu");
        limits.then_some(Self { top, at, is_version_2 })
    }

    /// The process' group in this hierarchy, from a line of `cgroup`.
    fn group(&self, line: &str) -> Option<PathBuf> {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
        let is_here = if self.is_version_2 {
            number == "0" && controllers.is_empty()
        } else {
            controllers.split(',').any(|controller| controller == "cpu")
        };
        is_here.then(|| PathBuf::from(group))
    }

    /// What each group from the process' own up to the mount point allows.
    fn quotas(&self, root: &Path, group: &Path) -> Vec<Quota> {
        let top = root.join(self.at.strip_prefix("/").unwrap_or(&self.at));
        // In a container the group may be named from another one's view, and its own is the mount point.
        let below = group.strip_prefix(&self.top).unwrap_or(Path::new(""));
        let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::RootDir);
        let below = if below.components().all(is_plain) { below } else { Path::new("") };
        let below = below.strip_prefix("/").unwrap_or(below);
        below.ancestors().filter_map(|group| self.quota(&top.join(group))).collect()
    }

    fn quota(&self, group: &Path) -> Option<Quota> {
        let read = |name: &str| fs::read_to_string(group.join(name)).ok();
        if self.is_version_2 {
            let limit = read("cpu.max")?;
            let (micros, period) = limit.trim().split_once(' ')?;
            Quota::parse(micros, period)
        } else {
            Quota::parse(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?)
        }
    }
}

/// The kernel writes a space, a tab, a line's end and a backslash of a path as `\` and three octal digits.
fn unescaped(path: &str) -> PathBuf {
    let mut text = path.to_owned();
    for (code, letter) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(code, letter);
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "35 26 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "33 32 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      34 32 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    /// The quota on a machine with these files.
    fn found(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<usize> {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/self/cgroup", groups);
        write("proc/self/mountinfo", mounts);
        for (path, text) in files {
            write(path, text);
        }
        quota_below(root.path())
    }

    #[test]
    fn a_quota_is_rounded_up_and_none_is_none() {
        for (limit, expected) in [
            ("200000 100000\n", Some(2)),
            ("150000 100000\n", Some(2)),
            ("100000 100000\n", Some(1)),
            ("1000 100000\n", Some(1)),
            ("400000 50000\n", Some(8)),
            ("max 100000\n", None),
            ("0 100000\n", None),
            ("100000 0\n", None),
            ("", None),
        ] {
            let files = [("sys/fs/cgroup/a/cpu.max", limit)];
            assert_eq!(found("0::/a\n", V2, &files), expected, "{limit:?}");
        }
    }

    #[test]
    fn the_smallest_on_the_way_up_holds() {
        let files = [
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/a/b/c/cpu.max", "800000 100000\n"),
            ("sys/fs/cgroup/a/other/cpu.max", "1000 100000\n"),
        ];
        assert_eq!(found("0::/a/b/c\n", V2, &files), Some(2));
    }

    #[test]
    fn version_1_is_read_too_and_beside_version_2() {
        let group = "4:cpu,cpuacct:/a\n3:memory:/b\n0::/c\n";
        let v1 = [
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "250000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/b/cpu.cfs_quota_us", "1000\n"),
            ("sys/fs/cgroup/memory/b/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(found(group, V1, &v1), Some(3));
        let unified = "36 32 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let both = [&v1[..], &[("sys/fs/cgroup/unified/c/cpu.max", "100000 100000\n")]].concat();
        assert_eq!(found(group, &format!("{V1}{unified}"), &both), Some(1));
    }

    #[test]
    fn a_container_finds_its_group_at_the_mount_point() {
        let here = [
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000"),
            ("sys/fs/cgroup/cpu.max", "300000 100000"),
        ];
        let v1 = "33 32 0:31 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
        assert_eq!(found("4:cpu:/docker/abc\n", v1, &here), Some(1));
        assert_eq!(found("4:cpu:/docker/else\n", v1, &here), Some(1));
        assert_eq!(found("0::/\n", V2, &here), Some(3));
        assert_eq!(found("0::/../../elsewhere\n", V2, &here), Some(3));
        let spaced = "35 26 0:28 / /a\\040b rw - cgroup2 none rw\n";
        assert_eq!(found("0::/\n", spaced, &[("a b/cpu.max", "100000 100000")]), Some(1));
    }

    #[test]
    fn what_cannot_be_read_limits_nothing() {
        for (groups, mounts) in
            [("", ""), ("0::/a\n", ""), ("", V2), ("nonsense", "non - sense"), ("0::\n", "- -")]
        {
            assert_eq!(found(groups, mounts, &[]), None);
        }
    }
}
