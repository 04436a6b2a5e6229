//! Records of a node that shares the state of partitions with others.

use super::{Decoder, Encoder, RecordKind, Unreadable, bytes, subject};
use crate::event::Seq;
use crate::limits::{ADOPTED_BYTES_MAX, PARTITIONS_MAX};
use crate::sharing::{Adopt, Hold, Shared, partition_number};

impl Encoder {
    pub fn hold(&mut self, out: &mut Vec<u8>, hold: Hold) {
        out.push(RecordKind::Hold as u8);
        out.extend_from_slice(&hold.partition.to_le_bytes());
        out.extend_from_slice(&hold.term.to_le_bytes());
    }

    pub fn adopt(&mut self, out: &mut Vec<u8>, adopt: &Adopt) {
        out.push(RecordKind::Adopt as u8);
        subject(out, &adopt.subject);
        bytes(out, adopt.row());
    }

    pub fn shared(&mut self, out: &mut Vec<u8>, shared: &Shared) {
        out.push(RecordKind::Shared as u8);
        out.extend_from_slice(&shared.through.0.to_le_bytes());
        let lost =
            u16::try_from(shared.lost.len()).unwrap_or_else(|_| unreachable!("there are fewer partitions"));
        out.extend_from_slice(&lost.to_le_bytes());
        for partition in &shared.lost {
            out.extend_from_slice(&partition.to_le_bytes());
        }
    }
}

impl Decoder {
    pub(super) fn hold(&mut self) -> Result<Hold, Unreadable> {
        let partition = self.partition()?;
        Ok(Hold { partition, term: self.number()? })
    }

    pub(super) fn adopt(&mut self) -> Result<Adopt, Unreadable> {
        let subject = self.subject()?;
        let row = self.shared_bytes("row", ADOPTED_BYTES_MAX)?;
        Ok(Adopt::new(subject, row)?)
    }

    pub(super) fn shared(&mut self) -> Result<Shared, Unreadable> {
        let through = Seq(self.number()?);
        let count = self.array().map(u16::from_le_bytes)?;
        if count > PARTITIONS_MAX {
            return Err(Unreadable::Unknown);
        }
        let lost = (0..count).map(|_| self.partition()).collect::<Result<_, _>>()?;
        Ok(Shared { through, lost })
    }

    pub(super) fn partition(&mut self) -> Result<u16, Unreadable> {
        Ok(partition_number(self.array().map(u16::from_le_bytes)?)?)
    }
}
