//! What channels call back with becomes orders on alerts, one after the other: what somebody said first comes first.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::alert_orders::AlertLine as _;
use super::answer::answered;
use super::desk::Desk;
use crate::alert::{Alarm, Callback, CallbackVerb, MeantAlert};
use crate::clock;
use crate::event::{Seq, UnixMillis};
use crate::ingress::callback::CallbackAsked;
use crate::operator::Refused;

/// Changes alerts as callbacks say. Who calls back hears of it when that is durable and the alerts show it.
pub async fn take(desk: Desk, mut asked: mpsc::Receiver<CallbackAsked>) {
    while let Some(CallbackAsked { mut callback, answer }) = asked.recv().await {
        // Who called has gone, and comes again.
        if answer.is_closed() {
            continue;
        }
        callback.pressed = in_journal_time(callback.pressed, clock::wall(), desk.journal_time());
        let callback = Arc::new(callback);
        match apply(&desk, &callback).await {
            Ok(changed) => {
                if changed == 0 {
                    tracing::debug!(
                        target: "gemba::andon",
                        by = %callback.by,
                        reason = %callback.reason,
                        "a callback changed nothing"
                    );
                }
                let _gone = answer.send(());
            }
            // That it is dropped says so.
            Err(why) => tracing::debug!(
                target: "gemba::andon",
                by = %callback.by,
                reason = %why,
                "a callback was not carried out"
            ),
        }
    }
    // The front has ended, and with it who could call.
    std::future::pending::<()>().await;
}

/// The journal's time of something that the wall clock saw: they differ where the wall clock jumped.
fn in_journal_time(then: UnixMillis, wall: UnixMillis, journal: UnixMillis) -> UnixMillis {
    UnixMillis(journal.0.saturating_sub(wall.0.saturating_sub(then.0)))
}

/// How many alerts were changed. What was begun and not ended is ended by the next callback, which finds the rest.
async fn apply(desk: &Desk, callback: &Arc<Callback>) -> Result<usize, Refused> {
    let (mut after, mut changed) = (Seq(0), 0);
    loop {
        let meant = desk.meant_by(callback, after).await?;
        if meant.is_empty() {
            return Ok(changed);
        }
        changed += meant.len();
        let offered = meant.into_iter().map(|alert| desk.offer_alarm(alarm(callback, alert)));
        let offered: Vec<oneshot::Receiver<Seq>> = offered.collect::<Result<_, _>>()?;
        for seq in offered {
            after = after.max(answered(seq).await?);
        }
    }
}

fn alarm(callback: &Callback, MeantAlert { alert, cause }: MeantAlert) -> Alarm {
    let (by, reason) = (callback.by.clone(), callback.reason.clone());
    match callback.verb {
        CallbackVerb::Acknowledge => Alarm::Acknowledge { alert, by, reason },
        CallbackVerb::Resolve => Alarm::Resolve { alert, by, reason, cause: Some(Box::new(cause)) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_is_as_long_ago_in_the_journal_as_on_the_wall() {
        let day = 24 * 3_600_000;
        let journal = |then: u64, wall: u64, journal: u64| {
            in_journal_time(UnixMillis(then), UnixMillis(wall), UnixMillis(journal)).0
        };
        assert_eq!(journal(99_000, 100_000, 100_000), 99_000);
        assert_eq!(journal(99_000, 100_000, 100_000 + 2 * day), 99_000 + 2 * day, "the journal is ahead");
        assert_eq!(journal(99_000 + day, 100_000 + day, 100_000), 99_000, "the wall is ahead");
        assert_eq!(journal(200_000, 100_000, 100_000), 100_000, "nothing is pressed before it was");
    }
}
