//! What became of notifications, on its way to the journal, in the order in which it came to be. Many are offered at once: a storm
//! ends in one message, and each of its notifications ends with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::alert::Alarm;
use crate::event::Seq;
use crate::limits::{OUTCOMES_AT_ONCE, OUTCOMES_WAITING_MAX};
use crate::operator::Refused;

/// How soon what the journal did not take is offered again.
pub const AGAIN: Duration = Duration::from_millis(100);

type Offered = (Arc<Alarm>, oneshot::Receiver<Seq>);

/// See above.
#[derive(Debug, Default)]
pub struct Outcomes {
    waiting: VecDeque<Arc<Alarm>>,
    offered: VecDeque<Offered>,
    /// The journal took one not, and is asked again then.
    not_before: Option<Instant>,
}

impl Outcomes {
    pub fn push(&mut self, alarm: Alarm) {
        self.waiting.push_back(Arc::new(alarm));
    }

    /// With more, no further notification is taken. One message ends as many as it stands for, so there may be more for a while.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.len() < OUTCOMES_WAITING_MAX
    }

    /// Offers as many as may be under way.
    pub fn offer(&mut self, offer: impl Fn(Arc<Alarm>) -> Result<oneshot::Receiver<Seq>, Refused>) {
        if self.not_before.is_some_and(|at| at > Instant::now()) {
            return;
        }
        self.not_before = None;
        while self.offered.len() < OUTCOMES_AT_ONCE
            && let Some(next) = self.waiting.pop_front()
        {
            if let Ok(answer) = offer(Arc::clone(&next)) {
                self.offered.push_back((next, answer));
            } else {
                self.waiting.push_front(next);
                self.not_before = Some(Instant::now() + AGAIN);
                return;
            }
        }
    }

    /// Returns when there may be something to offer; never, while nothing waits. May be given up at any time.
    pub async fn turn(&mut self) {
        match (self.offered.front_mut(), self.not_before) {
            (Some((_, answer)), _) => {
                if answer.await.is_ok() {
                    self.offered.pop_front();
                } else {
                    // Those after it may be durable; told twice, they change nothing.
                    let again = self.offered.drain(..).map(|(alarm, _)| alarm);
                    for alarm in again.rev() {
                        self.waiting.push_front(alarm);
                    }
                    self.not_before = Some(Instant::now() + AGAIN);
                }
            }
            (None, Some(at)) => sleep_until(at).await,
            (None, None) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::alert::{AlertId, NoticeId};

    fn outcome(step: u32) -> Alarm {
        let notice = NoticeId { group: AlertId([1; 16]), since: 1, step, channel: "chat".into() };
        Alarm::Notified {
            notice,
            failed: None,
            reference: None,
            tries: 1,
            replaced: false,
            maybe: false,
            digest: None,
        }
    }

    fn step(alarm: &Alarm) -> u32 {
        let Alarm::Notified { notice, .. } = alarm else { panic!("{alarm:?}") };
        notice.step
    }

    #[test]
    fn many_are_under_way_at_once_and_one_that_is_lost_comes_again_in_order() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
            let mut outcomes = Outcomes::default();
            for step in 0..200 {
                outcomes.push(outcome(step));
            }
            let (offered, durable) = (RefCell::new(VecDeque::new()), RefCell::new(Vec::new()));
            let is_full = RefCell::new(false);
            let mut lost = 0;
            let mut turns = 0;
            while durable.borrow().len() < 200 {
                outcomes.offer(|alarm| {
                    if *is_full.borrow() {
                        return Err(Refused::Unavailable);
                    }
                    let (tell, answer) = oneshot::channel();
                    offered.borrow_mut().push_back((step(&alarm), tell));
                    Ok(answer)
                });
                assert!(offered.borrow().len() <= OUTCOMES_AT_ONCE);
                if turns == 0 {
                    assert_eq!(offered.borrow().len(), OUTCOMES_AT_ONCE, "nobody waits for each");
                }
                turns += 1;
                let next = offered.borrow_mut().pop_front();
                if let Some((step, tell)) = next {
                    // The journal ends while they are under way, and has no room for a while.
                    if step == 100 && lost < 3 {
                        lost += 1;
                        is_full.replace(true);
                        drop(tell);
                        offered.borrow_mut().clear();
                    } else {
                        durable.borrow_mut().push(step);
                        tell.send(Seq(1)).unwrap();
                    }
                } else {
                    is_full.replace(false);
                }
                outcomes.turn().await;
            }
            assert_eq!(lost, 3);
            assert_eq!(*durable.borrow(), (0..200).collect::<Vec<_>>());
        });
    }

    #[test]
    fn beyond_the_bound_there_is_no_room() {
        let mut outcomes = Outcomes::default();
        for step in 0..OUTCOMES_WAITING_MAX {
            assert!(outcomes.has_room());
            outcomes.push(outcome(u32::try_from(step).unwrap()));
        }
        assert!(!outcomes.has_room());
    }
}
