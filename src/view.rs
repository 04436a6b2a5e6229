//! What people and programs are shown; the field names are the public contract.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::halt::Halt;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GovernorView {
    pub tenant: Box<str>,
    pub sku: Box<str>,
    pub state: &'static str,
    pub quota_remaining: u32,
    pub in_flight_action: Option<String>,
    pub breaker: &'static str,
    /// Actions that are out in the background.
    pub deliveries: usize,
    pub mailbox_depth: usize,
    pub last_seq: u64,
    /// The widest of `halts` that is not of a target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halt: Option<HaltView>,
    /// Who halted the line, its tenant, itself, or a target that its rules ask for, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub halts: Vec<HaltView>,
    /// Actions that are out, in the background or not, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub out: BTreeMap<Box<str>, u64>,
}

/// Everything that operators halted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HaltsView {
    /// Tenants, targets and the line.
    pub halts: Vec<HaltView>,
    /// Governors that were halted by themselves, in the order of tenant and SKU.
    pub governors: Vec<GovernorView>,
    /// There are more of these.
    pub more: bool,
}

/// A halt that an operator ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HaltView {
    /// `governor`, `tenant`, `target` or `line`.
    pub scope: &'static str,
    /// The tenant or the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    pub who: Box<str>,
    pub reason: Box<str>,
    /// Milliseconds since 1970.
    pub since_ms: u64,
}

impl From<&Halt> for HaltView {
    fn from(Halt { scope, by, since }: &Halt) -> Self {
        Self {
            scope: scope.kind(),
            name: scope.name().map(Into::into),
            who: (*by.actor).into(),
            reason: (*by.reason).into(),
            since_ms: since.0,
        }
    }
}

/// What became of dead letters that were to be discarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiscardedView {
    pub discarded: u64,
    /// Somebody else replayed or discarded them meanwhile, or the line did not answer: they are as they were, or discarded.
    pub left: u64,
}

/// What a halt holds up, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReachView {
    /// Whether a governor of the tenant, or an action of this name, is known here. A tenant may still come.
    pub known: bool,
    /// Governors that are there now; those to come are halted, too. Of a target: those that have an action of it out.
    pub governors: u64,
    /// There are more governors than were counted, and more of what follows.
    pub more: bool,
    /// Signals that wait in these governors: they become dead letters when their turn comes.
    pub waiting: u64,
    /// Actions that are out and that their governors wait for: they end as they may.
    pub in_flight: u64,
    /// The same in the background: no governor waits for them.
    pub deliveries: u64,
    /// Of a target: rules that ask for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// The halt, where one holds.
    pub halt: Option<HaltView>,
}

/// Another node of the line, which may know what this one does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerView {
    pub name: Box<str>,
    /// Of its operator plane.
    pub url: Box<str>,
}

/// What became of a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignalStatus {
    /// `accepted`, `decided` or `dead_lettered`.
    pub status: &'static str,
    pub source: Box<str>,
    pub seq: u64,
    pub receipts: Vec<String>,
}

/// Receipts that were asked for, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptPage {
    /// Each as canonical JSON, whose bytes must not change.
    pub receipts: Vec<Vec<u8>>,
    /// Where the next page goes on; `None` where nothing older is left.
    pub next: Option<u64>,
}

/// What became of a signal, in the order in which it was decided.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Story {
    pub tenant: Box<str>,
    pub id: Box<str>,
    /// As that of the signal.
    pub status: &'static str,
    pub source: Box<str>,
    /// Its number in the journal.
    pub seq: u64,
    /// Ids of its receipts.
    pub receipts: Vec<String>,
    /// `null` while it is not decided and its bytes are not here.
    pub signal: Option<StorySignal>,
    #[serde(flatten)]
    pub body: StoryBody,
    pub steps: Vec<StoryStep>,
    /// Whom to ask for more, where nothing is decided here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerView>,
}

/// The signal exactly as it stood in the signed body; in binary mode, the body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoryBody {
    /// Its beginning, where it is UTF-8.
    pub body: Option<String>,
    /// The same where it is not.
    pub body_base64: Option<String>,
    /// Length of the whole.
    pub body_bytes: Option<usize>,
    pub body_truncated: bool,
    /// Why there are no bytes; `null` where there are.
    pub body_gone: Option<&'static str>,
}

/// What is known of a signal itself: by its receipts, or by its bytes while there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StorySignal {
    pub sku: String,
    /// SHA-256 of its bytes as they stood in the signed body, in hex.
    pub sha256: String,
    /// How its source signs; `null` where this node has no such source.
    pub scheme: Option<&'static str>,
    /// The key that verified it.
    pub source_key: String,
    /// What the signature proves: `A` to `D`.
    pub assurance: String,
}

