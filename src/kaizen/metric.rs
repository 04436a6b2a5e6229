//! Every metric of the node in one table: its name, type, unit, labels and their bounds, what it is and what to do about
//! it. The page of `/metrics`, `gemba metrics` and `docs/metrics.md` come from here.

use strum::{EnumCount, IntoStaticStr, VariantArray};

use super::tenants::TopTenants;
use crate::variants::array;

/// What is said of one metric.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// As it stands on a page; a counter's ends in `_total`.
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    pub labels: &'static [LabelName],
    /// What it is, in one sentence.
    pub help: &'static str,
    /// What its value asks of an operator.
    pub advice: &'static str,
    /// Which nodes show it.
    pub at: At,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows, from 0 with each process.
    Counter,
    Gauge,
    /// Of what, and its upper bounds in its unit; one without bound follows.
    Histogram(Recorded, &'static [f64]),
}

/// What a histogram shows of what the threads record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    Stage(Stage),
    /// Each stage by its name.
    EachStage,
    /// Events of a frame.
    Batch,
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[repr(usize)]
pub enum Stage {
    /// Checking one request's signature; one request in 16.
    Verify,
    /// Reading one request's signals; one request in 16.
    Parse,
    /// Spending the tenants' rate; one request in 16.
    Rate,
    /// From the offer to the journal until it begins to write; one request in 16.
    LaneWait,
    /// Writing one frame.
    JournalWrite,
    /// Making one frame durable.
    Fsync,
    /// From the journal's stamp of a signal until its governor takes it, to a millisecond; one signal in 16.
    DecideWait,
    /// One governor's step; one in 16.
    Decide,
    /// Making one receipt: body, hash, HMAC, leaf, tree; mean of a turn.
    Receipt,
    /// Signing, writing and syncing one batch of receipts.
    ReceiptSync,
    /// One request, from its head to its answer.
    Whole,
}

impl Stage {
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);

    /// One in this many is measured.
    #[must_use]
    pub fn sampled(self) -> u64 {
        match self {
            Self::Verify | Self::Parse | Self::Rate | Self::LaneWait | Self::DecideWait | Self::Decide => 16,
            Self::JournalWrite | Self::Fsync | Self::Receipt | Self::ReceiptSync | Self::Whole => 1,
        }
    }
}

/// The base unit. It is the end of the name, but for a name of the reference architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things, or a state.
    None,
    Seconds,
    Microseconds,
    Bytes,
}

/// A label, and how many values it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelName {
    pub name: &'static str,
    pub values: Values,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Just these.
    Of(&'static [&'static str]),
    /// One for each of these, and at most this number.
    Each(&'static str, usize),
}

/// The nodes that show a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Every,
    /// That take signals by HTTP: roles `all` and `edge`.
    Ingress,
    /// That decide: roles `all` and `processor`.
    Deciding,
    /// Roles `edge` and `processor`.
    Broker,
    Edge,
    Processor,
    /// Processors that share their state.
    Shared,
    /// That decide, on the page of tenants alone.
    Tenants,
}

impl At {
    /// In words for people.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Every => "every role",
            Self::Ingress => "`all`, `edge`",
            Self::Deciding => "`all`, `processor`",
            Self::Broker => "`edge`, `processor`",
            Self::Edge => "`edge`",
            Self::Processor => "`processor`",
            Self::Shared => "`processor` with shared state",
            Self::Tenants => "`all`, `processor`; on `/metrics/tenants` alone",
        }
    }
}

impl Unit {
    /// The end of a name, as OpenMetrics has it: only of base units.
    #[must_use]
    pub fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Seconds => Some("seconds"),
            Self::Bytes => Some("bytes"),
            Self::None | Self::Microseconds => None,
        }
    }

    /// How much of what threads record, nanoseconds or items, one unit is.
    #[must_use]
    pub fn recorded(self) -> f64 {
        match self {
            Self::Seconds => 1e9,
            Self::Microseconds => 1e3,
            Self::None | Self::Bytes => 1.0,
        }
    }

    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Seconds => "s",
            Self::Microseconds => "µs",
            Self::Bytes => "bytes",
        }
    }
}

