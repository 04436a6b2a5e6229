//! What may be seen of alerts and of the channels that tell of them.

use std::cell::RefCell;
use std::rc::Rc;

use crate::alert::Importance;
use crate::andon::channel::ChannelWatch;
use crate::jidoka::alerts::AlertsSeen;
use crate::kaizen::{Metric, Readings};

/// What may be seen of the channels that there are now.
pub type ChannelWatches = Rc<RefCell<Vec<Rc<ChannelWatch>>>>;

/// Where alerts and channels stand.
pub fn read(watches: &[Rc<ChannelWatch>], seen: &AlertsSeen, readings: &mut Readings) {
    for state in ["open", "notified", "acknowledged"] {
        for importance in Importance::ALL {
            let alike = seen.counts.iter().filter(|one| one.state == state && one.importance == importance);
            let count = alike.map(|one| one.count).sum();
            readings.count(Metric::Alerts, &[state, importance.into_str()], count);
        }
    }
    for watch in watches {
        readings.count(Metric::Notifications, &[&*watch.name, "sent"], watch.sent());
        readings.count(Metric::Notifications, &[&*watch.name, "failed"], watch.failed());
        readings.count(Metric::Notifications, &[&*watch.name, "rate_limited"], watch.rate_limited());
        readings.count(Metric::NotificationsWaiting, &[&*watch.name], watch.waiting() as u64);
        readings.count(Metric::ChannelBreaker, &[&*watch.name], watch.breaker().into());
    }
}
