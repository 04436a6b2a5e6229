//! Frames that were asked for lately, with their receipts in the order of events: a frame holds up to tens of thousands
//! of receipts, and who asks for one of them usually asks for its neighbours next.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::frame::{self, Record};
use crate::event::Seq;
use crate::receipt::canonical;

/// Frames kept, in bytes; the newest is kept whatever its size.
const KEPT_BYTES: usize = 32 << 20;

/// One frame, read and checked.
#[derive(Debug)]
pub struct Held {
    pub header: frame::Header,
    /// Behind the header.
    body: Vec<u8>,
    /// Event, place in `body`, place among the records; sorted.
    receipts: Vec<(u64, u32, u32)>,
}

impl Held {
    /// `bytes` is a whole frame.
    #[must_use]
    pub fn new(header: frame::Header, bytes: &[u8]) -> Self {
        let body = bytes.get(frame::HEADER_BYTES..).unwrap_or_default().to_vec();
        let mut receipts = Vec::with_capacity(header.count as usize);
        let mut rest = body.as_slice();
        for index in 0..header.count {
            let at = body.len() - rest.len();
            let Some((record, behind)) = frame::record(rest) else { break };
            if let (Some(fields), Ok(at)) = (canonical::load(record.compact), u32::try_from(at)) {
                receipts.push((fields.gist.id.seq.0, at, index));
            }
            rest = behind;
        }
        receipts.sort_unstable();
        Self { header, body, receipts }
    }

    /// The records of the receipts that `seq` caused, in the order of the log, each with its place among the records.
    pub fn of(&self, seq: Seq) -> impl Iterator<Item = (u64, Record<'_>)> {
        let from = self.receipts.partition_point(|(event, _, _)| *event < seq.0);
        let found = self.receipts.iter().skip(from).take_while(move |(event, _, _)| *event == seq.0);
        found.filter_map(|(_, at, index)| {
            let (record, _) = frame::record(self.body.get(*at as usize..)?)?;
            Some((u64::from(*index), record))
        })
    }
}

/// The frames, by segment and offset, the newest last.
#[derive(Debug, Default)]
pub struct Recent(Mutex<VecDeque<(u64, u64, Arc<Held>)>>);

impl Recent {
    #[must_use]
    pub fn find(&self, segment: u64, offset: u64) -> Option<Arc<Held>> {
        let frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = frames.iter().rev().find(|(of, at, _)| (*of, *at) == (segment, offset));
        found.map(|(_, _, held)| Arc::clone(held))
    }

    pub fn keep(&self, segment: u64, offset: u64, held: Arc<Held>) {
        let mut frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frames.push_back((segment, offset, held));
        let bytes = |held: &Held| held.body.len() + held.receipts.len() * size_of::<(u64, u32, u32)>();
        let mut kept: usize = frames.iter().map(|(_, _, held)| bytes(held)).sum();
        while kept > KEPT_BYTES && frames.len() > 1 {
            kept -= frames.pop_front().map_or(0, |(_, _, held)| bytes(&held));
        }
    }
}
