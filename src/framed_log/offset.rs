//! Places in a framed log.

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameOffset {
    pub segment: u64,
    pub offset: u64,
}

impl FrameOffset {
    #[must_use]
    pub const fn plus(self, bytes: usize) -> Self {
        Self { offset: self.offset + bytes as u64, ..self }
    }
}
