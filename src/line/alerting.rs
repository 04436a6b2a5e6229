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
use crate::alert::{Alarm, AlertsWanted, Notice};
use crate::andon::channel::{Around, Channels, Dispatcher};
use crate::event::Seq;
use crate::jidoka::alerts::{AlertsAsked, AlertsSeen, NoticeLane};
use crate::limits::BOARD_ALERTS_MAX;
use crate::net::backoff::random;
use crate::ring::{Current, Updates};

/// How often is looked whether other channels are configured, while nothing is to be told.
const LOOK: Duration = Duration::from_secs(1);

/// The channels, as they are configured now.
struct Teller {
    dispatcher: Dispatcher,
    updates: Updates<Channels>,
    watches: ChannelWatches,
}

impl Teller {
    fn equip(&mut self) {
        if let Some(channels) = self.updates.take() {
            self.dispatcher.equip(&channels);
            self.watches.replace(self.dispatcher.watches());
        }
    }

    /// The notice may be for a channel that came with a reload a moment ago.
    fn submit(&mut self, notice: Notice) {
        self.equip();
        self.dispatcher.submit(notice);
    }
}

/// Hands notifications to the channels, and tells the journal what became of them.
pub async fn tell(desk: Desk, lane: NoticeLane, channels: Current<Channels>, watches: ChannelWatches) {
    let (clock, sent) = (desk.clone(), Some(Rc::new(desk.sent())));
    let around = Around { random, time: Rc::new(move || clock.journal_time()), sent };
    let mut teller = Teller { dispatcher: Dispatcher::new(around), updates: channels.updates(), watches };
    let mut outcomes = Outcomes::default();
    loop {
        teller.equip();
        // All that there is: the channels put the most urgent first among what they have.
        while outcomes.has_room()
            && let Some(notice) = lane.try_next()
        {
            teller.submit(notice);
        }
        while let Some(alarm) = teller.dispatcher.ended() {
            outcomes.push(alarm);
        }
        outcomes.offer(|alarm| desk.offer_alarm(alarm));
        tokio::select! {
            notice = lane.next(), if outcomes.has_room() => teller.submit(notice),
            alarm = teller.dispatcher.next() => outcomes.push(alarm),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{AlertId, CauseKind, Importance, NoticeId, NoticeKind, NoticeReason};
    use crate::andon::channel::{Channel, ChannelKind, RateLimit};
    use crate::clock;

    #[test]
    fn a_notice_meets_the_channels_of_a_reload_just_before() {
        let options = tokio::runtime::LocalOptions::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build_local(options);
        runtime.unwrap().block_on(async {
            let channels = Current::new(Arc::new(Channels::default()));
            let around = Around { random, time: Rc::new(clock::wall), sent: None };
            let (dispatcher, updates) = (Dispatcher::new(around), channels.updates());
            let mut teller = Teller { dispatcher, updates, watches: ChannelWatches::default() };
            teller.equip();
            let new = Channel {
                name: "new".into(),
                kind: ChannelKind::Log,
                rate: RateLimit::default(),
                timeout: LOOK,
                give_up: LOOK,
                calls_back: false,
            };
            channels.replace(Arc::new(Channels { channels: vec![new], ..Channels::default() }));
            teller.submit(Notice {
                id: NoticeId { group: AlertId([1; 16]), since: 1, step: 1, channel: "new".into() },
                tells: NoticeKind::Firing,
                reason: NoticeReason::First,
                importance: Importance::Info,
                kind: CauseKind::Test,
                name: "".into(),
                summary: "a test".into(),
                alerts: Vec::new(),
                firing: 1,
                resolved: 0,
                acknowledged: None,
                reference: None,
                closes: Vec::new(),
                node: "n-1".into(),
                time: clock::wall(),
                maybe_twice: false,
            });
            let Alarm::Notified { failed, .. } = teller.dispatcher.next().await else { panic!() };
            assert_eq!(failed, None);
        });
    }
}
