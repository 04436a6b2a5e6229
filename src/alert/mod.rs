//! What people are told of, in the words that stages, channels and operators share, and the machine that says when whom.
//!
//! A *cause* holds or is over: a rule that fired, a breaker that opened, a node whose disk is nearly full. Whoever sees it writes an
//! [`Alarm`] into the journal. [`Alerts`] is the one machine of a node that reads alarms: it opens, groups, notifies,
//! escalates and resolves. It is pure; time, operators' orders and what became of notifications are alarms like any other, so a
//! restart loses no resolve and sends no page twice (promises P2, P8).

mod alarm;
mod callback;
mod cause;
mod group_key;
mod list;
mod machine;
mod notice;
mod routes;
mod state;
#[cfg(test)]
mod tests;

pub use alarm::{Alarm, AlertLabels, NotAnAlarm, Raise, SilenceOrder};
pub use callback::{Callback, CallbackVerb, GroupNamed, SLACK_ACKNOWLEDGE};
pub use cause::{AlertCause, AlertId, CauseKind, Importance};
pub use group_key::{DigestTold, GroupKey, GroupTag};
pub use list::{AlertDigits, AlertPage, AlertsWanted};
pub use machine::{AlertCount, AlertEffects, AlertRow, Alerts, MeantAlert};
pub use notice::{ListedAlert, Notice, NoticeId, NoticeKind, NoticeReason};
pub use routes::{AlertFilter, AlertRoute, GroupBy, QuietHours, RouteSource, Routes, RoutesSource};