impl Kind {
    /// As both formats name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(..) => "histogram",
        }
    }
}

/// Bounds of labels.
const PARTITIONS: usize = 256;
const TARGETS: usize = 64;
/// As many as may be configured.
const CHANNELS: usize = crate::limits::CHANNELS_MAX;
const LANES: usize = 512;

const SOURCES: usize = 64;
const PACKS: usize = 32;
const RULES: usize = 512;
/// With one for the others.
const TENANTS: usize = TopTenants::MAX + 1;

const LATENCY_MICROSECONDS: [f64; 7] = [100.0, 500.0, 1000.0, 5000.0, 10_000.0, 50_000.0, 100_000.0];
const REQUEST_SECONDS: [f64; 11] = [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 1.0];
const STAGE_SECONDS: [f64; 13] =
    [1e-7, 1e-6, 1e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.1, 1.0];
const DECISION_SECONDS: [f64; 10] = [1e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.5, 1.0, 5.0, 30.0];
const BATCH: [f64; 9] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 8192.0, 16_384.0];

macro_rules! table {
    ($($(#[$doc:meta])* $variant:ident: $kind:expr, $name:literal, $unit:ident, [$($label:literal: $values:expr),*], $at:ident,
       $help:literal, $advice:literal;)+) => {
        /// A metric of the node.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumCount, VariantArray)]
        pub enum Metric { $($(#[$doc])* $variant),+ }

        impl Metric {
            /// What the table says of it.
            #[must_use]
            pub fn declared(self) -> &'static Declared {
                match self {
                    $(Self::$variant => {
                        const DECLARED: Declared = Declared {
                            name: $name,
                            kind: $kind,
                            unit: Unit::$unit,
                            labels: &[$(LabelName { name: $label, values: $values }),*],
                            help: $help,
                            advice: $advice,
                            at: At::$at,
                        };
                        &DECLARED
                    })+
                }
            }
        }
    };
}

use Kind::{Counter, Gauge, Histogram};
use Values::{Each, Of};

table! {
    Signals: Counter, "gemba_signals_total", None,
        ["result": Of(&["accepted", "duplicate", "bad_signature", "malformed", "unsupported", "too_large", "rate_limited",
                        "conflict", "not_found", "shed"])], Ingress,
        "Signals by what became of them at ingress; all but accepted and duplicate count requests.",
        "Watch shares, not totals. What each result means is in operations.md.";
    SignatureRefusals: Counter, "gemba_signature_refusals_total", None,
        ["source": Each("sources", SOURCES),
         "reason": Of(&["missing", "twice", "malformed", "too_many", "too_old", "too_new", "no_match"])],
        Ingress,
        "Requests that were answered 401, by source and by the step of the verification that failed.",
        "`no_match`: a wrong key or a forger. `too_old` and `too_new`: a clock that is wrong, here or there. The others: a sender that \
         does not sign as the source expects.";
    Decisions: Counter, "gemba_decisions_total", None,
        ["pack": Each("packs", PACKS), "rule": Each("rules", RULES), "decision": Of(&["act", "deny", "observe"])], Deciding,
        "Decisions on signals by the rule that made them; pack and rule are `none` where no rule applied.",
        "A rule that never decides is dead, or its condition is wrong.";
    RuleFailures: Counter, "gemba_rule_failures_total", None,
        ["pack": Each("packs", PACKS), "rule": Each("rules", RULES)], Deciding,
        "Actions that a rule asked for and that failed, and signals that it could not decide.",
        "A rise: `gemba deadletter list` says why; the rule's target, or its condition, is to mend.";
    AnswersDelayed: Counter, "gemba_answers_delayed_total", None, [], Ingress,
        "Refusals that waited because their sender was refused too much.",
        "Any rise: a sender that ignores `Retry-After`.";
    RequestSeconds: Histogram(Recorded::Stage(Stage::Whole), &REQUEST_SECONDS), "gemba_request_seconds", Seconds, [], Ingress,
        "One request from its head to its answer; of a refusal without its wait.",
        "p99 rises with `gemba_fsync_seconds`: the disk.";
    DecisionSeconds: Histogram(Recorded::Stage(Stage::DecideWait), &DECISION_SECONDS), "gemba_decision_seconds", Seconds, [], Deciding,
        "From the journal's stamp of a signal until its governor takes it; one signal in 16.",
        "Rises with `queue_depth`: a shard, the store or the scribe is slower than signals come.";
    LatencyMicroseconds: Histogram(Recorded::Stage(Stage::Whole), &LATENCY_MICROSECONDS), "signal_processing_latency_us", Microseconds, [], Ingress,
        "Signal processing duration in microseconds: `gemba_request_seconds` under the reference architecture's name.",
        "Use `gemba_request_seconds`.";
    FsyncSeconds: Histogram(Recorded::Stage(Stage::Fsync), &STAGE_SECONDS), "gemba_fsync_seconds", Seconds, [], Every,
        "Time to make one journal frame durable.",
        "Every answer waits for it: look at the disk's other users.";
    BatchSignals: Histogram(Recorded::Batch, &BATCH), "gemba_batch_signals", None, [], Every,
        "Events in one journal frame.",
        "Grows with load, by design. Near 16,384 the disk is the limit.";
    StageSeconds: Histogram(Recorded::EachStage, &STAGE_SECONDS), "gemba_stage_seconds", Seconds,
        ["stage": Of(&["verify", "parse", "rate", "lane_wait", "journal_write", "fsync", "decide_wait", "decide", "receipt", "receipt_sync",
                       "whole"])], Every,
        "Time spent in one stage.",
        "Tells which part a slow answer spent its time in.";
    QueueDepth: Gauge, "queue_depth", None, [], Every,
        "Signals taken and not yet handed to their governor.",
        "Should fall back to near 0 after a burst. What waits behind an action is in `gemba_waiting_bytes`.";
    RingDepth: Gauge, "gemba_ring_depth", None, ["ring": Each("lanes between threads", LANES)], Every,
        "Items that wait in a lane.",
        "A lane that stays full names the slow stage behind it.";
    Governors: Gauge, "gemba_governors", None,
        ["state": Of(&["boot", "stable", "action_pending", "quota_exhausted", "degraded", "halted"])], Deciding,
        "Governors by state.",
        "`halted` or `degraded` rising: `gemba governor list`. The sum near `kanban.governors`: raise it.";
    Halts: Gauge, "gemba_halts", None, ["scope": Of(&["tenant", "target", "line"])], Deciding,
        "Halts of tenants, targets and the line that operators ordered.",
        "Above 0: signals become dead letters on purpose. `gemba halt list` says who ordered it, and why.";
    WaitingBytes: Gauge, "gemba_waiting_bytes", Bytes, [], Every,
        "Bytes of the signals that wait for their decision or for the outcome of an action.",
        "Near `kanban.waiting_mib`: a target hangs, or a tenant sends more than is decided.";
    Receipts: Counter, "gemba_receipts_total", None, [], Deciding,
        "Receipts in the transparency log.",
        "Should follow the accepted signals.";
    CheckpointAge: Gauge, "gemba_checkpoint_age_seconds", Seconds, [], Deciding,
        "Time since the last signed checkpoint.",
        "Grows on an idle node: alert only while signals come.";
    AuditLag: Gauge, "gemba_audit_lag_receipts", None, [], Deciding,
        "Receipts in the transparency log that are not in each audit file yet; 0 where none is configured.",
        "Above 0 for minutes: a file cannot be written, or receipts come faster than its disk takes them. operations.md, The audit file.";
    ClockOffset: Gauge, "gemba_clock_offset_seconds", Seconds, [], Every,
        "Wall clock minus the journal's time.",
        "Near 0. See operations.md, A clock that jumps.";
    ClockDoubted: Gauge, "gemba_clock_doubted", None, [], Every,
        "1 while the wall clock is not followed, since it is far from the journal's time.",
        "Page on 1 for more than ten minutes: look at the machine's clock.";
    ClockDoubts: Counter, "gemba_clock_doubts_total", None, [], Every,
        "Times that the wall clock began to be doubted.",
        "Any rise: a clock that looked wrong.";
    DiskFree: Gauge, "gemba_disk_free_bytes", Bytes, [], Every,
        "Free space on the disk of the data directory.",
        "Below `kanban.low_water_mib` the node answers 503: make room before.";
    DiskWritten: Counter, "gemba_disk_written_bytes_total", Bytes, ["file": Of(&["journal", "log"])], Every,
        "Bytes written to journal and log.",
        "The slope sizes the disk.";
    IdentitiesBytes: Gauge, "gemba_identities_bytes", Bytes, [], Every,
        "Memory that the identities on disk take, 2.1 bytes each; while some are merged, twice as much for them.",
        "Grows for `dedup.hours`, at most half as long again, and then stays while as many signals come: give the node memory for it.";
    Connections: Gauge, "gemba_connections", None, [], Ingress,
        "Open connections of the data plane.",
        "Near `gemba_connections_max`: raise the limit of open files.";
    ConnectionsMax: Gauge, "gemba_connections_max", None, [], Ingress,
        "Connections that the data plane may hold.",
        "See `gemba_connections`.";
    TelemetrySent: Counter, "gemba_telemetry_sent_total", None, ["sink": Of(&["remote_write", "traces"])], Every,
        "Samples and spans that a receiver took.",
        "Flat while signals come: see `gemba_telemetry_lost_total` and the log.";
    TelemetryLost: Counter, "gemba_telemetry_lost_total", None,
        ["sink": Of(&["remote_write", "traces", "logs", "syslog", "board"]),
         "cause": Of(&["queue", "too_old", "refused", "rejected", "undelivered", "write", "repeated"])],
        Every,
        "Samples, spans and log lines that did not arrive where they were sent, by where and why.",
        "`queue`: the receiver is slower than it is sent to, or away. `too_old`: it was away for long. `refused`: it answers that it never \
         takes them. `rejected`: it took only a part. `undelivered`: the node ended first. `write`: a closed pipe or a full disk. \
         `repeated`: look for the line that has `left_out`.";
    Reloads: Counter, "gemba_config_reloads_total", None, ["result": Of(&["changed", "unchanged", "refused"])], Every,
        "Readings of the configuration of the running node, by how they ended.",
        "`refused`: what held holds on; the log and the answer say what is wrong.";
    Restarts: Counter, "gemba_restarts_total", None, [], Every,
        "Times that the line was taken up again after a stage panicked.",
        "Any rise: read the log, report it.";
    ActionsSuccessful: Counter, "actions_successful_total", None, [], Deciding,
        "Total successful actions.",
        "Compare with `actions_failed_total`.";
    ActionsFailed: Counter, "actions_failed_total", None, [], Deciding,
        "Total failed actions.",
        "Five failures in a row halt a governor.";
    DeadLettersOpen: Gauge, "gemba_dead_letters_open", None, ["cause": Of(&["sender", "policy", "target", "us"])], Deciding,
        "Dead letters that nobody replayed or discarded, by whose they are to mend.",
        "More than you mean to leave: `gemba deadletter list --cause …`.";
    DeadLettersClosed: Gauge, "gemba_dead_letters_closed", None, [], Deciding,
        "Closed dead letters that are still kept.",
        "Stays at `dead_letters.retention_count` where that many are closed in 30 days.";
    DeadLetters: Counter, "gemba_dead_letters_total", None, ["cause": Of(&["sender", "policy", "target", "us"])], Deciding,
        "Dead letters opened, by whose they are to mend.",
        "Any rise: `gemba deadletter list --cause …`.";
    RulesSince: Gauge, "gemba_rules_since_seq", None, [], Deciding,
        "The event from which the rules hold.",
        "Tells nodes with different rules apart.";
    ReloadFailures: Counter, "gemba_policy_reload_failures_total", None, [], Deciding,
        "Reloads that changed nothing because a pack was wrong.",
        "The answer said where.";
    TargetBreaker: Gauge, "gemba_target_breaker", None, ["target": Each("actions", TARGETS)], Deciding,
        "Breaker of an action's target: 0 healthy, 1 testing, 2 halted.",
        "2: read the reasons on its `action_failed` receipts.";
    TargetWaiting: Gauge, "gemba_target_waiting", None, ["target": Each("actions", TARGETS)], Deciding,
        "Actions that wait for their target: 16 calls of it are under way, it missed them, or they rest.",
        "Rises with a target that is slow, away or halted, or a tenant that orders more than it can do. Other targets are not delayed. A \
         target that is configured no more is shown while something rests that was for it. With fewer than 16 governors a hanging \
         target shows as `gemba_governors{state=\"action_pending\"}` and `gemba_waiting_bytes`.";
    Alerts: Gauge, "gemba_alerts", None,
        ["state": Of(&["open", "notified", "acknowledged"]), "severity": Of(&["info", "warning", "critical"])], Deciding,
        "Alerts that are open, by their state and severity.",
        "`gemba alert list` shows them. `open` for longer than `alerts.group_wait_seconds`: silenced, or behind a target's alert.";
    Notifications: Counter, "gemba_notifications_total", None,
        ["channel": Each("channels", CHANNELS), "result": Of(&["sent", "failed", "rate_limited"])], Deciding,
        "Notifications that a channel took, those that it did not take in the end, and how often its receiver asked for a pause.",
        "`failed` grows: the reasons stand on the `alert_failed` receipts.";
    AlertsRefused: Counter, "gemba_alerts_refused_total", None, [], Deciding,
        "Alerts that were not opened, since others have their places.",
        "Not 0: a rule raises alerts for too many governors. `gemba alert list` shows which; narrow it.";
    NotificationsWaiting: Gauge, "gemba_notifications_waiting", None, ["channel": Each("channels", CHANNELS)], Deciding,
        "Notifications without an end yet.",
        "Grows: the channel fails, or its rate is lower than what there is to tell; beyond its bound they become digests.";
    ChannelBreaker: Gauge, "gemba_channel_breaker", None, ["channel": Each("channels", CHANNELS)], Deciding,
        "A channel of notifications: 0 healthy, 1 it failed and is tried, 2 it failed and is left alone.",
        "2: read the reason in the log and on the `alert_failed` receipts.";
    BrokerConnected: Gauge, "gemba_broker_connected", None, [], Broker,
        "1 while there is a connection to the broker.",
        "0 for more than a minute: look at the broker and the network.";
    BrokerReconnects: Counter, "gemba_broker_reconnects_total", None, [], Broker,
        "Connections to the broker that ended.",
        "A steady rise: the log says why each ended.";
    BrokerMessages: Counter, "gemba_broker_messages_total", None, [], Broker,
        "Messages that the broker confirmed (edge), or that were acknowledged (processor).",
        "Flat while `gemba_broker_backlog_events` or the queue grows: the broker, or the disk here.";
    BrokerBlocked: Gauge, "gemba_broker_blocked", None, [], Edge,
        "1 while the broker takes no messages.",
        "1: the broker's alarms of memory or disk.";
    BrokerUnconfirmed: Gauge, "gemba_broker_unconfirmed_messages", None, [], Edge,
        "Messages published and not confirmed, 256 at most.",
        "Stays at 256: the broker is the limit.";
    BrokerBacklog: Gauge, "gemba_broker_backlog_events", None, [], Edge,
        "Events that are durable and not confirmed.",
        "Grows while the broker is away; near `kanban.backlog_mib` the edge answers 503.";
    BrokerUnacknowledged: Gauge, "gemba_broker_unacknowledged_messages", None, [], Processor,
        "Messages delivered and not yet durable.",
        "Stays at `rabbitmq.prefetch`: this processor is the limit.";
    BrokerRepeated: Counter, "gemba_broker_repeated_messages_total", None, [], Processor,
        "Messages that came twice and counted once.",
        "Rises with each broken connection, by design.";
    BrokerMissing: Gauge, "gemba_broker_missing_signals", None, [], Processor,
        "Numbers of edges that never came.",
        "Above 0: see machines.md.";
    BrokerRejected: Counter, "gemba_broker_rejected_messages_total", None,
        ["cause": Of(&["foreign", "poison", "unsigned", "unknown_key", "wrong_mac", "too_long", "unreadable", "misrouted"])],
        Processor,
        "Messages that became dead letters as a whole, by cause.",
        "Any rise: somebody else publishes, or keys differ. The causes are in machines.md.";
    QueueMessages: Gauge, "gemba_broker_queue_messages", None, ["partition": Each("partitions", PARTITIONS)], Broker,
        "Messages that wait in a partition's queue, also of a partition that this processor does not take.",
        "Grows: its processor is slower than its edges.";
    QueueConsumers: Gauge, "gemba_broker_queue_consumers", None, ["partition": Each("partitions", PARTITIONS)], Broker,
        "Nodes that take from a partition's queue; absent while the broker is away.",
        "Page on 0 for more than a minute: the partition's processor is dead, or no `rabbitmq.consume` names it.";
    ProcessorsAlive: Gauge, "gemba_processors_alive", None, [], Broker,
        "Processors that stand in line for the queues, as this node sees them: those of the partition that has most; absent while the broker is \
         away.",
        "Less than you run: one is dead or has lost the broker. Nodes that see different numbers are cut off from one another.";
    PartitionOwned: Gauge, "gemba_broker_partition_owned", None, ["partition": Each("partitions", PARTITIONS)], Processor,
        "1 where a partition's messages come to this node.",
        "Over all processors the sum of each partition is 1.";
    StateSharedSeq: Gauge, "gemba_state_shared_seq", None, [], Shared,
        "Everything up to this event is in the shared store.",
        "Compare with `durable_seq` of `gemba status`.";
    StateRounds: Counter, "gemba_state_rounds_total", None, [], Shared,
        "Rounds that were written to the shared store.",
        "Flat while signals come: see `gemba_state_unshared_seconds`.";
    StateFailedCalls: Counter, "gemba_state_failed_calls_total", None, [], Shared,
        "Calls of the shared store that did not end well.",
        "A steady rise: the store or the network.";
    StateLostPartitions: Counter, "gemba_state_lost_partitions_total", None, [], Shared,
        "Partitions that a different processor took while this one decided on them.",
        "Any rise without a restart: this node was too slow to renew.";
    StateHeldPartitions: Gauge, "gemba_state_held_partitions", None, [], Shared,
        "Partitions that this processor decides on.",
        "Over all processors the sum is `rabbitmq.partitions`.";
    StateUnshared: Gauge, "gemba_state_unshared_seconds", Seconds, [], Shared,
        "Time since the last round, while something is not shared.",
        "Above a few seconds: the store.";
    TenantEvents: Counter, "gemba_tenant_events_total", None, ["tenant": Each("tenants", TENANTS)], Tenants,
        "Signals, outcomes and orders of a tenant that its shard took.",
        "The tenants with the most are told apart; the others are `other` together. One that left them begins anew at 0.";
    TenantWaited: Counter, "gemba_tenant_waited_seconds_total", Seconds, ["tenant": Each("tenants", TENANTS)], Tenants,
        "Time that a tenant's events waited, from the journal's stamp until their shard took them.",
        "Divided by `gemba_tenant_events_total`: a tenant far above the others sends in bursts, or waits behind its own actions.";
    TenantFailures: Counter, "gemba_tenant_failures_total", None, ["tenant": Each("tenants", TENANTS)], Tenants,
        "Dead letters of a tenant.",
        "A rise: `gemba deadletter list --tenant` says why.";
    SystemStatus: Gauge, "system_status", None, [], Every,
        "0 healthy, 1 degraded, 2 halted.",
        "Page on 1: `/readyz` says which stage, `gemba status` how the broker does. This version never says 2.";
}

impl Metric {
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);

    /// The most series that it may have; a histogram's buckets are not counted.
    #[must_use]
    pub fn series_max(self) -> usize {
        let each = self.declared().labels.iter().map(|label| match label.values {
            Of(values) => values.len(),
            Each(_, most) => most,
        });
        each.product()
    }
}
