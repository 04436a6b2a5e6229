//! What the journal stamps and hands on: an [`Arrival`] has no number yet, an [`Event`] has one and never loses
//! it. Everything that can change a governor's state is one of the kinds below (promise P8: time, randomness and
//! outside results enter only as journalled events).

use std::fmt;
use std::sync::Arc;

use strum::{EnumCount, FromRepr, IntoStaticStr, VariantArray};

pub use crate::event::lanes::{Ack, Arrival, Feed, Forwarded, Note, Order, Part, Shed};
pub use crate::event::words::{EdgeName, Words};
use crate::limits::RULES_BYTES_MAX;
use crate::sharing::{Adopt, Hold, Shared};
use crate::signal::{Illegal, Name, Rule, Signal};
use crate::variants::array;

mod lanes;
mod words;

/// Position in the one order of the node. Starts at 1, grows by one per event, is never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// Of the last number there is, that number: a node never gives it, but foreign bytes may say it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which run of the journal's writer wrote a record; each recovery opens a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// Wall clock, milliseconds since 1970 (UTC). The journal's stamps never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    #[cfg(feature = "inside")]
    #[must_use]
    pub fn plus_seconds(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(u64::from(seconds) * 1000))
    }
}

/// Which governor an event that is not a signal concerns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    pub tenant: Name,
    pub sku: Name,
}

impl Subject {
    /// # Errors
    /// [`Illegal`].
    pub fn read(tenant: &str, sku: &str) -> Result<Self, Illegal> {
        Ok(Self { tenant: Name::read("tenant", tenant)?, sku: Name::read("sku", sku)? })
    }
}

impl From<&Signal> for Subject {
    fn from(signal: &Signal) -> Self {
        let (tenant, sku) = signal.names();
        Self { tenant, sku }
    }
}

/// Which journal gave a number: its random id. 0 where the journal is not known, as in data of older versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalId(pub u64);

/// An action, named by the signal that caused it: a governor generates at most one per signal, so journal and number
/// are unique over all nodes, stable over a replay, and serve as the idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId {
    /// The journal that accepted the signal.
    pub journal: JournalId,
    /// The signal's number there.
    pub seq: Seq,
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.journal {
            JournalId(0) => write!(f, "a-{:016x}", self.seq.0),
            JournalId(journal) => write!(f, "a-{journal:016x}-{:016x}", self.seq.0),
        }
    }
}

impl ActionId {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let hex = |digits: &str| {
            let plain = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        let (journal, seq) = match text.strip_prefix("a-")?.split_once('-') {
            Some((journal, seq)) => (hex(journal).filter(|journal| *journal > 0)?, hex(seq)?),
            None => (0, hex(text.strip_prefix("a-")?)?),
        };
        Some(Self { journal: JournalId(journal), seq: Seq(seq) })
    }
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub subject: Subject,
    pub action: ActionId,
    pub result: Result<(), Failure>,
    /// True when a crash between intent and outcome may have repeated the call.
    pub maybe_twice: bool,
}

/// Why an action was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In words, without secrets.
    pub reason: Words,
    /// False when the target was not asked at all, because its own breaker stood open: such a failure says nothing
    /// about the governor's action, so the governor's breaker does not count it.
    pub asked: bool,
}

impl Failure {
    /// The target was asked, or should have been.
    pub fn asked(reason: impl Into<Words>) -> Self {
        Self { reason: reason.into(), asked: true }
    }

    /// The target's breaker stood open.
    pub fn withheld(reason: impl Into<Words>) -> Self {
        Self { reason: reason.into(), asked: false }
    }
}

/// The timers a governor may have armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, FromRepr, VariantArray)]
#[repr(u8)]
pub enum TimerKind {
    /// `boot` waited too long for its entitlement.
    Boot = 0,
    /// The quota window is over.
    QuotaWindow = 1,
    /// The breaker may try one probe.
    BreakerReset = 2,
    /// The action in flight is overdue.
    ActionDeadline = 3,
    /// Nothing has come for long, and nothing distinguishes it from a new one. No governor arms it: the shard looks.
    Idle = 4,
}

