//! What the journal stamps and hands on: an [`Arrival`] has no number yet, an [`Event`] has one and never loses
//! it. Everything that can change a governor's state is one of the kinds below (promise P8: time, randomness and
//! outside results enter only as journalled events).

use std::sync::Arc;

use strum::{EnumCount, FromRepr, IntoStaticStr, VariantArray};

use crate::alert::Alarm;
pub use crate::event::lanes::{Ack, Arrival, Feed, Forwarded, Note, Order, Part, Shed};
pub use crate::ids::{
    ActionId, EdgeName, Epoch, JournalId, Position, Seq, Subject, TimerKind, UnixMillis, Words,
};
use crate::limits::{FACTS_BYTES_MAX, HALTED_RULES_BYTES_MAX};
use crate::manifest::Manifest;
use crate::names::{Illegal, Rule};
use crate::sharing::{Adopt, Hold, Shared};
use crate::signal::Signal;
use crate::variants::array;

mod lanes;

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub subject: Subject,
    pub action: ActionId,
    /// The event that ordered it: an action that is sent again keeps its id. `None` in journals of before this was kept.
    pub by: Option<Seq>,
    pub result: Result<(), Failure>,
    /// True when a crash between intent and outcome may have repeated the call.
    pub maybe_twice: bool,
    /// What its receipt tells of the calls; `None` where the target was not called.
    pub tries: Option<Tries>,
}

/// The calls of an action's target, as a small object of canonical JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tries(Box<str>);

impl Tries {
    /// # Errors
    /// [`Illegal`], when it is longer than a receipt keeps, or no object.
    pub fn new(text: Box<str>) -> Result<Self, Illegal> {
        Rule::AtMost(FACTS_BYTES_MAX).check("tries", text.as_bytes())?;
        Rule::Object.check("tries", text.as_bytes())?;
        Ok(Self(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
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
    /// It was never ordered, so it cannot run twice.
    pub never_ordered: bool,
}

/// The rules of the whole node from one event on, as the text that they are compiled from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesText {
    text: Box<str>,
    /// The event since which the rules hold that these were made from. Under others they are void; `None` is never void.
    made_from: Option<Seq>,
    /// Who activated them, and why.
    pub actor: Words,
    pub reason: Words,
}

impl RulesText {
    /// # Errors
    /// [`Illegal`], when the text is longer than the journal keeps.
    pub fn new(text: Box<str>, actor: Words, reason: Words) -> Result<Self, Illegal> {
        Rule::AtMost(HALTED_RULES_BYTES_MAX).check("rules", text.as_bytes())?;
        Ok(Self { text, made_from: None, actor, reason })
    }

    /// The same, void unless the rules of the event `since` hold.
    #[must_use]
    pub fn made_from(self, since: Seq) -> Self {
        Self { made_from: Some(since), ..self }
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The event whose rules they were made from, if they say so.
    #[must_use]
    pub fn base(&self) -> Option<Seq> {
        self.made_from
    }

    /// Whether they change nothing, since rules hold that they do not know: those of the event `holding`.
    #[must_use]
    pub fn is_void_under(&self, holding: Seq) -> bool {
        self.made_from.is_some_and(|base| base != holding)
    }
}

/// The configuration of the node was changed while it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconfigured {
    changes: Box<str>,
    /// Who changed it, and why.
    pub actor: Words,
    pub reason: Words,
}

impl Reconfigured {
    /// `changes` is an object of canonical JSON.
    ///
    /// # Errors
    /// [`Illegal`], when it is longer than a receipt keeps, or no object.
    pub fn new(changes: Box<str>, actor: Words, reason: Words) -> Result<Self, Illegal> {
        Rule::AtMost(FACTS_BYTES_MAX).check("changes", changes.as_bytes())?;
        Rule::Object.check("changes", changes.as_bytes())?;
        Ok(Self { changes, actor, reason })
    }

    /// What changed.
    #[must_use]
    pub fn changes(&self) -> &str {
        &self.changes
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
    /// Concerns the node, and no governor.
    Reconfigured(Arc<Reconfigured>),
    Stray(Box<Stray>),
    Position(Position),
    /// Of nodes that share the state of partitions. It concerns the governors of one partition.
    Hold(Hold),
    Adopt(Box<Adopt>),
    Shared(Box<Shared>),
    /// Concerns the alerts of the node, and the governor that it names.
    Alarm(Arc<Alarm>),
    /// What a source sent within an hour. Concerns the node.
    Manifest(Box<Manifest>),
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
            Self::Alarm(alarm) => alarm.governor()?,
            Self::Rules(_)
            | Self::Reconfigured(_)
            | Self::Position(_)
            | Self::Hold(_)
            | Self::Shared(_)
            | Self::Manifest(_) => return None,
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
            Self::Alarm(alarm) => alarm.governor()?.clone(),
            Self::Rules(_)
            | Self::Reconfigured(_)
            | Self::Position(_)
            | Self::Hold(_)
            | Self::Shared(_)
            | Self::Manifest(_) => return None,
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
            | Self::Reconfigured(_)
            | Self::Position(_)
            | Self::Hold(_)
            | Self::Shared(_)
            | Self::Alarm(_)
            | Self::Manifest(_) => 0,
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
            Self::Reconfigured(_) => "reconfigured",
            Self::Stray(_) => "stray",
            Self::Position(_) => "position",
            Self::Hold(_) => "hold",
            Self::Adopt(_) => "adopt",
            Self::Shared(_) => "shared",
            Self::Alarm(_) => "alarm",
            Self::Manifest(_) => "manifest",
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
