//! The loops around the stages: turn, and sleep when there is nothing to do. A stage is a value with one method; what
//! makes it a thread is here.

use std::time::Duration;

use crate::andon::audit::AuditFollower;
use crate::andon::log::{LogError, Sealed};
use crate::andon::stage as scribe;
use crate::clock;
use crate::event::UnixMillis;
use crate::jidoka::stage as shard;
use crate::jidoka::store::{Keeper, StoreError};
use crate::kaizen::Heartbeat;
use crate::kanban::journal::WriteError;
use crate::kanban::stage::{self as journal, Fatal, Turn};
use crate::limits::{AUDIT_END_WAIT, AUDIT_LOOK, JOURNAL_SEAL_AFTER};
use crate::ring::{Mark, Receiver, Sender, Sleeper, Switch};

/// How a stage is told to end.
#[derive(Clone, Debug)]
pub struct Stop {
    /// No more will come: finish what waits.
    pub finish: Switch,
    /// Leave everything as it is.
    pub abandon: Switch,
}

/// A thread that has nothing to do looks again after so long, for timers and orders to end.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A stage whose next one is full looks again after so long.
const BLOCKED: Duration = Duration::from_micros(200);

pub fn journal(mut stage: journal::Stage, sleeper: &Sleeper, stop: &Stop) -> Result<(), Fatal> {
    while !stop.abandon.is_on() {
        match stage.turn(clock::now(), clock::look())? {
            Turn::Worked => {}
            Turn::Idle if stop.finish.is_on() => {
                if stage.finish() {
                    return stage.close().map_err(WriteError::into);
                }
                sleeper.wait(BLOCKED, || false);
            }
            Turn::Idle => sleeper.wait(JOURNAL_SEAL_AFTER, || stage.has_work()),
            Turn::Blocked => sleeper.wait(BLOCKED, || false),
        }
    }
    Ok(())
}

/// `time` is the journal's: it alone says what is due.
pub fn shard(mut stage: shard::Stage, time: &Mark, sleeper: &Sleeper, stop: &Stop) {
    while !stop.abandon.is_on() {
        if !stage.turn(clock::now(), UnixMillis(time.read())) {
            if stop.finish.is_on() && stage.is_done() {
                return;
            }
            if stage.is_blocked() {
                // What waits for it must not keep it awake.
                sleeper.wait(BLOCKED, || false);
            } else {
                sleeper.wait(LOOK_AGAIN, || stage.has_work());
            }
        }
    }
}

/// The scribe looks for receipts by itself, so that a batch of them costs one wake and not one each.
const SCRIBE_LOOK: Duration = Duration::from_millis(10);

pub fn scribe(mut stage: scribe::Stage, sleeper: &Sleeper, stop: &Stop) -> Result<(), LogError> {
    while !stop.abandon.is_on() {
        let now = clock::now();
        if !stage.turn(now)? {
            if stop.finish.is_on() && stage.finish()? {
                return Ok(());
            }
            let wait =
                stage.due().map_or(SCRIBE_LOOK, |due| due.saturating_duration_since(now).min(SCRIBE_LOOK));
            sleeper.wait(wait, || stage.has_work());
        }
    }
    Ok(())
}

/// Writes the scribe's batches.
pub fn log_writer(
    mut batches: Receiver<Sealed>,
    mut written: Sender<Result<Sealed, LogError>>,
    mut heartbeat: Heartbeat,
    sleeper: &Sleeper,
    stop: &Stop,
) {
    while !stop.abandon.is_on() && !stop.finish.is_on() {
        heartbeat.turn(clock::now());
        if let Some(sealed) = batches.pop() {
            let result = sealed.write().map(|()| sealed);
            let pushed = written.push(result);
            assert!(pushed.is_ok(), "one batch is under way at a time");
            written.ring();
        } else {
            sleeper.wait(LOOK_AGAIN, || !batches.is_empty());
        }
    }
}

pub fn keeper(
    mut keeper: Keeper,
    mut heartbeat: Heartbeat,
    sleeper: &Sleeper,
    stop: &Stop,
) -> Result<(), StoreError> {
    /// Receipts are durable within milliseconds; nobody rings for it.
    const RECEIPTS: Duration = Duration::from_millis(10);
    while !stop.abandon.is_on() {
        heartbeat.turn(clock::now());
        let worked = keeper.turn()?;
        let more = keeper.retire()?;
        if !worked {
            if stop.finish.is_on() && !keeper.has_work() && !keeper.is_waiting() {
                return Ok(());
            }
            let wait = if keeper.is_waiting() { RECEIPTS } else { LOOK_AGAIN };
            sleeper.wait(wait, || more || keeper.has_work() && !keeper.is_waiting());
        }
    }
    Ok(())
}

/// Writes an audit file. It has no heartbeat: a disk that hangs under it must not look like a line that does not turn.
pub fn audit(mut follower: AuditFollower, stop: &Stop) {
    let mut give_up = None;
    while !stop.abandon.is_on() {
        // Asked before the look: what is in the log by then is written.
        let is_last = stop.finish.is_on();
        let now = clock::now();
        let worked = follower.turn(now);
        if is_last {
            let is_over = now >= *give_up.get_or_insert(now + AUDIT_END_WAIT);
            if follower.is_level() || follower.is_failing() || is_over {
                return follower.end();
            }
        } else if !worked {
            let until = now + AUDIT_LOOK;
            while clock::now() < until && !stop.finish.is_on() && !stop.abandon.is_on() {
                std::thread::sleep(AUDIT_STEP);
            }
        }
    }
}

/// Orders to end are heard within this.
const AUDIT_STEP: Duration = Duration::from_millis(25);
