//! Alerts between the line and people: notifications on their way to the channels, what became of them on its way to the journal,
//! and causes of the node itself.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::alert_orders::AlertLine;
use super::causes::Causes;
use super::channels::ChannelWatches;
use super::desk::Desk;
use super::outcomes::{AGAIN, Outcomes};
use crate::alert::{Alarm, AlertsWanted};
use crate::andon::channel::{Around, Channels, Dispatcher};
use crate::event::Seq;
use crate::jidoka::alerts::{AlertsAsked, AlertsSeen, NoticeLane};
use crate::limits::BOARD_ALERTS_MAX;
use crate::net::backoff::random;
use crate::ring::Current;

/// How often is looked whether other channels are configured, while nothing is to be told.
const LOOK: Duration = Duration::from_secs(1);

/// Hands notifications to the channels, and tells the journal what became of them.
pub async fn tell(desk: Desk, lane: NoticeLane, channels: Current<Channels>, watches: ChannelWatches) {
    let updates = channels.updates();
    let (clock, sent) = (desk.clone(), Some(Rc::new(desk.sent())));
    let mut dispatcher =
        Dispatcher::new(Around { random, time: Rc::new(move || clock.journal_time()), sent });
    let mut outcomes = Outcomes::default();
    let mut next = None;
    loop {
        // Before a notice is submitted: it may be for a channel that came with a reload.
        if let Some(channels) = updates.take() {
            dispatcher.equip(&channels);
            watches.replace(dispatcher.watches());
        }
        if let Some(notice) = next.take() {
            dispatcher.submit(notice);
        }
        // All that there is: the channels put the most urgent first among what they have.
        while outcomes.has_room()
            && let Some(notice) = lane.try_next()
        {
            dispatcher.submit(notice);
        }
        while let Some(alarm) = dispatcher.ended() {
            outcomes.push(alarm);
        }
        outcomes.offer(|alarm| desk.offer_alarm(alarm));
        tokio::select! {
            notice = lane.next(), if outcomes.has_room() => next = Some(notice),
            alarm = dispatcher.next() => outcomes.push(alarm),
            () = outcomes.turn() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Brings an alarm into the journal, however long that takes; its number there.
async fn journalled(line: &impl AlertLine, alarm: Alarm) -> Seq {
    let alarm = Arc::new(alarm);
    loop {
        if let Ok(seq) = line.alarm(Arc::clone(&alarm)).await {
            return seq;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Keeps at hand what is open, for the board and the metrics, and tells of causes of the node itself.
pub async fn watch(desk: Desk, channels: Current<Channels>) {
    let mut second = tokio::time::interval(LOOK);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut causes, mut after) = (Causes::default(), Seq(0));
    loop {
        second.tick().await;
        let most = channels.get().dead_letters_per_minute;
        let look = |causes: &mut Causes, seen: &AlertsSeen| causes.look(&desk, seen, most);
        if let Some(seen) = compare(&desk, &mut causes, &mut after, look).await {
            desk.saw_alerts(seen);
        }
    }
}

/// Compares once what holds with what is open, and tells the journal. What it was told before is known by then: an end that is on its
/// way would be compared with what holds as if the alert were open.
pub async fn compare(
    line: &impl AlertLine,
    causes: &mut Causes,
    after: &mut Seq,
    look: impl FnOnce(&mut Causes, &AlertsSeen) -> Vec<Alarm>,
) -> Option<AlertsSeen> {
    let list = AlertsWanted { limit: BOARD_ALERTS_MAX, ..AlertsWanted::default() };
    let asked = AlertsAsked { list, ..AlertsAsked::default() };
    let seen = line.ask_alerts(*after, asked).await.ok()?;
    for alarm in look(causes, &seen) {
        *after = journalled(line, alarm).await;
    }
    Some(seen)
}
