//! One event, read back while the journal is written and given back. It takes nothing from the writer: a segment that becomes
//! a spare meanwhile, or another segment, holds no frame of this place any more, and so the event counts as gone.

use std::path::Path;
use std::sync::Arc;

use super::record::Decoder;
use super::scan::{self, Damage};
use super::tail::Tail;
use crate::disk::Disk;
use crate::event::{Kind, Seq};
use crate::framed_log::Header as _;

/// The event `seq`, where the journal has it still; all through `durable` is durable. It reads one segment at most.
///
/// # Errors
/// [`Damage`]: it should be there, and cannot be read.
pub fn event(disk: &Arc<dyn Disk>, dir: &Path, seq: Seq, durable: Seq) -> Result<Option<Kind>, Damage> {
    // Its segment may have been given back between two looks at the directory.
    look(disk, dir, seq, durable).or_else(|_| look(disk, dir, seq, durable))
}

fn look(disk: &Arc<dyn Disk>, dir: &Path, seq: Seq, durable: Seq) -> Result<Option<Kind>, Damage> {
    let oldest = scan::segments(&**disk, dir)?.into_iter().next();
    if seq > durable || oldest.is_none_or(|oldest| oldest.first > seq) {
        return Ok(None);
    }
    let mut tail = Tail::open(Arc::clone(disk), dir, Seq(seq.0.saturating_sub(1)))?;
    while let Some((header, records)) = tail.next(durable)? {
        if header.first > seq {
            break;
        }
        if header.last() < seq {
            continue;
        }
        let (path, end) = tail.place();
        let offset = end - header.frame_bytes() as u64;
        let unreadable = |why| Damage::Record { path: path.to_owned(), offset, why };
        let mut decoder = Decoder::new(records);
        let mut at = header.first;
        while let Some(kind) = decoder.next_kind().map_err(unreadable)? {
            if at == seq {
                return Ok(Some(kind));
            }
            at = at.next();
        }
        break;
    }
    Ok(None)
}
