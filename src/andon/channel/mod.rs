//! From a [`Notice`](crate::alert::Notice) to a person, and back to [`Alarm::Notified`](crate::alert::Alarm::Notified).
//!
//! Each channel has a queue and a task of its own on the outbound runtime, so a receiver that hangs holds up its own channel alone
//! (P7). Every notice that is submitted ends exactly once: delivered, replaced by a newer one of its group, or failed. A file for
//! each kind of channel builds what is sent, within the limits of its receiver; `queue`, `rate` and `digest` are pure.

mod alertmanager;
mod delivery;
mod digest;
mod dispatcher;
mod email;
mod file;
mod heard;
mod http;
mod log;
mod meter;
mod pagerduty;
mod queue;
mod rate;
mod sent;
mod settings;
mod slack;
mod sms;
mod text;
mod webhook;

#[cfg(test)]
mod tests;

pub use alertmanager::Alertmanager;
pub use dispatcher::{Around, ChannelWatch, Dispatcher};
pub use email::{Email, mail_address};
pub use file::AlertFile;
pub use pagerduty::PagerDuty;
pub use rate::RateLimit;
pub use sent::{SentFile, SentPath};
pub use settings::{Channel, ChannelKind, Channels};
pub use slack::Slack;
pub use sms::Sms;
pub use webhook::AlertWebhook;
