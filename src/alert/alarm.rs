//! What the journal brings to the machine of alerts.

use serde::{Deserialize, Serialize};

use super::cause::{AlertCause, AlertId, CauseKind, Importance};
use super::notice::NoticeId;
use crate::ids::{Seq, Subject, UnixMillis, Words};
use crate::limits::ALARM_BYTES_MAX;

/// Something that may change an alert. It is stored as JSON; names of fields and variants never change.
#[derive(Clone, Debug, PartialEq)]
pub enum Alarm {
    /// A cause holds, or holds still.
    Raise(Box<Raise>),
    /// A cause is over.
    End(AlertCause),
    /// Time has passed: what is due is done.
    Tick,
    /// An operator knows of it: nobody else is called.
    Acknowledge { alert: AlertId, by: Words, reason: Words },
    /// An operator says that it is over.
    Resolve { alert: AlertId, by: Words, reason: Words },
    /// Nobody is called for what fits.
    Silence(Box<SilenceOrder>),
    /// A silence ends before its time. It is named by the event that began it.
    EndSilence { silence: Seq, by: Words, reason: Words },
    /// What became of a notification.
    Notified {
        notice: NoticeId,
        failed: Option<Words>,
        reference: Option<Words>,
        tries: u32,
        /// A newer notification of its group took its place, which says nothing of the channel.
        replaced: bool,
        /// It failed, and the channel may have told it all the same.
        maybe: bool,
    },
}

/// A cause holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Raise {
    pub cause: AlertCause,
    pub importance: Importance,
    /// In a sentence, with values.
    pub message: Words,
    /// The governor that is affected, where it is not the cause's own.
    pub member: Option<Subject>,
    pub labels: AlertLabels,
    /// It is over after so many minutes without another one; 0: it has another end.
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
#[derive(Clone, Debug, PartialEq)]
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

/// As it is stored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Stored {
    Raise {
        cause: StoredCause,
        importance: Importance,
        message: Box<str>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<StoredSubject>,
        #[serde(default)]
        labels: AlertLabels,
        #[serde(default)]
        minutes: u32,
    },
    End(StoredCause),
    Tick,
    Acknowledge {
        alert: AlertId,
        by: Box<str>,
        reason: Box<str>,
    },
    Resolve {
        alert: AlertId,
        by: Box<str>,
        reason: Box<str>,
    },
    Silence {
        when: Box<str>,
        until: u64,
        by: Box<str>,
        reason: Box<str>,
    },
    EndSilence {
        silence: u64,
        by: Box<str>,
        reason: Box<str>,
    },
    Notified {
        notice: NoticeId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<Box<str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<Box<str>>,
        tries: u32,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        replaced: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        maybe: bool,
    },
}

