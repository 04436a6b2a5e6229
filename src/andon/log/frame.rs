//! One batch of receipts as it is stored. Pure.
//!
//! ```text
//! magic u32 | crc u32 | before u32 | length u32 | count u32 | note u32 | first u64 | lowest u64 | highest u64 | key 8 | root 32
//! count × ( length u16 | entry 33 | salt 16 | signature 32 | compact receipt )
//! note
//! ```
//!
//! Little-endian. `first` is the log index of the first entry, `lowest` and `highest` bound the numbers of the events
//! whose receipts are inside, `key` names the HMAC
//! key of the receipts, `root` is the tree's after the batch. The checksum covers that of the frame before. What all framed
//! logs have in common stands in [`crate::framed_log`].

use bytes::BufMut;

use crate::codec::Reader;
use crate::framed_log;
use crate::proof::tree::Hash;
use crate::receipt::canonical;
use crate::receipt::commitment::{ENTRY_BYTES, EntryType};
use crate::receipt::filter::ReceiptTypes;

pub const HEADER_BYTES: usize = 6 * 4 + 4 * 8 + 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub crc: u32,
    pub before: u32,
    /// Bytes behind the header.
    pub length: u32,
    pub count: u32,
    /// Bytes of the signed note at the end.
    pub note: u32,
    pub first: u64,
    pub lowest: u64,
    pub highest: u64,
    pub key: [u8; 8],
    pub root: Hash,
}

impl framed_log::Header for Header {
    const BYTES: usize = HEADER_BYTES;

    fn crc(&self) -> u32 {
        self.crc
    }

    fn length(&self) -> u32 {
        self.length
    }

    fn behind(self, before: u32) -> Self {
        Self { before, ..self }
    }

    fn sealed(self, length: u32, crc: u32) -> Self {
        Self { crc, length, ..self }
    }

    fn write_fields(&self, mut fields: &mut [u8]) {
        for word in [self.before, self.length, self.count, self.note] {
            fields.put_u32_le(word);
        }
        for number in [self.first, self.lowest, self.highest] {
            fields.put_u64_le(number);
        }
        fields.put_slice(&self.key);
        fields.put_slice(&self.root);
    }

    fn read_fields(crc: u32, fields: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            crc,
            before: fields.u32()?,
            length: fields.u32()?,
            count: fields.u32()?,
            note: fields.u32()?,
            first: fields.u64()?,
            lowest: fields.u64()?,
            highest: fields.u64()?,
            key: fields.array()?,
            root: fields.array()?,
        })
    }
}

/// One receipt of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub entry: &'a [u8; ENTRY_BYTES],
    pub salt: &'a [u8; 16],
    pub signature: &'a [u8; 32],
    pub compact: &'a [u8],
}

impl Record<'_> {
    /// Whether it is a receipt, and no entry of the log about itself.
    #[must_use]
    pub fn is_receipt(&self) -> bool {
        self.entry.first() == Some(&(EntryType::Receipt as u8))
    }
}

pub fn push_record(
    out: &mut Vec<u8>,
    entry: &[u8; ENTRY_BYTES],
    salt: &[u8; 16],
    signature: &[u8; 32],
) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(entry);
    out.extend_from_slice(salt);
    out.extend_from_slice(signature);
    at
}

/// Writes the length of the record at `at`, which reaches to the end of `out`.
pub fn close_record(out: &mut [u8], at: usize) {
    let len = u16::try_from(out.len() - at - 2).unwrap_or(u16::MAX);
    out[at..at + 2].copy_from_slice(&len.to_le_bytes());
}

/// The records of a frame's bytes behind its header; stops at the first that is not one.
pub fn records<'a>(header: &Header, mut bytes: &'a [u8]) -> impl Iterator<Item = Record<'a>> {
    let mut left = header.count;
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let (record, rest) = record(bytes)?;
        bytes = rest;
        Some(record)
    })
}

/// The types of the receipts in a frame's bytes behind its header.
#[must_use]
pub fn types(header: &Header, bytes: &[u8]) -> ReceiptTypes {
    let receipts = records(header, bytes).filter(Record::is_receipt);
    ReceiptTypes::of(receipts.filter_map(|record| canonical::kind(record.compact)))
}

/// The record at the beginning of `bytes`, and what follows it.
#[must_use]
pub fn record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let mut all = Reader::new(bytes);
    let length = all.u16()?;
    let mut record = Reader::new(all.bytes(usize::from(length))?);
    let (entry, salt, signature) = (record.chunk()?, record.chunk()?, record.chunk()?);
    Some((Record { entry, salt, signature, compact: record.rest() }, all.rest()))
}

/// The signed note of a frame's bytes behind its header.
#[must_use]
pub fn note<'a>(header: &Header, bytes: &'a [u8]) -> Option<&'a str> {
    let at = bytes.len().checked_sub(header.note as usize)?;
    std::str::from_utf8(bytes.get(at..)?).ok()
}
