//! What a process keeps to itself: the files that it makes, and its memory, in which keys are.

use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask,
};

/// Nobody but the owner gets at what is made from here on.
pub fn close_files() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// No core is dumped, and no process of the same user reads this one's memory. A refusal is the system's own policy.
pub fn close_memory() {
    let _kept = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    limit_cores(Some(0));
}

/// Undoes [`close_memory`], as far as the limit that the process was started with.
pub fn open_memory() {
    let _kept = set_dumpable_behavior(DumpableBehavior::Dumpable);
    limit_cores(getrlimit(Resource::Core).maximum);
}

/// The soft limit alone, so that it can be given back.
fn limit_cores(current: Option<u64>) {
    let maximum = getrlimit(Resource::Core).maximum;
    let _kept = setrlimit(Resource::Core, Rlimit { current, maximum });
}