/// Tenant and SKU.
type StoredSubject = (Box<str>, Box<str>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredCause {
    kind: CauseKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<StoredSubject>,
    #[serde(default)]
    name: Box<str>,
}

pub(super) fn stored_subject(subject: &Subject) -> (Box<str>, Box<str>) {
    ((*subject.tenant).into(), (*subject.sku).into())
}

impl From<&AlertCause> for StoredCause {
    fn from(cause: &AlertCause) -> Self {
        let subject = cause.subject.as_ref().map(stored_subject);
        Self { kind: cause.kind, subject, name: cause.name.clone() }
    }
}

pub(super) fn wrong(error: impl std::fmt::Display) -> NotAnAlarm {
    NotAnAlarm(error.to_string().into())
}

pub(super) fn read_subject((tenant, sku): &StoredSubject) -> Result<Subject, NotAnAlarm> {
    Subject::read(tenant, sku).map_err(wrong)
}

impl TryFrom<StoredCause> for AlertCause {
    type Error = NotAnAlarm;

    fn try_from(StoredCause { kind, subject, name }: StoredCause) -> Result<Self, NotAnAlarm> {
        Ok(Self { kind, subject: subject.as_ref().map(read_subject).transpose()?, name })
    }
}

fn words(field: &'static str, text: &str) -> Result<Words, NotAnAlarm> {
    Words::read(field, text).map_err(wrong)
}

impl Alarm {
    /// The governor that it concerns beside the machine of alerts: who raised or ended it remembers that it is journalled.
    #[must_use]
    pub fn governor(&self) -> Option<&Subject> {
        match self {
            Self::Raise(raise) => raise.cause.subject.as_ref(),
            Self::End(cause) => cause.subject.as_ref(),
            Self::Tick
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
        let text = |words: &Words| -> Box<str> { (&**words).into() };
        let stored = match self {
            Self::Raise(raise) => Stored::Raise {
                cause: (&raise.cause).into(),
                importance: raise.importance,
                message: text(&raise.message),
                member: raise.member.as_ref().map(stored_subject),
                labels: raise.labels.clone(),
                minutes: raise.minutes,
            },
            Self::End(cause) => Stored::End(cause.into()),
            Self::Tick => Stored::Tick,
            Self::Acknowledge { alert, by, reason } => {
                Stored::Acknowledge { alert: *alert, by: text(by), reason: text(reason) }
            }
            Self::Resolve { alert, by, reason } => {
                Stored::Resolve { alert: *alert, by: text(by), reason: text(reason) }
            }
            Self::Silence(silence) => Stored::Silence {
                when: text(&silence.when),
                until: silence.until.0,
                by: text(&silence.by),
                reason: text(&silence.reason),
            },
            Self::EndSilence { silence, by, reason } => {
                Stored::EndSilence { silence: silence.0, by: text(by), reason: text(reason) }
            }
            Self::Notified { notice, failed, reference, tries, replaced, maybe } => Stored::Notified {
                notice: notice.clone(),
                failed: failed.as_ref().map(text),
                reference: reference.as_ref().map(text),
                tries: *tries,
                replaced: *replaced,
                maybe: *maybe,
            },
        };
        // Nothing in it can fail to be written.
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// # Errors
    /// [`NotAnAlarm`], when [`Alarm::to_json`] of this version does not write such bytes.
    pub fn from_json(bytes: &[u8]) -> Result<Self, NotAnAlarm> {
        if bytes.len() > ALARM_BYTES_MAX {
            return Err(wrong("it is too long"));
        }
        Ok(match serde_json::from_slice(bytes).map_err(wrong)? {
            Stored::Raise { cause, importance, message, member, labels, minutes } => {
                Self::Raise(Box::new(Raise {
                    cause: cause.try_into()?,
                    importance,
                    message: words("message", &message)?,
                    member: member.as_ref().map(read_subject).transpose()?,
                    labels,
                    minutes,
                }))
            }
            Stored::End(cause) => Self::End(cause.try_into()?),
            Stored::Tick => Self::Tick,
            Stored::Acknowledge { alert, by, reason } => {
                Self::Acknowledge { alert, by: words("by", &by)?, reason: words("reason", &reason)? }
            }
            Stored::Resolve { alert, by, reason } => {
                Self::Resolve { alert, by: words("by", &by)?, reason: words("reason", &reason)? }
            }
            Stored::Silence { when, until, by, reason } => Self::Silence(Box::new(SilenceOrder {
                when: words("when", &when)?,
                until: UnixMillis(until),
                by: words("by", &by)?,
                reason: words("reason", &reason)?,
            })),
            Stored::EndSilence { silence, by, reason } => Self::EndSilence {
                silence: Seq(silence),
                by: words("by", &by)?,
                reason: words("reason", &reason)?,
            },
            Stored::Notified { notice, failed, reference, tries, replaced, maybe } => Self::Notified {
                notice,
                failed: failed.map(|text| words("failed", &text)).transpose()?,
                reference: reference.map(|text| words("reference", &text)).transpose()?,
                tries,
                replaced,
                maybe,
            },
        })
    }
}
