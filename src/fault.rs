//! What the crash and simulation harnesses do to the program: kill points K1–K21 of the fault matrix, and bugs
//! planted to see a harness find them. Without the cargo feature `faults` every point is empty and no bug exists.
//!
//! `GEMBA_FAULT=K8:3` aborts when point K8 is passed for the third time. `GEMBA_HOLD=K8:/tmp/held` waits at point K8 while
//! this file exists, as a slow disk does. `GEMBA_PANIC=shard:17` panics in a shard whenever
//! it decides on event 17, `GEMBA_PANIC=shard:17!` only the first time. `GEMBA_PLANT=ack-before-sync` plants a bug.
//!
//! Each point has one name and one place; a process that ends there leaves:
//!
//! | point | place | left behind |
//! |---|---|---|
//! | K1 | `ingress/connection`: the protocol of a connection is known | nothing |
//! | K2 | `ingress/intake`: a request's head is read | nothing |
//! | K3 | `ingress/intake`: its body is read | nothing |
//! | K4 | `ingress/intake`: before the signature is verified | nothing |
//! | K5 | `ingress/intake`: before the tenant's rate is spent | nothing |
//! | K6 | `ingress/stage`: before the unit is offered to the journal, which tells the known from the new | nothing |
//! | K7 | `kanban/stage`: numbers are spent, the frame is not written | numbers that nobody saw |
//! | K8 | `kanban/journal/writer`: written, not synced | a frame that nobody was told of |
//! | K9 | `kanban/stage`: synced, not answered | durable signals whose senders do not know |
//! | K10 | `kanban/stage`: answered, not handed to the shards | signals to decide again |
//! | K11 | `jidoka/stage`: before a governor steps, in a replay too | the same |
//! | K12 | `jidoka/outlet`: an action is decided, not ordered | an action to order again |
//! | K13 | `jidoka/action/executor`: ordered, its target not called | the same |
//! | K14 | `jidoka/action/executor`: its target called, its outcome not journalled | an action that may run twice |
//! | K15 | `andon/stage`: a batch of receipts is made, not written | receipts to make again |
//! | K16 | `andon/stage`: a checkpoint is synced, and the store not told | receipts that a replay must not repeat |
//! | K17 | `kanban/journal/writer`: before a segment is released | a segment that nobody needs |
//! | K18 | `kanban/share/sharer`: a round is cut, not written | decisions that are void |
//! | K19 | `kanban/share/sharer`: a round is written, not noted in the journal | decisions that count and are withheld |
//! | K20 | `kanban/share/write`: a large round is staged, and does not count yet | chunks that nobody needs |
//! | K21 | `kanban/share/write`: a large round counts, and is not in its place | chunks that whoever takes the partition must bring there |

/// Passes the point `name`.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn point(_name: &'static str) {}

/// Passes the point `name`, and waits or aborts there if the environment says so.
#[cfg(feature = "faults")]
pub fn point(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static PLAN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let plan = PLAN.get_or_init(|| {
        let text = std::env::var("GEMBA_FAULT").ok()?;
        let (point, count) = text.split_once(':')?;
        Some((point.to_owned(), count.parse().ok()?))
    });
    hold(name);
    if let Some((point, count)) = plan
        && point == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *count
    {
        eprintln!("fault {name}:{count}");
        std::process::abort();
    }
}

/// Waits at the point `name` while the file exists that the environment names for it.
#[cfg(feature = "faults")]
fn hold(name: &'static str) {
    use std::path::PathBuf;
    use std::sync::OnceLock;

    static HELD: OnceLock<Option<(String, PathBuf)>> = OnceLock::new();
    let held = HELD.get_or_init(|| {
        let text = std::env::var("GEMBA_HOLD").ok()?;
        let (point, path) = text.split_once(':')?;
        Some((point.to_owned(), path.into()))
    });
    if let Some((point, path)) = held
        && point == name
    {
        while path.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// Whether the bug `name` is planted.
#[cfg(not(feature = "faults"))]
#[inline]
pub const fn planted(_name: &'static str) -> bool {
    false
}

/// Whether the bug `name` is planted.
#[cfg(feature = "faults")]
pub fn planted(name: &'static str) -> bool {
    static PLANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("GEMBA_PLANT").ok()).as_deref() == Some(name)
}

/// Ends the process if the environment says that taking this signal does: `GEMBA_POISON=s-17`.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn poison(_id: &str) {}

/// Ends the process if the environment says that taking this signal does.
#[cfg(feature = "faults")]
pub fn poison(id: &str) {
    static POISON: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    if POISON.get_or_init(|| std::env::var("GEMBA_POISON").ok()).as_deref() == Some(id) {
        std::process::abort();
    }
}

/// Ends the process if the environment says that reading this message does: `GEMBA_POISON_BYTES=s-17` stands in it.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn poisoned(_message: &[u8]) {}

/// Ends the process if the environment says that reading this message does.
#[cfg(feature = "faults")]
pub fn poisoned(message: &[u8]) {
    static POISON: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    if let Some(poison) = POISON.get_or_init(|| std::env::var("GEMBA_POISON_BYTES").ok())
        && message.windows(poison.len()).any(|bytes| bytes == poison.as_bytes())
    {
        std::process::abort();
    }
}

/// Panics here if the environment says so.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn stumble(_stage: &'static str, _at: u64) {}

/// Panics here if the environment says so.
#[cfg(feature = "faults")]
pub fn stumble(stage: &'static str, at: u64) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    static PLAN: OnceLock<Option<(String, u64, bool)>> = OnceLock::new();
    static STUMBLED: AtomicBool = AtomicBool::new(false);
    let plan = PLAN.get_or_init(|| {
        let text = std::env::var("GEMBA_PANIC").ok()?;
        let (stage, at) = text.split_once(':')?;
        let once = at.ends_with('!');
        Some((stage.to_owned(), at.trim_end_matches('!').parse().ok()?, once))
    });
    if let Some((wanted, place, once)) = plan
        && wanted == stage
        && *place == at
        && !(STUMBLED.swap(true, Ordering::Relaxed) && *once)
    {
        panic!("planted: {stage} at {at}");
    }
}
