//! What one seed is about: how large things are and how often what goes wrong. Swarm testing: most seeds have some
//! faults and not others, so that no fault hides behind another.

use std::num::NonZeroU64;

use gemba::event::UnixMillis;
use gemba::halt::{Halt, HaltOrder, HaltScope};
use gemba::jidoka::rules::{ActionSource, EntitlementDefault, RulesSource};
use gemba::kanban::dedup;

use crate::disk::Faults;
use crate::rng::Rng;

/// Signals of this type may order an action.
pub const ACT: &str = "cost.usage";
/// Signals of this type are denied.
pub const DENY: &str = "cost.request";
/// To signals of this type a rule cannot be applied.
pub const UNFIT: &str = "cost.forecast";
/// No rule is about signals of this type, but some are counted.
pub const SEEN: &str = "compliance.finding";

#[derive(Clone, Debug)]
pub struct Plan {
    pub shards: usize,
    pub ports: usize,
    /// Places in each lane: arrivals, events, drafts, orders, inner.
    pub lanes: [usize; 5],
    pub segment_bytes: u64,
    pub log_segment_bytes: u64,
    pub capacity: u64,
    pub low_water_bytes: u64,
    /// What the line is configured with.
    pub rules: RulesSource,
    /// What operators activate, and what a later process is configured with.
    pub other_rules: Vec<RulesSource>,
    /// Processes that are configured with other rules than the one before.
    pub reconfigured: u64,
    pub dedup: dedup::Settings,
    pub tenants: u64,
    pub skus: u64,
    /// Of which there may be one more.
    pub governors: u64,
    pub units: u64,
    pub batches: u64,
    pub processes: u64,
    /// Turns of one process at most.
    pub turns: u64,
    /// How much longer than usual a process lives.
    pub patience: u64,
    /// Rates in 10,000.
    pub faults: Faults,
    pub cuts: u64,
    pub early_deaths: u64,
    /// Every other process is killed in a sync, or ends by one that the device refuses, and the next one soon loses power:
    /// what the first left unsynced was seen by the second, and is gone for the third.
    pub seen_and_gone: bool,
    pub orderly: u64,
    pub rot: u64,
    pub disk_full: u64,
    pub clock_jumps: u64,
    /// The wall clock looks wrong by an hour or a day for some seconds.
    pub clock_wrong: u64,
    pub actions_failing: u64,
    pub actions_silent: u64,
    pub commands: u64,
}

/// A sender gives up so long after it first sent: its signature would be too old.
pub const RESEND_WITHIN_MILLIS: u64 = 5_000;

impl Plan {
    pub fn draw(rng: &mut Rng) -> Self {
        let mut rate = |of: &[u64]| rng.pick(of);
        let faults = Faults {
            write: rate(&[0, 0, 20]),
            sync: rate(&[0, 0, 50]),
            read: rate(&[0, 0, 0, 10]),
            sync_dir: rate(&[0, 0, 200]),
            commit: rate(&[0, 0, 50]),
            slow: rate(&[0, 0, 30]),
        };
        let segment_bytes = rng.pick(&[1024, 4096, 32_768]);
        let small_blocks = rng.chance(4000);
        let rules = rules(rng);
        let other_rules = (0..rng.below(4)).map(|_| variant(rng, &rules)).collect();
        let (tenants, skus) = (rng.pick(&[1, 3]), rng.pick(&[1, 2, 4]));
        Self {
            shards: rng.pick(&[1, 2, 3]),
            ports: rng.pick(&[1, 2, 3]),
            lanes: [
                if small_blocks { 2 } else { rng.pick(&[2, 16]) },
                rng.pick(&[2, 8, 256]),
                rng.pick(&[2, 8, 256]),
                rng.pick(&[1, 8]),
                rng.pick(&[2, 16]),
            ],
            segment_bytes,
            log_segment_bytes: rng.pick(&[12_288, 65_536, 1 << 20]),
            capacity: 2 << 20,
            low_water_bytes: 4 * segment_bytes + 65_536,
            rules,
            other_rules,
            reconfigured: rng.pick(&[0, 5000]),
            dedup: dedup::Settings {
                // Small blocks are archived soon, so that segments are recycled.
                capacity: if small_blocks { 24 } else { rng.pick(&[64, 100_000]) },
                // So are whole runs of them forgotten, and far later than anybody sends again.
                horizon_millis: if small_blocks { 1_200_000 } else { 96 * 3_600_000 },
            },
            tenants,
            skus,
            // One more than there are: with most of them the node is short of room, and never without any.
            governors: if rng.chance(5000) { tenants * skus + 1 } else { 1_000_000 },
            units: if small_blocks { 300 } else { rng.pick(&[20, 60, 240]) },
            batches: rng.pick(&[0, 2000]),
            processes: 2 + rng.below(4),
            turns: if small_blocks { 3000 } else { rng.pick(&[60, 250, 1000]) },
            patience: if small_blocks { 4 } else { 1 },
            faults,
            cuts: rng.pick(&[0, 5000, 10_000]),
            early_deaths: rng.pick(&[0, 3000, 7000]),
            seen_and_gone: rng.chance(4000),
            orderly: rng.pick(&[0, 2000]),
            rot: rng.pick(&[0, 0, 6000]),
            disk_full: rng.pick(&[0, 0, 100]),
            clock_jumps: rng.pick(&[0, 20]),
            actions_failing: rng.pick(&[0, 3000, 9000]),
            actions_silent: rng.pick(&[0, 1000]),
            commands: rng.pick(&[0, 500, 5000]),
            clock_wrong: rng.pick(&[0, 200]),
        }
    }
}

