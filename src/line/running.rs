//! What every role's run has in common: threads that tell how they ended, and the one that watches them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::serve::{Addresses, ServeError};
use crate::event::Seq;
use crate::jidoka::stage::Stumble;
use crate::kanban::positions::Positions;
use crate::ring::Switch;

/// How a run came to its end.
pub enum Ending {
    Drained,
    Failed(ServeError),
    /// A stage behind the journal; the line can be taken up again.
    Panicked {
        stage: String,
        at: Option<Seq>,
    },
}

/// What a thread tells the one that started it.
pub enum Told {
    /// The journal is replayed and takes signals; it has taken those of edges through these numbers.
    Ready(Positions),
    Ended {
        stage: String,
        result: Result<(), ServeError>,
    },
}

/// One run of a node, from its start to its end.
pub trait Run {
    fn addresses(&self) -> Addresses;

    /// Watches the stages until the line shall end or one of them does; `ready` when it works.
    fn run(&mut self, ready: &mut dyn FnMut()) -> Ending;

    /// Stops accepting, finishes, syncs.
    fn end(self: Box<Self>) -> Result<(), ServeError>;

    /// Ends every stage at once, as a crash would, but waits for them.
    fn abandon(self: Box<Self>);
}

/// Waits for what the threads tell; `ready` when the journal takes signals.
pub fn watch(
    told: &mpsc::Receiver<Told>,
    drain: &Switch,
    mut ready: impl FnMut(&Positions) -> Result<(), ServeError>,
) -> Ending {
    while !drain.is_on() {
        match told.recv_timeout(Duration::from_millis(100)) {
            Ok(Told::Ready(positions)) => {
                if let Err(error) = ready(&positions) {
                    return Ending::Failed(error);
                }
            }
            Ok(Told::Ended { result: Ok(()), .. }) if drain.is_on() => {}
            Ok(Told::Ended { result: Err(ServeError::Panicked { stage, at }), .. }) => {
                return Ending::Panicked { stage, at };
            }
            Ok(Told::Ended { stage, result }) => {
                return Ending::Failed(result.err().unwrap_or(ServeError::Ended { stage }));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => drain.turn_on(),
        }
    }
    Ending::Drained
}

/// The first error that a thread told of at the end.
pub fn last_words(told: &mpsc::Receiver<Told>) -> Result<(), ServeError> {
    for told in told.try_iter() {
        if let Told::Ended { result: Err(error), .. } = told {
            return Err(error);
        }
    }
    Ok(())
}

pub fn spawn(
    name: &str,
    tell: &mpsc::Sender<Told>,
    run: impl FnOnce() -> Result<(), ServeError> + Send + 'static,
) -> Result<JoinHandle<()>, ServeError> {
    let (tell, stage) = (tell.clone(), name.to_owned());
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let at = panic.downcast_ref::<Stumble>().map(|stumble| stumble.at);
            Err(ServeError::Panicked { stage: stage.clone(), at })
        });
        // Nobody listens only when the line ends already.
        let _ending = tell.send(Told::Ended { stage, result });
    });
    thread.map_err(|source| ServeError::Stage { stage: name.into(), source })
}

pub fn join(thread: JoinHandle<()>) {
    // How it ended was told on the channel.
    let _told = thread.join();
}