/// One receipt of a signal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoryStep {
    /// Milliseconds since 1970.
    pub time: u64,
    pub receipt_type: &'static str,
    pub success: bool,
    /// `null` where the receipt is about an alert, as is `state_after`.
    pub state_before: Option<&'static str>,
    pub state_after: Option<&'static str>,
    /// The rule that decided; `null` where none did.
    pub rule: Option<StoryRule>,
    pub reason: Option<String>,
    /// Who ordered it; `null` where nobody did.
    pub who: Option<String>,
    /// What the rule has read.
    pub facts: Option<serde_json::Value>,
    pub action_id: Option<String>,
    pub receipt_id: String,
    pub log_index: u64,
}

/// A rule that decided.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoryRule {
    pub pack: String,
    pub rule: String,
    /// SHA-256 of the pack's text, in hex.
    pub content_hash: String,
    /// As the pack has it; `null` where the pack was changed since.
    pub text: Option<serde_json::Value>,
}

/// What a replay would do now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DryRun {
    /// `resend`: the action that failed goes out again as it was. `decide`: the signal is decided anew.
    pub does: &'static str,
    pub state_before: &'static str,
    pub state_after: &'static str,
    /// It would wait in the mailbox and be decided later.
    pub waits: bool,
    /// Names of the actions that would be taken.
    pub actions: Vec<Box<str>>,
    /// In the order of the receipts.
    pub transitions: Vec<Transition>,
}

/// One receipt that would be left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transition {
    pub receipt_type: &'static str,
    pub state_before: &'static str,
    pub state_after: &'static str,
    pub pack: Option<Box<str>>,
    pub rule: Option<Box<str>>,
    pub reason: Option<Box<str>>,
}

/// An operator's order that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ordered {
    /// Its number in the journal.
    pub seq: u64,
    /// The receipt that says who ordered what, and why.
    pub receipt_id: String,
}

/// A policy pack that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackView {
    pub name: Box<str>,
    /// SHA-256 of its text, in hex.
    pub content_hash: String,
    pub rules: usize,
    pub memories: usize,
}

/// The rules that hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RulesView {
    /// The event from which they hold; of rules older than the journal's beginning, the last one known.
    pub since: u64,
    /// The packs of every tenant that has none of its own.
    pub packs: Vec<PackView>,
    /// Tenants with packs of their own, and the names of those.
    pub tenants: std::collections::BTreeMap<Box<str>, Vec<Box<str>>>,
}

/// How a node does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    pub name: Box<str>,
    /// `all`, `edge` or `processor`.
    pub role: &'static str,
    pub ready: bool,
    pub stages: Vec<StageHealth>,
    /// Number of the last durable event.
    pub durable_seq: u64,
    /// What operators halted that is more than one governor. The node is ready nonetheless: it takes signals.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub halts: Vec<HaltView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateView>,
}

/// What is seen of the state that processors share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StateView {
    /// Everything up to this event is shared.
    pub shared_seq: u64,
    /// Nothing that was decided waits for being shared.
    pub is_shared: bool,
    /// Since the last round, while something waits.
    pub unshared_milliseconds: u64,
    /// Rounds that were shared.
    pub rounds: u64,
    /// Calls of the store that did not end well.
    pub failed_calls: u64,
    /// Partitions that another processor took while this one decided on them.
    pub lost_partitions: u64,
    /// Partitions that this processor decides on.
    pub held_partitions: Vec<u16>,
}

/// What is seen of the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum BrokerView {
    Edge {
        connected: bool,
        blocked: bool,
        reconnects: u64,
        /// Durable and not confirmed.
        backlog_events: u64,
        unconfirmed_messages: u64,
        confirmed_messages: u64,
        partitions: Vec<QueueView>,
    },
    Processor {
        connected: bool,
        reconnects: u64,
        unacknowledged_messages: u64,
        acknowledged_messages: u64,
        repeated_messages: u64,
        /// No edge of this line wrote them, or they cannot be read: they are dead letters.
        rejected_messages: u64,
        missing_signals: u64,
        partitions: Vec<PartitionView>,
    },
}

/// One partition at an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct QueueView {
    pub partition: u16,
    /// Messages that wait in the queue; null where that is not known.
    pub queue_messages: Option<u64>,
    /// Whether somebody takes them: 0 is nobody.
    pub queue_consumers: Option<u64>,
}

/// One partition at a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionView {
    /// This node is configured to take it.
    pub consumed: bool,
    /// Messages come to this node.
    pub owned: bool,
    #[serde(flatten)]
    pub queue: QueueView,
}

