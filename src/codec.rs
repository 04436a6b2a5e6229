//! How our formats are read: little-endian numbers, and bytes and texts of a length that is known. Whatever the bytes are,
//! nothing is read beyond their end and nothing is allocated. Pure.

/// Reads from the front. `None` where there is less than is asked for, and then nothing is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub fn chunk<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.chunk().copied()
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// `None` also where the bytes are not UTF-8; then they are taken.
    pub fn text(&mut self, count: usize) -> Option<&'a str> {
        str::from_utf8(self.bytes(count)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_missing_is_not_taken() {
        let mut reader = Reader::new(&[1, 2, 0, 3]);
        assert_eq!((reader.u8(), reader.u32(), reader.rest()), (Some(1), None, &[2, 0, 3][..]));
        assert_eq!((reader.u16(), reader.bytes(2), reader.text(1)), (Some(2), None, Some("\u{3}")));
        assert!(reader.is_empty() && reader.array::<1>().is_none() && reader.bytes(0).is_some());
    }

    proptest! {
        #[test]
        fn numbers_come_back(a: u8, b: u16, c: u32, d: u64, text in ".{0,40}") {
            let mut bytes = vec![a];
            bytes.extend_from_slice(&b.to_le_bytes());
            bytes.extend_from_slice(&c.to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
            bytes.extend_from_slice(&d.to_le_bytes());
            let mut reader = Reader::new(&bytes);
            let read = (reader.u8(), reader.u16(), reader.u32());
            prop_assert_eq!(read, (Some(a), Some(b), Some(c)));
            prop_assert_eq!(reader.text(text.len()), Some(&*text));
            prop_assert_eq!((reader.u64(), reader.u8()), (Some(d), None));
        }
    }
}
