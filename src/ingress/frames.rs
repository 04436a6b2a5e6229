//! What of an HTTP/2 connection has come in part: half a frame, or a header block whose end is missing. Reads along with
//! the `h2` crate, which keeps such parts without a word and without end. Pure, and holds nothing.

use crate::limits;

/// Frame types and a flag (RFC 9113, section 6).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const HEAD_BYTES: usize = 9;
const PREFACE_BYTES: usize = 24;
/// A longer frame ends the connection before anything of it is kept.
const FRAME_BYTES_MAX: usize = HEAD_BYTES + limits::H2_FRAME_BYTES as usize;

/// What the fields of an open header block take once they are read, about: each is an allocation of its own.
const FIELDS_BYTES: usize = 2 * limits::HEADER_BYTES_MAX as usize;

/// Follows the frames of one connection, from its preface on.
#[derive(Debug)]
pub struct FrameTracker {
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that have come; all of them while a payload comes.
    head_came: usize,
    /// Bytes of the payload, or of the preface, that are to come.
    left: usize,
    /// Bytes of earlier frames of an open header block.
    block: usize,
}

/// What has come in part after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialFrame {
    /// Bytes that are held for it: what its frame declares, since room is made for all of it.
    pub bytes: usize,
    /// It began in this read.
    pub is_new: bool,
}

impl Default for FrameTracker {
    fn default() -> Self {
        // The preface stands where the payload of an ordinary frame would.
        Self { head: [0; HEAD_BYTES], head_came: HEAD_BYTES, left: PREFACE_BYTES, block: 0 }
    }
}

impl FrameTracker {
    /// Reads on; what has come in part then.
    pub fn read(&mut self, mut bytes: &[u8]) -> Option<PartialFrame> {
        let mut is_new = self.part() == 0;
        while !bytes.is_empty() {
            if self.head_came < HEAD_BYTES {
                let part = bytes.len().min(HEAD_BYTES - self.head_came);
                self.head[self.head_came..][..part].copy_from_slice(&bytes[..part]);
                self.head_came += part;
                bytes = &bytes[part..];
                if self.head_came == HEAD_BYTES {
                    self.left = self.payload();
                }
            }
            if self.head_came == HEAD_BYTES {
                let part = bytes.len().min(self.left);
                self.left -= part;
                bytes = &bytes[part..];
                if self.left == 0 {
                    self.end_frame();
                    is_new |= self.block == 0;
                }
            }
        }
        let bytes = self.part();
        (bytes > 0).then_some(PartialFrame { bytes, is_new })
    }

    /// Bytes of the frame's payload.
    fn payload(&self) -> usize {
        let [high, middle, low, ..] = self.head;
        u32::from_be_bytes([0, high, middle, low]) as usize
    }

    fn end_frame(&mut self) {
        let [_, _, _, kind, flags, ..] = self.head;
        let is_block = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS == 0;
        self.block = if is_block { self.block + HEAD_BYTES + self.payload() } else { 0 };
        self.head_came = 0;
    }

    fn part(&self) -> usize {
        let frame = if self.head_came == HEAD_BYTES { HEAD_BYTES + self.payload() } else { self.head_came };
        let fields = if self.block == 0 { 0 } else { self.block + FIELDS_BYTES };
        fields + frame.min(FRAME_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(payload).unwrap().to_be_bytes();
        [vec![high, middle, low, kind, flags, 0, 0, 0, 1], vec![7; payload]].concat()
    }

    fn part(bytes: usize, is_new: bool) -> PartialFrame {
        PartialFrame { bytes, is_new }
    }

    #[test]
    fn half_a_frame_holds_what_it_declares_and_an_open_block_all_of_its_frames() {
        let mut frames = FrameTracker::default();
        assert_eq!(frames.read(&PREFACE[..10]), Some(part(9, false)), "the preface is waited for, too");
        assert_eq!(frames.read(&PREFACE[10..]), None);
        assert_eq!(frames.read(&frame(4, 0, 6)), None);
        let data = frame(0, 0, 16_000);
        assert_eq!(frames.read(&data[..4]), Some(part(4, true)));
        assert_eq!(frames.read(&data[4..9]), Some(part(16_009, false)));
        assert_eq!(frames.read(&data[9..100]), Some(part(16_009, false)));
        assert_eq!(frames.read(&[&data[100..], &data[..1]].concat()), Some(part(1, true)), "another frame");
        assert_eq!(frames.read(&data[1..]), None);
        assert_eq!(frames.read(&frame(HEADERS, 0, 100)), Some(part(FIELDS_BYTES + 109, true)));
        assert_eq!(
            frames.read(&frame(CONTINUATION, 0, 0)),
            Some(part(FIELDS_BYTES + 118, false)),
            "the same block"
        );
        assert_eq!(frames.read(&frame(CONTINUATION, END_HEADERS, 50)), None);
        assert_eq!(frames.read(&frame(HEADERS, END_HEADERS | 1, 20)), None);
    }

    proptest! {
        /// However the bytes are cut into reads, what is held in the end is the same.
        #[test]
        fn cuts_change_nothing(
            kinds in prop::collection::vec((0u8..11, 0u8..8, 0usize..300), 0..20),
            end in 0usize..2000,
            cuts in prop::collection::vec(1usize..50, 1..20),
        ) {
            let mut bytes = PREFACE.to_vec();
            for (kind, flags, payload) in kinds {
                bytes.extend(frame(kind, flags, payload));
            }
            bytes.truncate(bytes.len().saturating_sub(end).max(1));
            let (mut whole, mut cut) = (FrameTracker::default(), FrameTracker::default());
            let expected = whole.read(&bytes).map(|part| part.bytes);
            let (mut left, mut held) = (bytes.as_slice(), None);
            for size in cuts.iter().cycle() {
                let (now, then) = left.split_at((*size).min(left.len()));
                held = cut.read(now).map(|part| part.bytes);
                left = then;
                if left.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(held, expected);
        }
    }
}
