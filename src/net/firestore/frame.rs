//! gRPC's frames (`PROTOCOL-HTTP2.md`): a byte that says whether the message is compressed, its length in four bytes, the
//! message. They know nothing of the frames of HTTP/2, which may end anywhere in them.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::limits::FIRESTORE_REPLY_BYTES_MAX;

const HEAD_BYTES: usize = 5;

/// A message in its frame.
pub(super) fn framed(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(HEAD_BYTES + length);
    frame.put_u8(0);
    // Requests are bounded far below 4 GiB.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // It has room for it.
    let _fits = message.encode(&mut frame);
    frame.freeze()
}

/// Why a stream of frames is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a compressed answer, which was not asked for")]
    Compressed,
    #[error("an answer of more than {FIRESTORE_REPLY_BYTES_MAX} bytes")]
    TooLong,
}

/// Takes messages out of a stream of bytes.
#[derive(Default)]
pub(super) struct Unframer {
    buffer: BytesMut,
    bytes: usize,
}

impl Unframer {
    /// Takes more of the stream, and hands over the messages that it ends.
    pub fn push(&mut self, data: &[u8], messages: &mut Vec<Bytes>) -> Result<(), Malformed> {
        self.bytes += data.len();
        if self.bytes > FIRESTORE_REPLY_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        self.buffer.extend_from_slice(data);
        while let Some((&[compressed, a, b, c, d], rest)) = self.buffer.split_first_chunk::<HEAD_BYTES>() {
            if compressed != 0 {
                return Err(Malformed::Compressed);
            }
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            if length > FIRESTORE_REPLY_BYTES_MAX {
                return Err(Malformed::TooLong);
            }
            if rest.len() < length {
                break;
            }
            self.buffer.advance(HEAD_BYTES);
            messages.push(self.buffer.split_to(length).freeze());
        }
        Ok(())
    }

    /// No message has begun that has not ended.
    pub fn is_between(&self) -> bool {
        self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::wire;
    use super::*;

    #[test]
    fn a_frame_has_its_head() {
        let message = wire::Timestamp { seconds: 1, nanos: 300 };
        assert_eq!(framed(&message)[..], [0, 0, 0, 0, 5, 0x08, 1, 0x10, 0xac, 2]);
    }

    #[test]
    fn what_is_compressed_or_too_long_is_given_up() {
        let mut messages = Vec::new();
        assert_eq!(Unframer::default().push(&[1, 0, 0, 0, 0], &mut messages), Err(Malformed::Compressed));
        assert_eq!(Unframer::default().push(&[0, 1, 0, 0, 1], &mut messages), Err(Malformed::TooLong));
        let mut unframer = Unframer::default();
        let mut much = vec![0; FIRESTORE_REPLY_BYTES_MAX];
        much[1..5].copy_from_slice(&0x00ff_ffff_u32.to_be_bytes());
        assert_eq!(unframer.push(&much, &mut messages), Ok(()));
        assert_eq!(unframer.push(&[0], &mut messages), Err(Malformed::TooLong));
        assert!(!unframer.is_between());
    }

    proptest! {
        #[test]
        fn a_stream_may_be_cut_anywhere(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            cut in 1_usize..12,
        ) {
            let mut stream = Vec::new();
            for message in &sent {
                stream.put_u8(0);
                stream.put_u32(u32::try_from(message.len()).unwrap());
                stream.extend_from_slice(message);
            }
            let mut unframer = Unframer::default();
            let mut messages = Vec::new();
            for piece in stream.chunks(cut) {
                unframer.push(piece, &mut messages).unwrap();
            }
            prop_assert!(unframer.is_between());
            prop_assert_eq!(messages, sent);
        }
    }
}
