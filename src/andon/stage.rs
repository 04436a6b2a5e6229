//! The scribe's turn: take drafts, append them to the transparency log, commit the batch, publish how far each
//! shard's receipts are durable.
//!
//! A batch closes when it is full or old enough, not when the lane is empty: under load one sync serves thousands of
//! receipts. Nobody waits for it; a signal's 202 rests on the journal, from which every receipt can be made again.

use std::collections::HashSet;

use super::log::{Log, LogError, Sealed};
use crate::clock::{self, Instant};
use crate::event::Note;
use crate::kaizen::{Counter, Recorder, Span, SpanName, Stage as Measured};
use crate::limits::{SCRIBE_BATCH_AGE, SCRIBE_BATCH_RECEIPTS_MAX};
use crate::receipt::ReceiptId;
use crate::ring::{Mark, Receiver, Sender};
use crate::trace::TraceContext;

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
    /// When the last checkpoint was signed, by [`clock::millis`].
    pub checkpoint: Mark,
}

/// Who writes and syncs a sealed batch.
#[derive(Debug)]
enum Hand {
    /// The scribe itself, before it goes on.
    Own,
    /// A thread that does nothing else, so that the next batch is hashed meanwhile.
    Other(Writer),
}

/// The lanes to and from the thread that writes.
#[derive(Debug)]
pub struct Writer {
    pub batches: Sender<Sealed>,
    pub written: Receiver<Result<Sealed, LogError>>,
}

/// A batch that is being written.
#[derive(Debug)]
struct Pending {
    commits: Vec<Option<u64>>,
    receipts: usize,
    begun: Instant,
    traced: Vec<Traced>,
}

/// A receipt of a traced signal.
#[derive(Debug)]
struct Traced {
    trace: TraceContext,
    receipt: ReceiptId,
    drafted: Instant,
}

