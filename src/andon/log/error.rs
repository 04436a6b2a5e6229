//! Why the log refuses.

use std::io;
use std::path::{Path, PathBuf};

/// Why the log cannot be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: the last frame cannot be made durable: {source}")]
    Uncertain { path: PathBuf, source: io::Error },
    #[error("{path}:{offset}: the transparency log is damaged: {what}")]
    Damaged { path: PathBuf, offset: u64, what: &'static str },
    #[error(
        "{path} belongs to another log: `node.name` or `node.origin` was changed, or its format is of another version"
    )]
    Foreign { path: PathBuf },
    #[error("{path} was signed with a different key than the configured one")]
    OtherKey { path: PathBuf },
    #[error("{path}: an earlier write failed; restart to recover")]
    Broken { path: PathBuf },
    #[error("{path}: it has format version {version}; this program reads a different one")]
    Version { path: PathBuf, version: u32 },
    #[error("{path}: the transparency log has no entry {log_index}")]
    NoEntry { path: PathBuf, log_index: u64 },
    #[error("the system gives no randomness")]
    Random,
}

impl LogError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