fn rules(rng: &mut Rng) -> RulesSource {
    RulesSource {
        entitlement: rng.pick(&[EntitlementDefault::Active, EntitlementDefault::Required]),
        boot_timeout_seconds: rng.pick(&[1, 30]),
        quota: rng.pick(&[2, 5, 1000]),
        quota_window_seconds: rng.pick(&[2, 60]),
        mailbox: rng.pick(&[1, 8, 1024]),
        mailbox_bytes: rng.pick(&[2000, 1_000_000]),
        breaker_failures: rng.pick(&[1, 2, 5]),
        breaker_reset_seconds: rng.pick(&[1, 60]),
        action_deadline_seconds: rng.pick(&[5, 90]),
        actions: vec![
            "first".into(),
            ActionSource::Background { name: "second".into(), background_seconds: rng.pick(&[2, 60]) },
        ],
        ..RulesSource::default()
    }
    .with_pack("simulated.toml", &pack(rng))
}

/// Some of it is otherwise, so that it shows under which rules an event was decided.
fn variant(rng: &mut Rng, of: &RulesSource) -> RulesSource {
    let drawn = rules(rng);
    match rng.below(6) {
        // No action is in the background any more: those that are out end as they began.
        4 => RulesSource { actions: vec!["first".into(), "second".into()], ..of.clone() },
        5 => {
            let scope = match rng.below(3) {
                0 => HaltScope::Target("second".into()),
                1 => HaltScope::Tenant("t0".into()),
                _ => HaltScope::Line,
            };
            let by = HaltOrder { actor: "root".into(), reason: "simulated".into() };
            RulesSource { halts: vec![Halt { scope, by, since: UnixMillis(0) }], ..of.clone() }
        }
        0 => RulesSource { quota: rng.pick(&[1, 3, 100]), mailbox: rng.pick(&[2, 4, 1024]), ..of.clone() },
        1 => drawn,
        2 => RulesSource { packs: Vec::new(), everyone: Vec::new(), ..of.clone() },
        _ => RulesSource { packs: drawn.packs, everyone: drawn.everyone, ..of.clone() },
    }
}

/// Acts, denies, fails and remembers; what it acts on depends on what it remembers.
fn pack(rng: &mut Rng) -> String {
    let when = rng.pick(&[
        "true",
        "signal.data.amount < 500.0",
        "memory.spent > 900.0",
        "has(memory.before) && memory.before < signal.data.amount",
        "signal.severity != 'info' && memory.seen > 1.0",
    ]);
    let window = rng.pick(&[1, 60]);
    let (action, number) = (rng.pick(&["first", "second"]), rng.below(100));
    format!(
        r#"
name = "simulated"
description = "of number {number}"

[memory]
seen = {{ kind = "count", window_seconds = {window} }}
spent = {{ kind = "sum", of = "signal.data.amount", types = ["{ACT}", "{SEEN}"], window_seconds = {window} }}
before = {{ kind = "last", of = "signal.data.amount", types = ["{ACT}"] }}

[[rule]]
id = "act"
types = ["{ACT}"]
when = "{when}"
decide = "act"
action = "{action}"
reason = "it was asked for"

[[rule]]
id = "deny"
types = ["{DENY}"]
when = "signal.data.amount >= 0.0"
decide = "deny"
reason = "it is never allowed"

[[rule]]
id = "unfit"
types = ["{UNFIT}"]
when = "signal.data.missing > 1.0"
decide = "observe"
reason = "nobody gets here"
"#
    )
}

/// Seeds to run and the first of them, from the environment.
pub fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let count = number("GEMBA_SEEDS").and_then(NonZeroU64::new).map_or(200, NonZeroU64::get);
    let first = number("GEMBA_SEED").unwrap_or(1);
    first..first + count
}
