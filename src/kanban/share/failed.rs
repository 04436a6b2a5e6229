//! Why something was not done.

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    #[error("the line ends")]
    Ending,
    #[error("the shared state: {0}")]
    Store(String),
    #[error("partition {partition} is decided on by another processor")]
    Elsewhere { partition: u16 },
}
