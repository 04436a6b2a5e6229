//! Channels as they are configured. Secrets are values that print nothing.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::alertmanager::{Alertmanager, AlertmanagerChannel};
use super::delivery::Deliver;
use super::email::{Email, EmailChannel};
use super::file::{AlertFile, FileChannel};
use super::log::LogChannel;
use super::pagerduty::{PagerDuty, PagerDutyChannel};
use super::rate::RateLimit;
use super::slack::{Slack, SlackChannel};
use super::sms::{Sms, SmsChannel};
use super::webhook::{AlertWebhook, WebhookChannel};
use crate::limits::{CHANNEL_SMS_WAITING_MAX, CHANNEL_WAITING_MAX};

/// Everything that people are told by.
#[derive(Clone, Debug, Default)]
pub struct Channels {
    pub channels: Vec<Channel>,
    /// Base of the board's address, for links.
    pub external_url: Option<Box<str>>,
    /// More dead letters within a minute are an alert; 0: none are.
    pub dead_letters_per_minute: u32,
}

/// A way to tell people.
#[derive(Clone, Debug)]
pub struct Channel {
    pub name: Arc<str>,
    pub kind: ChannelKind,
    pub rate: RateLimit,
    /// Of one try.
    pub timeout: Duration,
    /// A notice that could not be delivered by then has failed.
    pub give_up: Duration,
    /// People acknowledge there, and the node is told.
    pub calls_back: bool,
}

#[derive(Clone, Debug)]
pub enum ChannelKind {
    PagerDuty(PagerDuty),
    Slack(Slack),
    Email(Email),
    Sms(Sms),
    Webhook(AlertWebhook),
    Alertmanager(Alertmanager),
    /// A line of the node's own log.
    Log,
    File(AlertFile),
}

impl ChannelKind {
    /// Notices that may wait before they become one.
    #[must_use]
    pub fn waiting_max(&self) -> usize {
        match self {
            Self::Sms(_) => CHANNEL_SMS_WAITING_MAX,
            Self::PagerDuty(_)
            | Self::Slack(_)
            | Self::Email(_)
            | Self::Webhook(_)
            | Self::Alertmanager(_)
            | Self::Log
            | Self::File(_) => CHANNEL_WAITING_MAX,
        }
    }

    /// Whether a notice lists all its alerts there: an Alertmanager has a life of its own for each.
    #[must_use]
    pub fn lists_all(&self) -> bool {
        match self {
            Self::Alertmanager(_) => true,
            Self::PagerDuty(_)
            | Self::Slack(_)
            | Self::Email(_)
            | Self::Sms(_)
            | Self::Webhook(_)
            | Self::Log
            | Self::File(_) => false,
        }
    }

    /// How it delivers.
    pub fn deliverer(&self, board: Option<&str>, calls_back: bool) -> Rc<dyn Deliver> {
        let board = board.map(Into::into);
        match self {
            Self::PagerDuty(configured) => Rc::new(PagerDutyChannel::new(configured, board, calls_back)),
            Self::Slack(configured) => Rc::new(SlackChannel::new(configured, board, calls_back)),
            Self::Email(configured) => Rc::new(EmailChannel::new(configured, board)),
            Self::Sms(configured) => Rc::new(SmsChannel::new(configured)),
            Self::Webhook(configured) => Rc::new(WebhookChannel::new(configured, board)),
            Self::Alertmanager(configured) => Rc::new(AlertmanagerChannel::new(configured, board)),
            Self::Log => Rc::new(LogChannel),
            Self::File(configured) => Rc::new(FileChannel::new(configured, board)),
        }
    }
}
