//! The cores that this process may use: its affinity mask, so that a container's or `taskset`'s word is kept.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Numbers of the allowed cores; at least one.
#[must_use]
pub fn available() -> Vec<usize> {
    let allowed = sched_getaffinity(None);
    let cores: Vec<usize> = allowed
        .map(|set| (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
        .unwrap_or_default();
    if cores.is_empty() { vec![0] } else { cores }
}

/// Keeps the calling thread on one core. A refusal costs speed, not correctness.
pub fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    let _unpinned = sched_setaffinity(None, &set);
}
