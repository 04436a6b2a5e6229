//! Threads that tell how they ended, and the one that watches them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::error::ServeError;
use crate::event::Seq;
use crate::jidoka::stage::Stumble;
use crate::kanban::positions::Positions;
use crate::ring::Switch;

/// How a run came to its end.
pub enum Ending {
    Drained,
    /// It was asked to end before the journal was ready.
    WhileStarting,
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

/// Waits for what the threads tell, and takes a `look` in between; `ready` when the journal takes signals.
pub fn watch(
    told: &mpsc::Receiver<Told>,
    drain: &Switch,
    mut look: impl FnMut(),
    mut ready: impl FnMut(&Positions) -> Result<(), ServeError>,
) -> Ending {
    let mut is_ready = false;
    while !drain.is_on() {
        look();
        match told.recv_timeout(Duration::from_millis(100)) {
            Ok(Told::Ready(positions)) => {
                if let Err(error) = ready(&positions) {
                    return Ending::Failed(error);
                }
                is_ready = true;
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
    if is_ready { Ending::Drained } else { Ending::WhileStarting }
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

/// The threads of a line that ends.
pub struct Joining<'a> {
    told: &'a mpsc::Receiver<Told>,
    abandon: &'a Switch,
    first: Option<ServeError>,
}

impl<'a> Joining<'a> {
    /// `abandon` ends every stage at once.
    #[must_use]
    pub fn new(told: &'a mpsc::Receiver<Told>, abandon: &'a Switch) -> Self {
        Self { told, abandon, first: None }
    }

    /// Waits until the thread has ended. Where any stage fails meanwhile, all are abandoned: in order they cannot end,
    /// since each waits for what the others hand on.
    pub fn join(&mut self, thread: JoinHandle<()>) {
        while !thread.is_finished() {
            match self.told.recv_timeout(LOOK) {
                Ok(told) => self.hear(told),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        join(thread);
    }

    /// Hears what was told and not yet heard, without waiting.
    pub fn look(&mut self) {
        while let Ok(told) = self.told.try_recv() {
            self.hear(told);
        }
    }

    fn hear(&mut self, told: Told) {
        if let Told::Ended { result: Err(error), .. } = told {
            self.abandon.turn_on();
            self.first.get_or_insert(error);
        }
    }

    /// The first error that a thread told of.
    pub fn result(mut self) -> Result<(), ServeError> {
        self.look();
        self.first.map_or(Ok(()), Err)
    }
}

/// How often is looked whether a thread has ended.
const LOOK: Duration = Duration::from_millis(5);

pub fn join(thread: JoinHandle<()>) {
    // How it ended was told on the channel.
    let _told = thread.join();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_fails_while_the_line_ends_holds_nobody_up() {
        let (tell, told) = mpsc::channel();
        let abandon = Switch::new();
        let over = abandon.clone();
        let waits = spawn("journal", &tell, move || {
            while !over.is_on() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        let panics = spawn("shard-0", &tell, || panic!("a mistake"));
        let mut joining = Joining::new(&told, &abandon);
        joining.join(waits.unwrap());
        joining.join(panics.unwrap());
        assert!(matches!(joining.result(), Err(ServeError::Panicked { stage, .. }) if stage == "shard-0"));
    }

    #[test]
    fn an_order_to_end_before_the_journal_is_ready_is_not_a_drain() {
        let (tell, told) = mpsc::channel();
        let drain = Switch::new();
        let ready = |_: &Positions| Ok(());
        drain.turn_on();
        tell.send(Told::Ready(Positions::default())).unwrap();
        assert!(matches!(watch(&told, &drain, || {}, ready), Ending::WhileStarting), "nothing was opened");
        let drain = Switch::new();
        let order = drain.clone();
        let opened = |_: &Positions| {
            order.turn_on();
            Ok(())
        };
        assert!(matches!(watch(&told, &drain, || {}, opened), Ending::Drained));
    }
}
