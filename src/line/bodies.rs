//! The bytes of a signal that was accepted, for the one who asks for its story: from its dead letter, or from the journal as far
//! as that reaches. They are read apart from the line's threads, one question after the other.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::answer::in_time;
use super::recovery::journal_dir;
use crate::case::CaseId;
use crate::clock;
use crate::disk::Disk;
use crate::event::{Kind, Seq};
use crate::jidoka::store::Cases;
use crate::kanban::journal::lookup;
use crate::limits::SEARCH_REST;
use crate::signal::Signal;

/// Where they are.
#[derive(Clone)]
pub struct Bodies {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Held by the one who reads.
    reading: Arc<tokio::sync::Mutex<()>>,
}

/// What there is of a signal.
#[derive(Debug)]
pub enum KeptSignal {
    Whole(Box<Signal>),
    /// Why there is nothing.
    Gone(&'static str),
}

const RELEASED: &str = "the journal keeps a signal until it is settled and archived, and its segment is needed again; it keeps this one no more";
const BUSY: &str = "the journal is read for others, or its disk is slow: ask again";
const UNREADABLE: &str = "the journal cannot be read at its place now; `gemba journal inspect` says more";

impl Bodies {
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, data_dir: &std::path::Path) -> Self {
        Self { disk, dir: journal_dir(data_dir), reading: Arc::default() }
    }

    /// The signal of this number; `cases` are those of a node that decides. A story is told without the bytes where they do not
    /// come in time.
    pub async fn find(&self, seq: Seq, durable: Seq, cases: Option<Cases>) -> KeptSignal {
        let reading = self.read_in_turn(seq, durable, cases);
        in_time(reading).await.ok().flatten().unwrap_or(KeptSignal::Gone(BUSY))
    }

    async fn read_in_turn(&self, seq: Seq, durable: Seq, cases: Option<Cases>) -> Option<KeptSignal> {
        let turn = Arc::clone(&self.reading).lock_owned().await;
        let bodies = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let begun = clock::now();
            (bodies.read(seq, durable, cases.as_ref()), clock::now() - begun)
        });
        let (tell, answer) = oneshot::channel();
        // Whoever asked may have gone: the next one waits all the same.
        tokio::task::spawn_local(async move {
            let Ok((found, took)) = reading.await else { return };
            // Nobody may wait for it any more.
            let _gone = tell.send(found);
            tokio::time::sleep(took * SEARCH_REST).await;
            drop(turn);
        });
        answer.await.ok()
    }

    fn read(&self, seq: Seq, durable: Seq, cases: Option<&Cases>) -> KeptSignal {
        // Of a store that cannot be read the dead letters say so.
        if let Some(Ok(Some(signal))) = cases.map(|cases| cases.signal(CaseId(seq))) {
            return KeptSignal::Whole(Box::new(signal));
        }
        match lookup::event(&self.disk, &self.dir, seq, durable) {
            Ok(Some(Kind::Signal(signal))) => KeptSignal::Whole(Box::new(signal)),
            Ok(Some(Kind::Stray(stray))) => KeptSignal::Whole(Box::new(stray.signal)),
            Ok(
                Some(
                    Kind::Outcome(_)
                    | Kind::Timer(_)
                    | Kind::Command(_)
                    | Kind::Replay(_)
                    | Kind::Rules(_)
                    | Kind::Reconfigured(_)
                    | Kind::Position(_)
                    | Kind::Hold(_)
                    | Kind::Adopt(_)
                    | Kind::Shared(_)
                    | Kind::Alarm(_)
                    | Kind::Manifest(_),
                )
                | None,
            ) => KeptSignal::Gone(RELEASED),
            Err(damage) => {
                tracing::warn!(target: "gemba::kanban", error = %damage, seq = seq.0, "a signal cannot be read back");
                KeptSignal::Gone(UNREADABLE)
            }
        }
    }
}