/// A timer that fired. `armed` is the event that armed it, so that a late firing of a cancelled timer is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    pub subject: Subject,
    pub kind: TimerKind,
    pub armed: Seq,
}

/// What an operator may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Halt,
    Resume,
    Entitle,
    Revoke,
    /// A new number of actions for the current window.
    Quota(u32),
    /// The dead letter of this signal is not to be replayed.
    Discard(Seq),
}

/// The name of a [`Verb`]. The numbers are stored and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRepr, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[repr(u8)]
pub enum VerbName {
    Halt = 0,
    Resume = 1,
    Entitle = 2,
    Revoke = 3,
    Quota = 4,
    Discard = 5,
}

impl Verb {
    #[must_use]
    pub fn name(self) -> VerbName {
        match self {
            Self::Halt => VerbName::Halt,
            Self::Resume => VerbName::Resume,
            Self::Entitle => VerbName::Entitle,
            Self::Revoke => VerbName::Revoke,
            Self::Quota(_) => VerbName::Quota,
            Self::Discard(_) => VerbName::Discard,
        }
    }
}

/// An operator's order; the reason is required.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub subject: Subject,
    pub verb: Verb,
    pub actor: Words,
    pub reason: Words,
}

/// A dead letter that an operator sends through the line again. It brings its signal along, so that the journal alone
/// says what happened (promise P8).
#[derive(Clone, Debug)]
pub struct Replay {
    /// The number under which the signal was accepted; it names the case.
    pub case: Seq,
    pub signal: Signal,
    pub actor: Words,
    pub reason: Words,
    /// The action that its target did not take, to be sent again as it was; without it the signal is decided anew.
    pub resend: Option<Box<Resend>>,
}

/// An action that was decided before. It brings all that was decided along, as a replay does its signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resend {
    pub action: ActionId,
    /// Which of the configured actions.
    pub name: Words,
    pub pack: Words,
    pub rule: Words,
    pub content_hash: [u8; 32],
    /// What the rule says.
    pub because: Words,
}

/// The rules of the whole node from one event on, as the text that they are compiled from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesText {
    text: Box<str>,
    /// Who activated them, and why.
    pub actor: Words,
    pub reason: Words,
}

