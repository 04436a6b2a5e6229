//! Alerts between the line and people: notifications on their way to the channels, what became of them on its way to the journal,
//! and causes of the node itself.

use std::sync::Arc;
use std::time::Duration;

use super::alert_orders::AlertLine as _;
use super::causes::Causes;
use super::channels::ChannelWatches;
use super::desk::Desk;
use crate::alert::Alarm;
use crate::andon::channel::{Channels, Dispatcher};
use crate::event::Seq;
use crate::jidoka::alerts::{AlertsAsked, NoticeLane};
use crate::limits::ALERTS_LISTED_MAX;
use crate::net::backoff::random;
use crate::ring::Current;

/// How soon what the journal did not take is offered again.
const AGAIN: Duration = Duration::from_millis(100);
/// How often is looked whether other channels are configured, while nothing is to be told.
const LOOK: Duration = Duration::from_secs(1);

/// Hands notifications to the channels, and tells the journal what became of them.
pub async fn tell(desk: Desk, lane: NoticeLane, channels: Current<Channels>, watches: ChannelWatches) {
    let updates = channels.updates();
    let mut dispatcher = Dispatcher::new(random);
    loop {
        if let Some(channels) = updates.take() {
            dispatcher.equip(&channels);
            watches.replace(dispatcher.watches());
        }
        tokio::select! {
            notice = lane.next() => dispatcher.submit(notice),
            alarm = dispatcher.next() => journalled(&desk, alarm).await,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Brings an alarm into the journal, however long that takes.
pub async fn journalled(desk: &Desk, alarm: Alarm) {
    let alarm = Arc::new(alarm);
    while desk.alarm(Arc::clone(&alarm)).await.is_err() {
        tokio::time::sleep(AGAIN).await;
    }
}

/// Keeps at hand what is open, for the board and the metrics, and tells of causes of the node itself.
pub async fn watch(desk: Desk, channels: Current<Channels>) {
    let mut second = tokio::time::interval(LOOK);
    let mut causes = Causes::default();
    loop {
        second.tick().await;
        let Ok(seen) = desk.ask_alerts(Seq(0), AlertsAsked { id: None, limit: ALERTS_LISTED_MAX }).await
        else {
            continue;
        };
        let most = channels.get().dead_letters_per_minute;
        for alarm in causes.look(&desk, &seen, most) {
            journalled(&desk, alarm).await;
        }
        desk.saw_alerts(seen);
    }
}
