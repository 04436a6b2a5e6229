//! What the journal brings to the machine of alerts.

use serde::{Deserialize, Serialize};

use super::cause::{AlertCause, AlertId, Importance};
use super::group_key::DigestTold;
use super::notice::NoticeId;
use crate::ids::{Seq, Subject, UnixMillis, Words};
use crate::limits::ALARM_BYTES_MAX;

/// Something that may change an alert. It is stored as JSON; names of fields and variants never change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Alarm {
    /// A cause holds, or holds still.
    Raise(Box<Raise>),
    /// A cause is over.
    End(AlertCause),
    /// Time has passed: what is due is done.
    Tick,
    /// The journal's time went on by this, which did not pass.
    Stepped { millis: u64 },
    /// An operator knows of it: nobody else is called.
    Acknowledge { alert: AlertId, by: Words, reason: Words },
    /// An operator says that it is over.
    Resolve {
        alert: AlertId,
        by: Words,
        reason: Words,
        /// What it is about, so that its governor knows that nobody is told of it any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Box<AlertCause>>,
    },
    /// Nobody is called for what fits.
    Silence(Box<SilenceOrder>),
    /// A silence ends before its time. It is named by the event that began it.
    EndSilence { silence: Seq, by: Words, reason: Words },
    /// What became of a notification.
    Notified {
        notice: NoticeId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<Words>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<Words>,
        tries: u32,
        /// A newer notification of its group took its place, which says nothing of the channel.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        replaced: bool,
        /// It failed, and the channel may have told it all the same.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        maybe: bool,
        /// It was told with others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<DigestTold>,
    },
}

/// A cause holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raise {
    pub cause: AlertCause,
    pub importance: Importance,
    /// In a sentence, with values.
    pub message: Words,
    /// The governor that is affected, where it is not the cause's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Subject>,
    #[serde(default)]
    pub labels: AlertLabels,
    /// Minutes without a further one after which it is over; 0 where it ends in a different way.
    #[serde(default)]
    pub minutes: u32,
}

/// What routes and silences may look at, beside the cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertLabels {
    /// The signal that caused it, by its number, the sender's id of it, and its hash in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<(u64, Box<str>, Box<str>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<str>>,
    /// Assurance class of that signal: A, B, C or D.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assurance: Option<Box<str>>,
    /// Who is responsible, as the signal says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Box<str>>,
    /// The action whose target fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Box<str>>,
    /// Its rule says when it is over.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resolves: bool,
}

/// A silence as it is ordered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceOrder {
    /// CEL over `alert`.
    pub when: Words,
    pub until: UnixMillis,
    pub by: Words,
    pub reason: Words,
}

/// Stored bytes are no alarm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an alarm of this version: {0}")]
pub struct NotAnAlarm(Box<str>);

pub(super) fn wrong(error: impl std::fmt::Display) -> NotAnAlarm {
    NotAnAlarm(error.to_string().into())
}

impl Alarm {
    /// The governor that it concerns beside the machine of alerts: who raised or ended it remembers that it is journalled.
    #[must_use]
    pub fn governor(&self) -> Option<&Subject> {
        match self {
            Self::Raise(raise) => raise.cause.subject.as_ref(),
            Self::End(cause) => cause.subject.as_ref(),
            Self::Resolve { cause, .. } => cause.as_ref().and_then(|cause| cause.subject.as_ref()),
            Self::Tick
            | Self::Stepped { .. }
            | Self::Acknowledge { .. }
            | Self::Silence(_)
            | Self::EndSilence { .. }
            | Self::Notified { .. } => None,
        }
    }

    /// The event by which a governor told of it.
    #[must_use]
    pub fn told_by(&self) -> Option<Seq> {
        match self {
            Self::Raise(raise) => raise.cause.told_by,
            Self::End(cause) => cause.told_by,
            Self::Tick
            | Self::Stepped { .. }
            | Self::Acknowledge { .. }
            | Self::Resolve { .. }
            | Self::Silence(_)
            | Self::EndSilence { .. }
            | Self::Notified { .. } => None,
        }
    }

    /// As the journal keeps it, at most [`ALARM_BYTES_MAX`] bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Nothing in it can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// # Errors
    /// [`NotAnAlarm`], when [`Alarm::to_json`] of this version does not write such bytes.
    pub fn from_json(bytes: &[u8]) -> Result<Self, NotAnAlarm> {
        if bytes.len() > ALARM_BYTES_MAX {
            return Err(wrong("it is too long"));
        }
        serde_json::from_slice(bytes).map_err(wrong)
    }
}