#[derive(Debug)]
pub struct Stage {
    log: Log,
    ports: Vec<Port>,
    marks: Marks,
    recorder: Recorder,
    hand: Hand,
    pending: Option<Pending>,
    /// Receipts that a replay makes again although they are in the log.
    known: HashSet<ReceiptId>,
    /// How far each shard has come in the batch that is open.
    commits: Vec<Option<u64>>,
    receipts: usize,
    opened: Option<Instant>,
    written: u64,
    /// Of the batch that is open.
    traced: Vec<Traced>,
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
        let commits = vec![None; ports.len()];
        let (hand, pending) = (Hand::Own, None);
        Self {
            log,
            ports,
            marks,
            recorder,
            hand,
            pending,
            known,
            commits,
            receipts: 0,
            opened: None,
            written: 0,
            traced: Vec::new(),
        }
    }

    /// Has another thread write.
    #[must_use]
    pub fn writing_by(mut self, writer: Writer) -> Self {
        self.hand = Hand::Other(writer);
        self
    }

    /// Whether a turn would find something to do.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let was_written = match &self.hand {
            Hand::Own => false,
            Hand::Other(writer) => !writer.written.is_empty(),
        };
        was_written || self.has_room() && self.has_notes()
    }

    fn has_notes(&self) -> bool {
        self.ports.iter().any(|port| !port.notes.is_empty())
    }

    fn has_room(&self) -> bool {
        self.receipts < SCRIBE_BATCH_RECEIPTS_MAX
    }

    /// When the open batch must be closed at the latest; `None` while none is open, or the one before is being written.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.opened.filter(|_| self.pending.is_none()).map(|opened| opened + SCRIBE_BATCH_AGE)
    }

    /// Takes what waits; closes the batch when it is time. Returns whether there was anything to do.
    pub fn turn(&mut self, now: Instant) -> Result<bool, LogError> {
        self.recorder.flush_if_due(now);
        let settled = self.look_at_written()?;
        let took = self.take(now)?;
        if self.pending.is_none() && (!self.has_room() || self.due().is_some_and(|due| now >= due)) {
            self.commit()?;
        }
        Ok(took || settled)
    }

    /// Closes what is open, whatever its age, unless the batch before is still being written.
    pub fn commit(&mut self) -> Result<(), LogError> {
        if self.pending.is_some() {
            return Ok(());
        }
        let pending = Pending {
            commits: self.commits.iter_mut().map(Option::take).collect(),
            receipts: std::mem::take(&mut self.receipts),
            begun: clock::now(),
            traced: std::mem::take(&mut self.traced),
        };
        self.opened = None;
        if pending.receipts == 0 {
            self.publish(&pending);
            return Ok(());
        }
        crate::fault::point("K15");
        crate::fault::stumble("scribe", self.log.size());
        let Some(sealed) = self.log.seal()? else { return Ok(()) };
        match &mut self.hand {
            Hand::Own => {
                sealed.write()?;
                self.settle(sealed, &pending);
            }
            Hand::Other(writer) => {
                let pushed = writer.batches.push(sealed);
                assert!(pushed.is_ok(), "one batch is under way at a time");
                writer.batches.ring();
                self.pending = Some(pending);
            }
        }
        Ok(())
    }

    /// Closes what is open; whether everything is in the log.
    pub fn finish(&mut self) -> Result<bool, LogError> {
        self.look_at_written()?;
        self.commit()?;
        Ok(self.pending.is_none() && !self.has_notes())
    }

    fn look_at_written(&mut self) -> Result<bool, LogError> {
        let Hand::Other(writer) = &mut self.hand else { return Ok(false) };
        let Some(sealed) = writer.written.pop() else { return Ok(false) };
        let sealed = sealed?;
        if let Some(pending) = self.pending.take() {
            self.settle(sealed, &pending);
        }
        Ok(true)
    }

    fn settle(&mut self, sealed: Sealed, pending: &Pending) {
        let committed = self.log.settle(sealed);
        self.recorder.record(Measured::ReceiptSync, clock::now() - pending.begun);
        self.recorder.count(Counter::Receipts, pending.receipts as u64);
        self.written += committed.bytes_written;
        self.marks.size.publish(committed.size);
        self.marks.written.publish(self.written);
        self.marks.checkpoint.publish(clock::millis());
        self.tell(&pending.traced);
        crate::fault::point("K16");
        self.publish(pending);
    }

    /// The receipts of traced signals are durable.
    fn tell(&self, traced: &[Traced]) {
        let Some(tracer) = self.recorder.tracer() else { return };
        let ended = clock::now();
        for Traced { trace, receipt, drafted } in traced {
            let numbers = (receipt.seq.0, receipt.ordinal.into());
            let span = Span::below(*trace, SpanName::Receipt, numbers, (*drafted, ended));
            tracer.tell(span.with("gemba.receipt_id", receipt.to_string()));
        }
    }

    fn publish(&self, pending: &Pending) {
        for (port, commit) in self.ports.iter().zip(&pending.commits) {
            if let Some(commit) = commit {
                port.durable.publish(*commit);
            }
        }
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
                        if crate::fault::planted("rows-by-number") {
                            let newest = self.commits[index].unwrap_or_default().max(port.durable.read());
                            self.commits[index] = Some(newest.max(draft.gist.id.seq.0));
                        }
                        if !self.known.is_empty() && self.known.remove(&draft.gist.id) {
                            continue;
                        }
                        if crate::fault::planted("receipt-lost") && draft.gist.id.seq.0.is_multiple_of(7) {
                            continue;
                        }
                        self.log.append(&draft)?;
                        if let Some(trace) = draft.trace().filter(TraceContext::is_sampled) {
                            self.traced.push(Traced { trace, receipt: draft.gist.id, drafted: clock::now() });
                        }
                        if crate::fault::planted("log-size-ahead") {
                            self.marks.size.publish(self.log.size());
                        }
                        self.receipts += 1;
                    }
                    Note::Commit(number) => self.commits[index] = self.commits[index].max(Some(number)),
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