impl RulesText {
    /// # Errors
    /// [`Illegal`], when the text is longer than the journal keeps.
    pub fn new(text: Box<str>, actor: Words, reason: Words) -> Result<Self, Illegal> {
        Rule::AtMost(RULES_BYTES_MAX).check("rules", text.as_bytes())?;
        Ok(Self { text, actor, reason })
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A signal that cannot be decided on as it came over the broker. It becomes a dead letter.
#[derive(Clone, Debug)]
pub struct Stray {
    pub signal: Signal,
    pub why: Astray,
}

/// Why a signal cannot be decided on as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, FromRepr, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[repr(u8)]
pub enum Astray {
    /// Two edges accepted a signal of this id, each with another body; this is the second one.
    Conflict = 0,
    /// The broker set it aside.
    SetAside = 1,
    /// It stood in a queue and no edge wrote it.
    Foreign = 2,
    /// Taking it has ended the processor again and again.
    Poison = 3,
    /// It has no MAC.
    Unsigned = 4,
    /// Its MAC is under a key that this node does not have.
    UnknownKey = 5,
    /// Its MAC is not the one of what it says.
    WrongMac = 6,
    /// It is longer than an edge's messages are. Its beginning is kept.
    TooLong = 7,
    /// Its MAC is right, and what it says cannot be read.
    Unreadable = 8,
    /// Its MAC is right, and it stood in the queue of another partition.
    Misrouted = 9,
}

impl Astray {
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);

    /// Whether it is a message as a whole that is not taken.
    #[must_use]
    pub fn is_of_a_message(self) -> bool {
        match self {
            Self::Conflict | Self::SetAside => false,
            Self::Foreign
            | Self::Poison
            | Self::Unsigned
            | Self::UnknownKey
            | Self::WrongMac
            | Self::TooLong
            | Self::Unreadable
            | Self::Misrouted => true,
        }
    }
}

/// Through which number a processor has taken the signals of one edge and partition. It concerns no governor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub edge: EdgeName,
    pub partition: u16,
    pub through: Seq,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Kind {
    Signal(Signal),
    Outcome(Box<Outcome>),
    Timer(Box<Timer>),
    Command(Box<Command>),
    Replay(Box<Replay>),
    /// The only kind that concerns every governor.
    Rules(Arc<RulesText>),
    Stray(Box<Stray>),
    Position(Position),
    /// Of nodes that share the state of partitions. It concerns the governors of one partition.
    Hold(Hold),
    Adopt(Box<Adopt>),
    Shared(Box<Shared>),
}

/// A journalled fact: durable, numbered, stamped.
#[derive(Clone, Debug)]
pub struct Event {
    pub seq: Seq,
    pub time: UnixMillis,
    pub kind: Kind,
}

impl Kind {
    /// Tenant and SKU of the governor that it concerns; `None` for what concerns all, or none.
    #[must_use]
    pub fn subject(&self) -> Option<(&str, &str)> {
        let subject = match self {
            Self::Signal(signal) => return Some((signal.tenant(), signal.sku())),
            Self::Replay(replay) => return Some((replay.signal.tenant(), replay.signal.sku())),
            Self::Stray(stray) => return Some((stray.signal.tenant(), stray.signal.sku())),
            Self::Outcome(outcome) => &outcome.subject,
            Self::Timer(timer) => &timer.subject,
            Self::Command(command) => &command.subject,
            Self::Adopt(adopt) => &adopt.subject,
            Self::Rules(_) | Self::Position(_) | Self::Hold(_) | Self::Shared(_) => return None,
        };
        Some((&subject.tenant, &subject.sku))
    }

    /// The governor that it concerns; `None` for what concerns all, or none.
    #[must_use]
    pub fn governor(&self) -> Option<Subject> {
        Some(match self {
            Self::Signal(signal) => signal.into(),
            Self::Replay(replay) => (&replay.signal).into(),
            Self::Stray(stray) => (&stray.signal).into(),
            Self::Outcome(outcome) => outcome.subject.clone(),
            Self::Timer(timer) => timer.subject.clone(),
            Self::Command(command) => command.subject.clone(),
            Self::Adopt(adopt) => adopt.subject.clone(),
            Self::Rules(_) | Self::Position(_) | Self::Hold(_) | Self::Shared(_) => return None,
        })
    }

    /// Bytes of the signal that it brings.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        match self {
            Self::Signal(signal) => signal.body().len(),
            Self::Replay(replay) => replay.signal.body().len(),
            Self::Stray(stray) => stray.signal.body().len(),
            Self::Adopt(adopt) => adopt.row().len(),
            Self::Outcome(_)
            | Self::Timer(_)
            | Self::Command(_)
            | Self::Rules(_)
            | Self::Position(_)
            | Self::Hold(_)
            | Self::Shared(_) => 0,
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Signal(_) => "signal",
            Self::Outcome(_) => "outcome",
            Self::Timer(_) => "timer",
            Self::Command(_) => "command",
            Self::Replay(_) => "replay",
            Self::Rules(_) => "rules",
            Self::Stray(_) => "stray",
            Self::Position(_) => "position",
            Self::Hold(_) => "hold",
            Self::Adopt(_) => "adopt",
            Self::Shared(_) => "shared",
        }
    }
}

impl Event {
    /// Tenant and SKU of the governor this event is for; `None` for what concerns all.
    #[must_use]
    pub fn subject(&self) -> Option<(&str, &str)> {
        self.kind.subject()
    }
}
