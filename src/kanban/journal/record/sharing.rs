//! Records of a node that shares the state of partitions with others.

use super::{ADOPT, Decoder, Encoder, HOLD, SHARED, Unreadable, subject};
use crate::event::Seq;
use crate::limits::{FRAME_BYTES_SOFT, PARTITIONS_MAX};
use crate::sharing::{Adopt, Hold, Shared};

impl Encoder {
    pub fn hold(&mut self, out: &mut Vec<u8>, hold: Hold) {
        out.push(HOLD);
        out.extend_from_slice(&hold.partition.to_le_bytes());
        out.extend_from_slice(&hold.term.to_le_bytes());
    }

    pub fn adopt(&mut self, out: &mut Vec<u8>, adopt: &Adopt) {
        out.push(ADOPT);
        subject(out, &adopt.subject);
        out.extend_from_slice(&u32::try_from(adopt.row.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&adopt.row);
    }

    pub fn shared(&mut self, out: &mut Vec<u8>, shared: &Shared) {
        out.push(SHARED);
        out.extend_from_slice(&shared.through.0.to_le_bytes());
        out.extend_from_slice(&u16::try_from(shared.lost.len()).unwrap_or(u16::MAX).to_le_bytes());
        for partition in &shared.lost {
            out.extend_from_slice(&partition.to_le_bytes());
        }
    }
}

impl Decoder {
    pub(super) fn hold(&mut self) -> Result<Hold, Unreadable> {
        let partition = self.array().map(u16::from_le_bytes)?;
        Ok(Hold { partition, term: self.number()? })
    }

    pub(super) fn adopt(&mut self) -> Result<Adopt, Unreadable> {
        let subject = self.subject()?;
        let len = self.word()? as usize;
        if len > FRAME_BYTES_SOFT {
            return Err(Unreadable);
        }
        let end = self.at.checked_add(len).filter(|end| *end <= self.payload.len()).ok_or(Unreadable)?;
        let row = self.payload.slice(self.at..end);
        self.at = end;
        Ok(Adopt { subject, row })
    }

    pub(super) fn shared(&mut self) -> Result<Shared, Unreadable> {
        let through = Seq(self.number()?);
        let count = self.array().map(u16::from_le_bytes)?;
        if count > PARTITIONS_MAX {
            return Err(Unreadable);
        }
        let lost = (0..count).map(|_| self.array().map(u16::from_le_bytes)).collect::<Result<_, _>>()?;
        Ok(Shared { through, lost })
    }
}
