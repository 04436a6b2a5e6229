//! Whether a run may hold an identity, from one line of the processor's cache: a blocked Bloom filter.
//!
//! 16 bits an identity; of the 512 bits of its line each identity sets eight, one in each word. Of the identities that a run
//! does not hold, about one in a thousand passes (measured in the tests) and costs the read of one page. The line is found by the key's
//! first half, so a run, which is sorted, fills the lines from the first to the last.

/// Two bytes an identity.
const IDENTITIES_PER_LINE: u64 = 32;
pub(super) const LINE_BYTES: usize = 64;

/// Aligned, so that a question touches one line of the cache and not two.
#[repr(align(64))]
#[derive(Clone, Copy, Debug)]
struct Line([u64; 8]);

const _: () = assert!(size_of::<Line>() == LINE_BYTES);

#[derive(Debug)]
pub(super) struct Filter {
    lines: Vec<Line>,
}

/// Lines of a filter for so many identities.
pub(super) fn lines_for(identities: u64) -> u64 {
    identities.div_ceil(IDENTITIES_PER_LINE).max(1)
}

/// What is asked of every filter: where its line is, and one bit of each word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    place: u64,
    bits: Line,
}

impl Question {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the key's two halves")]
    pub(super) fn new(key: u128) -> Self {
        let low = key as u64;
        let bits = Line(std::array::from_fn(|word| 1 << (low >> (6 * word) & 63)));
        Self { place: (key >> 64) as u64, bits }
    }
}

impl Filter {
    pub(super) fn new(lines: usize) -> Self {
        assert!(lines > 0, "a run is not empty");
        Self { lines: vec![Line([0; 8]); lines] }
    }

    pub(super) fn insert(&mut self, key: u128) {
        let question = Question::new(key);
        let at = self.line(&question);
        for (word, bit) in self.lines[at].0.iter_mut().zip(question.bits.0) {
            *word |= bit;
        }
    }

    /// Never false for what was inserted. Without branches: the questions to all runs are under way at once.
    #[inline]
    pub(super) fn may_hold(&self, question: &Question) -> bool {
        let line = &self.lines[self.line(question)].0;
        let missing = line.iter().zip(question.bits.0).fold(0, |missing, (word, bit)| missing | bit & !word);
        missing == 0
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn write_line(&self, at: usize, out: &mut Vec<u8>) {
        out.extend(self.lines[at].0.iter().flat_map(|word| word.to_le_bytes()));
    }

    pub(super) fn read_line(&mut self, at: usize, bytes: &[u8; LINE_BYTES]) {
        let (words, _) = bytes.as_chunks();
        for (word, bytes) in self.lines[at].0.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a product of two 64-bit numbers, shifted by 64")]
    fn line(&self, question: &Question) -> usize {
        ((u128::from(question.place) * self.lines.len() as u128) >> 64) as usize
    }
}
