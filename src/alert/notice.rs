//! What a channel is asked to tell.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cause::{AlertId, CauseKind, Importance};
use super::group_key::GroupKey;
use crate::ids::UnixMillis;

/// One notification of one channel: the group that it is about, its place among the notifications of that group, and the channel.
/// The same after a restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticeId {
    pub group: AlertId,
    /// When the group began; a group that begins again has another time.
    pub since: u64,
    pub step: u32,
    pub channel: Box<str>,
}

impl fmt::Display for NoticeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n-{}-{:x}-{}-{}", self.group, self.since, self.step, self.channel)
    }
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// At least one alert of the group is open.
    Firing,
    /// None is open any more. Sent only to a channel that was told of it before.
    Resolved,
    /// Somebody takes care of it.
    Acknowledged,
}

/// Why it is told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[serde(rename_all = "snake_case")]
pub enum NoticeReason {
    First,
    /// More alerts, or fewer, than were told before.
    Changed,
    Repeat,
    /// Nobody acknowledged it in time.
    Escalation,
    Resolved,
    Acknowledged,
}

/// A notification, as a channel needs it. Plain data: how it looks is the channel's.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    pub id: NoticeId,
    pub tells: NoticeKind,
    pub reason: NoticeReason,
    /// The highest of the alerts that are listed.
    pub importance: Importance,
    pub kind: CauseKind,
    /// Rule, target, stage, source or channel of the group; may be empty.
    pub name: Box<str>,
    /// In one sentence, without a line break; not cut.
    pub summary: Box<str>,
    /// Newest first, at most [`NOTICE_ALERTS_MAX`](crate::limits::NOTICE_ALERTS_MAX).
    pub alerts: Vec<ListedAlert>,
    /// Alerts of the group that are open, and that ended since the group began; those that are not listed included.
    pub firing: u32,
    pub resolved: u32,
    /// Who acknowledged it, with the reason.
    pub acknowledged: Option<(Box<str>, Box<str>)>,
    /// What the channel answered to the group's first notification, if it needs that for the next one.
    pub reference: Option<Box<str>>,
    /// Digests that are over with this end.
    pub closes: Vec<GroupKey>,
    pub node: Arc<str>,
    /// When it was decided to tell it.
    pub time: UnixMillis,
    /// A restart came between: it may have been sent before.
    pub maybe_twice: bool,
}

/// One alert of a notification.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedAlert {
    pub id: AlertId,
    pub importance: Importance,
    pub kind: CauseKind,
    pub name: Box<str>,
    /// Whose it is; `None` of the node's own.
    pub tenant: Option<Box<str>>,
    pub sku: Option<Box<str>>,
    pub message: Box<str>,
    pub since: UnixMillis,
    pub ended: Option<UnixMillis>,
    /// Governors that are affected, where it is not its own alone.
    pub members: u32,
    /// The sender's id of the signal that caused it.
    pub signal: Option<Box<str>>,
    pub source: Option<Box<str>>,
    pub assurance: Option<Box<str>>,
    pub owner: Option<Box<str>>,
    pub target: Option<Box<str>>,
    /// Of the receipt that says when it opened.
    pub receipt: Box<str>,
}
