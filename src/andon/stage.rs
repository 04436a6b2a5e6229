//! The scribe's turn: take drafts, append them to the transparency log, commit the batch, publish how far each
//! shard's receipts are durable.
//!
//! A batch closes when it is full or old enough, not when the lane is empty: under load one sync serves thousands of
//! receipts. Nobody waits for it; a signal's 202 rests on the journal, from which every receipt can be made again.

use std::collections::HashSet;

use super::log::{Log, LogError};
use crate::clock::{self, Instant};
use crate::event::{Note, Seq, UnixMillis};
use crate::kaizen::{Counter, Recorder, Stage as Measured};
use crate::limits::{SCRIBE_BATCH_AGE, SCRIBE_BATCH_RECEIPTS_MAX};
use crate::receipt::ReceiptId;
use crate::ring::{Mark, Receiver};

/// One shard's receipts, and how far they are durable.
#[derive(Debug)]
pub struct Port {
    pub notes: Receiver<Note>,
    /// Every receipt for this shard's events up to this number is durable.
    pub durable: Mark,
}

/// What others read.
#[derive(Clone, Debug)]
pub struct Marks {
    /// Entries in the log.
    pub size: Mark,
    /// Bytes written since the start.
    pub written: Mark,
    /// When the last checkpoint was signed, in milliseconds since 1970.
    pub checkpoint: Mark,
}

#[derive(Debug)]
pub struct Stage {
    log: Log,
    ports: Vec<Port>,
    marks: Marks,
    recorder: Recorder,
    /// Receipts that a replay makes again although they are in the log.
    known: HashSet<ReceiptId>,
    /// How far each shard has come in the batch that is open.
    through: Vec<Option<Seq>>,
    receipts: usize,
    opened: Option<Instant>,
    written: u64,
}

impl Stage {
    #[must_use]
    pub fn new(
        log: Log,
        known: HashSet<ReceiptId>,
        ports: Vec<Port>,
        marks: Marks,
        recorder: Recorder,
    ) -> Self {
        marks.size.publish(log.size());
        let through = vec![None; ports.len()];
        Self { log, ports, marks, recorder, known, through, receipts: 0, opened: None, written: 0 }
    }

    #[must_use]
    pub fn has_work(&self) -> bool {
        self.ports.iter().any(|port| !port.notes.is_empty())
    }

    /// When the open batch must be closed at the latest; `None` while none is open.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.opened.map(|opened| opened + SCRIBE_BATCH_AGE)
    }

    /// Takes what waits; commits when it is time. Returns whether there was anything to do.
    pub fn turn(&mut self, now: Instant, wall: UnixMillis) -> Result<bool, LogError> {
        self.recorder.flush_if_due(now);
        let took = self.take(now)?;
        let full = self.receipts >= SCRIBE_BATCH_RECEIPTS_MAX;
        if full || self.due().is_some_and(|due| now >= due) {
            self.commit(wall)?;
        }
        Ok(took)
    }

    /// Commits what is open, whatever its age.
    pub fn commit(&mut self, wall: UnixMillis) -> Result<(), LogError> {
        if self.receipts > 0 {
            crate::fault::point("K15");
            crate::fault::stumble("scribe", self.log.size());
            let begun = clock::now();
            let committed = self.log.commit()?;
            self.recorder.record(Measured::ReceiptSync, clock::now() - begun);
            self.recorder.count(Counter::Receipts, self.receipts as u64);
            self.written += committed.bytes_written;
            self.marks.size.publish(committed.size);
            self.marks.written.publish(self.written);
            self.marks.checkpoint.publish(wall.0);
            crate::fault::point("K16");
        }
        for (port, through) in self.ports.iter().zip(&mut self.through) {
            if let Some(through) = through.take() {
                port.durable.publish(through.0);
            }
        }
        self.receipts = 0;
        self.opened = None;
        Ok(())
    }

    fn take(&mut self, now: Instant) -> Result<bool, LogError> {
        let before = self.receipts;
        let begun = clock::now();
        let mut took = false;
        for (index, port) in self.ports.iter_mut().enumerate() {
            while self.receipts < SCRIBE_BATCH_RECEIPTS_MAX {
                let Some(note) = port.notes.pop() else { break };
                took = true;
                match note {
                    Note::Draft(draft) => {
                        if !self.known.is_empty() && self.known.remove(&draft.id) {
                            continue;
                        }
                        if crate::fault::planted("receipt-lost") && draft.id.seq.0.is_multiple_of(7) {
                            continue;
                        }
                        self.log.append(&draft)?;
                        self.receipts += 1;
                    }
                    Note::Through(seq) => self.through[index] = Some(seq),
                }
            }
        }
        if took && self.opened.is_none() {
            self.opened = Some(now);
        }
        let fresh = self.receipts - before;
        if fresh > 0 {
            self.recorder.record_n(Measured::Receipt, clock::now() - begun, fresh as u64);
        }
        Ok(took)
    }
}
