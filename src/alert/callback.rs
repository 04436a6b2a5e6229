//! What comes back from a channel: somebody pressed a button there.

use std::sync::Arc;

use super::group_key::{GroupKey, GroupTag};
use crate::ids::{UnixMillis, Words};

/// How the button of Slack is called; its value is the group's key.
pub const SLACK_ACKNOWLEDGE: &str = "gemba_acknowledge";

/// What somebody said of a group of alerts, at a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Callback {
    /// The channel, and those that share its secret: the group was told to one of them.
    pub channels: Arc<[Box<str>]>,
    pub group: GroupNamed,
    pub verb: CallbackVerb,
    /// The kind of the channel, its name and the person: `pagerduty oncall/Jane Doe`.
    pub by: Words,
    pub reason: Words,
    /// When the button was pressed, by the channel's clock. Of alerts that began later it says nothing.
    pub pressed: UnixMillis,
}

/// How a channel calls the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupNamed {
    Key(GroupKey),
    Tag(GroupTag),
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackVerb {
    Acknowledge,
    Resolve,
}
