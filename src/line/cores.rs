//! The cores that this process may use, by its affinity mask, and how many of them at once, by the quota of its control groups:
//! so that the word of `taskset` and of a container is kept.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::cgroup;

/// Numbers of the allowed cores; at least one.
#[must_use]
pub fn available() -> Vec<usize> {
    let allowed = sched_getaffinity(None);
    let cores: Vec<usize> = allowed
        .map(|set| (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
        .unwrap_or_default();
    if cores.is_empty() { vec![0] } else { cores }
}

/// Cores that this process may use at once; at least one.
#[must_use]
pub fn processors() -> usize {
    cgroup::quota().map_or(usize::MAX, |quota| quota.max(1)).min(available().len())
}

/// The core of each of `threads` threads. Where there are not as many as cores, the scheduler knows better: other processes
/// with few threads would choose the same ones.
#[must_use]
pub fn pins(threads: usize) -> Vec<Option<usize>> {
    let cores = available();
    if threads == cores.len() { cores.into_iter().map(Some).collect() } else { vec![None; threads] }
}

/// Keeps the calling thread on one core. A refusal costs speed, not correctness.
pub fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    let _unpinned = sched_setaffinity(None, &set);
}
