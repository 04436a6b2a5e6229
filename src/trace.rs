//! The trace that a signal belongs to, as W3C Trace Context (level 2) names it: `traceparent` is read strictly and written in
//! version 00. Ids of spans below the first one are derived, so that no stage has to carry them. Pure.

use std::fmt;
use std::num::NonZeroU64;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Of which trace, and after which span. Cheap to copy: a signal has it inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Not all zero.
    id: [u8; 16],
    /// The span that what follows belongs under.
    pub span: SpanId,
    flags: u8,
}

/// The id of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

/// It is recorded, here or by the sender.
const SAMPLED: u8 = 1;
/// The right 7 bytes of the trace's id are random.
const RANDOM: u8 = 2;

/// Bytes of a `traceparent` of version 00.
const TEXT_BYTES: usize = 55;

impl SpanId {
    /// Zero is not an id.
    #[must_use]
    pub fn new(id: u64) -> Option<Self> {
        NonZeroU64::new(id).map(Self)
    }

    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }

    fn derived(of: &[u8]) -> Self {
        Self(NonZeroU64::new(xxh3_64(of)).unwrap_or(NonZeroU64::MIN))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl TraceContext {
    /// Bytes of one that is stored.
    pub const BYTES: usize = 25;

    /// A trace that begins here, of drawn numbers.
    #[must_use]
    pub fn begun(id: u128, span: u64) -> Self {
        // Zero is not an id; it is drawn once in 2^64 times.
        let id = id.max(1).to_be_bytes();
        Self { id, span: SpanId::new(span).unwrap_or(SpanId(NonZeroU64::MIN)), flags: SAMPLED | RANDOM }
    }

    /// The trace of a signal that was not chosen before: the same wherever this node derives it.
    #[must_use]
    pub fn derived(journal: u64, seq: u64) -> Self {
        let mut of = [0; 17];
        of[..8].copy_from_slice(&journal.to_le_bytes());
        of[8..16].copy_from_slice(&seq.to_le_bytes());
        let span = SpanId::derived(&of);
        Self { id: xxh3_128(&of[..16]).max(1).to_be_bytes(), span, flags: SAMPLED }
    }

    /// Reads a `traceparent` (W3C Trace Context level 2, section 3.2). Of a later version, what version 00 has is read.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_first_chunk::<TEXT_BYTES>()?;
        let version = hex::<1>(&head[..2])?[0];
        let ends = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest[0] == b'-',
        };
        if !ends || [2, 35, 52].iter().any(|at| head[*at] != b'-') {
            return None;
        }
        let id = hex::<16>(&head[3..35]).filter(|id| *id != [0; 16])?;
        let span = SpanId::new(u64::from_be_bytes(hex(&head[36..52])?))?;
        let flags = hex::<1>(&head[53..])?[0] & (SAMPLED | RANDOM);
        Some(Self { id, span, flags })
    }

    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    #[must_use]
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether its spans are recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same trace under `span`.
    #[must_use]
    pub fn under(self, span: SpanId) -> Self {
        Self { span, ..self }
    }

    /// The same, not recorded.
    #[must_use]
    pub fn unsampled(self) -> Self {
        Self { flags: self.flags & !SAMPLED, ..self }
    }

    /// The same, recorded.
    #[must_use]
    pub fn sampled(self) -> Self {
        Self { flags: self.flags | SAMPLED, ..self }
    }

    /// The id of a span of this trace: the same for the same name and numbers.
    #[must_use]
    pub fn child(&self, name: u8, number: u64, of: u64) -> SpanId {
        let mut bytes = [0; 41];
        bytes[..16].copy_from_slice(&self.id);
        bytes[16..24].copy_from_slice(&self.span.to_bytes());
        bytes[24..32].copy_from_slice(&number.to_le_bytes());
        bytes[32..40].copy_from_slice(&of.to_le_bytes());
        bytes[40] = name;
        SpanId::derived(&bytes)
    }

    /// As it is stored.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.id);
        bytes[16..24].copy_from_slice(&self.span.to_bytes());
        bytes[24] = self.flags;
        bytes
    }

    /// Reads [`TraceContext::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (span, flags) = rest.split_first_chunk::<8>()?;
        let is_known = flags[0] & !(SAMPLED | RANDOM) == 0;
        let span = SpanId::new(u64::from_be_bytes(*span))?;
        (*id != [0; 16] && is_known).then_some(Self { id: *id, span, flags: flags[0] })
    }
}

/// As a `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{}-{:02x}", u128::from_be_bytes(self.id), self.span, self.flags)
    }
}

/// Lower case only.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    (text.len() == 2 * N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_as_the_specification_says() {
        let parse = |text: &str| TraceContext::parse(text.as_bytes());
        assert_eq!(parse(VALID).unwrap().to_string(), VALID);
        let long = format!("01{}", &VALID[2..]);
        for (text, read) in [
            (VALID.into(), Some(VALID.to_owned())),
            (VALID.replace("-01", "-00"), Some(VALID.replace("-01", "-00"))),
            (VALID.replace("-01", "-03"), Some(VALID.replace("-01", "-03"))),
            // Bits that have no meaning yet are not passed on.
            (VALID.replace("-01", "-ff"), Some(VALID.replace("-01", "-03"))),
            // A later version is read as version 00.
            (long.clone(), Some(VALID.into())),
            (format!("{long}-what-follows"), Some(VALID.into())),
            (format!("{long}what-follows"), None),
            (format!("{VALID}-"), None),
            (format!("ff{}", &VALID[2..]), None),
            (VALID.to_uppercase(), None),
            (VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)), None),
            (VALID.replace("b7ad6b7169203331", &"0".repeat(16)), None),
            (VALID.replace("-b7", "_b7"), None),
            (VALID[..54].into(), None),
            (String::new(), None),
            ("00-0af7-b7ad-01".into(), None),
        ] {
            assert_eq!(parse(&text).map(|context| context.to_string()), read, "{text}");
        }
    }

    #[test]
    fn a_derived_trace_is_the_same_for_the_same_signal_alone() {
        let of = |journal, seq| TraceContext::derived(journal, seq);
        assert_eq!(of(1, 2), of(1, 2));
        assert!(of(1, 2).is_sampled());
        assert_ne!(of(1, 2).id(), of(1, 3).id());
        assert_ne!(of(1, 2).id(), of(2, 2).id());
        assert_ne!(of(1, 2).child(0, 0, 0), of(1, 2).child(1, 0, 0));
        assert_ne!(of(1, 2).child(0, 1, 0), of(1, 2).child(0, 2, 0));
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read_again_and_nothing_else(id: u128, span: u64, wrong: u8) {
            let context = TraceContext::begun(id, span);
            prop_assert_eq!(TraceContext::from_bytes(&context.to_bytes()), Some(context));
            prop_assert_eq!(TraceContext::parse(context.to_string().as_bytes()), Some(context));
            let mut bytes = context.unsampled().to_bytes();
            bytes[24] = wrong;
            prop_assert_eq!(TraceContext::from_bytes(&bytes).is_some(), wrong < 4);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _read = TraceContext::parse(&bytes);
        }
    }
}
