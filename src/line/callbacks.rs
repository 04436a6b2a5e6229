//! What channels call back with becomes orders on alerts, one after the other: what somebody said first comes first.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::answer::answered;
use super::desk::Desk;
use crate::alert::{Alarm, AlertId, Callback, CallbackVerb};
use crate::event::Seq;
use crate::ingress::callback::CallbackAsked;
use crate::operator::Refused;

/// Changes alerts as callbacks say. Who calls back hears of it when that is durable and the alerts show it.
pub async fn take(desk: Desk, mut asked: mpsc::Receiver<CallbackAsked>) {
    while let Some(CallbackAsked { callback, answer }) = asked.recv().await {
        // Who called has gone, and comes again.
        if answer.is_closed() {
            continue;
        }
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

fn alarm(callback: &Callback, alert: AlertId) -> Alarm {
    let (by, reason) = (callback.by.clone(), callback.reason.clone());
    match callback.verb {
        CallbackVerb::Acknowledge => Alarm::Acknowledge { alert, by, reason },
        CallbackVerb::Resolve => Alarm::Resolve { alert, by, reason },
    }
}
