//! Why an audit file is not written.

use std::io;
use std::path::{Path, PathBuf};

use crate::andon::log::LogError;

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the audit file cannot follow the transparency log: {0}")]
    Log(#[from] LogError),
    #[error("{path} does not end with a receipt: it is not an audit file")]
    NotReceipts { path: PathBuf },
    #[error("{path} is the audit file of the log `{found}`, and this node writes `{origin}`")]
    OtherLog { path: PathBuf, found: String, origin: String },
    #[error(
        "{path}: its last receipt, of log index {log_index}, is not the one that the transparency log has there"
    )]
    Differs { path: PathBuf, log_index: u64 },
    #[error("{path} goes through log index {log_index}, and the transparency log has {size} entries")]
    Ahead { path: PathBuf, log_index: u64, size: u64 },
    #[error("{path} has lines that this node has not written: somebody else writes into it")]
    Shared { path: PathBuf },
}

impl AuditError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Whether it passes by itself, as a full disk does.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Log(_) => true,
            Self::NotReceipts { .. }
            | Self::OtherLog { .. }
            | Self::Differs { .. }
            | Self::Ahead { .. }
            | Self::Shared { .. } => false,
        }
    }

    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "make room, or give the directory back: nothing is lost, it goes on by itself",
            Self::Log(_) => "restore `log/` from a backup: the audit file goes on from there",
            Self::NotReceipts { .. } | Self::OtherLog { .. } => {
                "name a different path in `logging.file.path`, or move the file away"
            }
            Self::Differs { .. } | Self::Ahead { .. } => {
                "one of the two was replaced: find out which before you go on. Move the audit file and those that it wrapped to \
                 away and remove `audit-*.position` in the data directory, and a new one begins with what the log has"
            }
            Self::Shared { .. } => "give each node a file of its own",
        }
    }
}
