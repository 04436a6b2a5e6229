//! File descriptors: how many there are, who may use how many, and what is done while none is free.
//!
//! Clients must not be able to use the descriptors that journal, state and calls need. So connections get what a
//! reserve leaves, and a file that finds no descriptor all the same waits for one: that is no damage of a disk.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::limits;

/// What a node needs descriptors for, beside connections of clients.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    /// Open already when the node starts: whoever started it may have left some.
    pub inherited: usize,
    /// Threads with a runtime of their own.
    pub runtimes: usize,
    /// Targets that are called over a connection.
    pub targets: usize,
    /// Threads that connections are handed to.
    pub ingress_threads: usize,
    /// Messages come from a broker, or go to one.
    pub broker: bool,
    /// State is shared in Firestore.
    pub shared_state: bool,
}

/// Who may use how many descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Connections of the data plane, all together.
    pub connections: usize,
    /// Targets that there are enough for, those of the start included: a reload may add some.
    pub targets: usize,
}

/// The limit leaves too few for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit of open files is {limit}, this node needs at least {needed} (RLIMIT_NOFILE)")]
pub struct TooFew {
    pub limit: u64,
    pub needed: u64,
}

impl Budget {
    /// Divides `limit` descriptors.
    ///
    /// # Errors
    /// When fewer than [`limits::CONNECTIONS_MIN`] connections would be left.
    pub fn divide(limit: u64, needs: Needs) -> Result<Self, TooFew> {
        let Needs { inherited, runtimes, targets, ingress_threads, broker, shared_state } = needs;
        let link = |there| if there { limits::LINK_DESCRIPTORS } else { 0 };
        let reserved = inherited
            + limits::STORAGE_DESCRIPTORS
            + runtimes * limits::RUNTIME_DESCRIPTORS
            + targets * limits::TARGET_DESCRIPTORS
            + link(broker)
            + link(shared_state)
            + limits::OPERATOR_CONNECTIONS_MAX
            + limits::HEALTH_CONNECTIONS_MAX
            + ingress_threads * (limits::ACCEPTED_LANE + limits::CONNECTIONS_CLOSING_MAX);
        // The data plane listens only where there are threads for it.
        let least = if ingress_threads == 0 { 0 } else { limits::CONNECTIONS_MIN };
        let needed = (reserved + least) as u64;
        if limit < needed {
            return Err(TooFew { limit, needed });
        }
        let left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(reserved);
        let connections = left.min(limits::CONNECTIONS_MAX);
        Ok(Self { connections, targets: targets + (left - connections) / limits::TARGET_DESCRIPTORS })
    }
}

/// Raises the soft limit to the hard one, and returns what holds then.
#[must_use]
pub fn raise() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where that is forbidden, the soft limit is what there is.
    let _raised = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Descriptors that are open now.
#[must_use]
pub fn open_now() -> usize {
    /// Standard input, output and error.
    const STREAMS: usize = 3;
    // Where that cannot be seen, nobody left any.
    std::fs::read_dir("/proc/self/fd").map_or(STREAMS, Iterator::count)
}

/// Whether an error says that the process or the system has no descriptor left.
#[must_use]
pub fn are_exhausted(error: &io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| exhausted.contains(&code))
}

/// Opens something of ours. While no descriptor is free it waits, says so, and gives up after
/// [`limits::DESCRIPTOR_TRIES`].
///
/// # Errors
/// What `open` says.
pub fn patiently<T>(path: &Path, open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    retry(path, limits::DESCRIPTOR_TRIES, limits::DESCRIPTOR_PAUSE, open)
}

fn retry<T>(
    path: &Path,
    tries: u32,
    pause: Duration,
    mut open: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    for tried in 0..tries {
        match open() {
            Err(error) if are_exhausted(&error) => {
                if tried == 0 {
                    tracing::warn!(target: "gemba::disk", path = %path.display(), %error, "a file waits for a descriptor");
                }
                thread::sleep(pause);
            }
            opened => return opened,
        }
    }
    Err(io::Error::other(format!(
        "no file descriptor became free within {} s: the disk is well, but the process or the system has as many open \
         files as it may (RLIMIT_NOFILE, fs.file-max)",
        (tries * pause).as_secs()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_the_reserve_leaves() {
        let small = Needs { runtimes: 4, ingress_threads: 2, ..Needs::default() };
        let connections = |limit, needs| Budget::divide(limit, needs).map(|budget| budget.connections);
        let usual = connections(1024, small).unwrap();
        assert!((256..1024).contains(&usual), "{usual}");
        assert_eq!(connections(1025, small), Ok(usual + 1));
        assert_eq!(connections(1 << 30, small), Ok(limits::CONNECTIONS_MAX));
        assert_eq!(connections(u64::MAX, small), Ok(limits::CONNECTIONS_MAX));
        let called = Needs { targets: 4, ..small };
        assert_eq!(connections(1024, called), Ok(usual - 4 * limits::TARGET_DESCRIPTORS));
        let targets = |limit, needs| Budget::divide(limit, needs).map(|budget| budget.targets);
        assert_eq!(targets(1024, called), Ok(4), "connections have the rest");
        let more = Budget::divide(1 << 20, called).unwrap().targets;
        assert_eq!(targets(1 << 20, Needs { targets: more, ..called }), Ok(more));
        let left = Needs { inherited: 100, ..small };
        assert_eq!(connections(1024, left), Ok(usual - 100));
        let edge = Needs { broker: true, shared_state: true, ..small };
        assert_eq!(connections(1024, edge), Ok(usual - 2 * limits::LINK_DESCRIPTORS));
    }

    #[test]
    fn a_limit_that_leaves_too_little_is_refused_with_what_is_needed() {
        let needs = Needs { runtimes: 4, ingress_threads: 2, ..Needs::default() };
        let TooFew { limit, needed } = Budget::divide(64, needs).unwrap_err();
        assert_eq!(limit, 64);
        assert_eq!(Budget::divide(needed - 1, needs), Err(TooFew { limit: needed - 1, needed }));
        assert_eq!(Budget::divide(needed, needs).unwrap().connections, limits::CONNECTIONS_MIN);
        let processor = Needs { ingress_threads: 0, ..needs };
        assert!(Budget::divide(needed - limits::CONNECTIONS_MIN as u64, processor).is_ok());
    }

    #[test]
    fn a_file_without_a_descriptor_waits_for_one_and_is_not_called_damaged() {
        let full = || io::Error::from_raw_os_error(Errno::MFILE.raw_os_error());
        let mut left = 3;
        let opened = retry(Path::new("segment"), 10, Duration::ZERO, || {
            left -= 1;
            if left > 0 { Err(full()) } else { Ok(left) }
        });
        assert_eq!(opened.unwrap(), 0);
        let refused = retry::<()>(Path::new("segment"), 3, Duration::ZERO, || Err(full())).unwrap_err();
        assert!(refused.to_string().contains("no file descriptor"), "{refused}");
        let missing = || Err::<(), _>(io::ErrorKind::NotFound.into());
        let other = retry(Path::new("segment"), 3, Duration::ZERO, missing).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::NotFound);
    }
}