/// How one stage does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageHealth {
    pub stage: String,
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A key of the configuration that holds otherwise. Of a secret only its name is told, of a URL only whom it names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettingChange {
    pub key: String,
    /// `null` where it was not set.
    pub old: serde_json::Value,
    /// `null` where it is not set any more.
    pub new: serde_json::Value,
}

/// One key of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfigEntry {
    pub value: serde_json::Value,
    /// File and line, variable or flag.
    pub place: String,
    /// SHA-256 of the certificate file that it names, as it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The configuration that holds: every key that is set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfigView {
    /// Names it, for `If-Match`.
    pub etag: String,
    /// How often it was read anew with a change since the start.
    pub reloads: u64,
    pub keys: std::collections::BTreeMap<String, ConfigEntry>,
    /// Keys whose new values wait for the next start, as they were read last.
    pub needs_restart: Vec<String>,
}

/// The levels of the log after a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogLevels {
    /// Each target and its level, as `logging.level` is written.
    pub level: String,
    /// The event of the change, and its receipt; none where nothing changed, and at an edge, which decides nothing.
    #[serde(flatten)]
    pub ordered: Option<Ordered>,
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reloaded {
    /// Whether anything holds otherwise.
    pub changed: bool,
    pub changes: Vec<SettingChange>,
    /// Keys whose new values wait for the next start.
    pub needs_restart: Vec<String>,
    /// Names what holds now.
    pub etag: String,
    /// The event of the change, and its receipt; an edge, which decides nothing, has none.
    #[serde(flatten)]
    pub ordered: Option<Ordered>,
    /// Rules that changed hold from this event on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules_seq: Option<u64>,
}

/// Signals as they were decided, for who looks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TapView {
    /// Names the look, to ask for more.
    pub look: String,
    pub signals: Vec<TappedView>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TappedView {
    pub seq: u64,
    /// Milliseconds since 1970.
    pub time: u64,
    /// The type of its receipt.
    pub result: &'static str,
    pub receipt_id: String,
    pub source: Box<str>,
    pub key: Box<str>,
    pub tenant: Box<str>,
    pub sku: Box<str>,
    pub id: Box<str>,
    pub r#type: Box<str>,
    /// `null` where no rule decided.
    pub pack: Option<Box<str>>,
    pub rule: Option<Box<str>>,
    pub reason: Option<Box<str>>,
    /// Length of its body.
    pub bytes: usize,
    /// Its body without secrets; `null` where it is too long to be shown, or no JSON.
    pub signal: Option<serde_json::Value>,
    /// Signals of its shard before it that were asked for, too, and are not shown.
    pub passed_over: u64,
}

/// An alert, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertView {
    pub id: String,
    pub kind: &'static str,
    /// Rule, target, stage, source or channel; may be empty.
    pub name: Box<str>,
    pub severity: &'static str,
    /// `open`, `notified`, `acknowledged` or `resolved`.
    pub state: &'static str,
    pub silenced: bool,
    /// `null` of the node's own.
    pub tenant: Option<Box<str>>,
    pub sku: Option<Box<str>>,
    pub message: Box<str>,
    pub since_ms: u64,
    pub ended_ms: Option<u64>,
    /// Governors that are affected beside its own, and those that are named.
    pub members: u32,
    pub named_members: Vec<String>,
    /// False: no end is known, and it is closed by hand.
    pub end_known: bool,
    pub ends_ms: Option<u64>,
    pub acknowledged_by: Option<Box<str>>,
    pub acknowledged_reason: Option<Box<str>>,
    pub owner: Option<Box<str>>,
    /// The sender's id of the signal that caused it.
    pub signal: Option<Box<str>>,
    pub group: String,
    pub route: Option<Box<str>>,
    /// Hours of the route, in UTC, in which nobody is called, such as `22:00-07:00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<String>,
    pub channels: Vec<ChannelToldView>,
    /// Of its opening.
    pub receipt: Box<str>,
}

/// What one channel was told of an alert's group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelToldView {
    pub channel: Box<str>,
    /// `pending`, `told` or `not_told`.
    pub state: &'static str,
}

/// A silence, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SilenceView {
    /// The event that began it.
    pub id: u64,
    pub when: Box<str>,
    pub since_ms: u64,
    pub until_ms: u64,
    pub by: Box<str>,
    pub reason: Box<str>,
    /// Open alerts that it holds back.
    pub alerts: usize,
}

/// What an order on alerts led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertOrdered {
    pub seq: u64,
    pub receipt_id: String,
    /// The alert that it is about, as it is now; a silence is about none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertView>,
}
