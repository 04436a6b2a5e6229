//! Why a line could not start, or ended, and what helps.

use std::io;
use std::path::PathBuf;

use super::recovery::RecoveryError;
use super::supervisor::RESTARTS_MAX;
use crate::andon::audit::AuditError;
use crate::andon::log::LogError;
use crate::descriptors::{self, TooFew};
use crate::event::{Seq, UnixMillis};
use crate::jidoka::store::StoreError;
use crate::kanban::broker::publisher;
use crate::kanban::journal::scan::UNCERTAIN;
use crate::kanban::share::Failed;
use crate::kanban::stage::Fatal;
use crate::net::listen::ListenError;
use crate::place::ConfigError;
use crate::proof::note::BadSigner;
use crate::signal::Illegal;

/// Why the line could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{path}: {source}")]
    DataDir { path: PathBuf, source: io::Error },
    #[error("{path} holds what a node with the role `{held}` has left; this one has the role `{role}`")]
    Role { path: PathBuf, held: String, role: &'static str },
    #[error(transparent)]
    Descriptors(#[from] TooFew),
    #[error("the wall clock says a time before 1970 or after 9999")]
    Clock,
    #[error(
        "{path}: no journal is begun while the wall clock says {} ms since 1970, which is before 2024 or after 2043: its time never goes back",
        wall.0
    )]
    BeginsNow { path: PathBuf, wall: UnixMillis },
    #[error("{path} is {what}, and must be a directory of its own")]
    Odd { path: PathBuf, what: String },
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Signer(#[from] BadSigner),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error("the journal stopped: {0}")]
    Journal(#[from] Fatal),
    #[error("the transparency log stopped: {0}")]
    Log(#[from] LogError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("the state store stopped: {0}")]
    Store(#[from] StoreError),
    #[error("the publisher stopped: {0}")]
    Publisher(#[from] publisher::Fatal),
    #[error(transparent)]
    Sharing(ConfigError),
    #[error("the state cannot be shared any more: {0}")]
    Shared(Failed),
    #[error("{stage} could not run: {source}")]
    Stage { stage: String, source: io::Error },
    #[error("{stage} panicked{}", at.map_or_else(String::new, |seq| format!(" at event {seq}")))]
    Panicked { stage: String, at: Option<Seq> },
    #[error("{stage} ended before it was told to")]
    Ended { stage: String },
    /// Not an error: the start was given up because the system asked for it.
    #[error("ended while starting")]
    ToldToEnd,
    #[error("a value of the configuration cannot be journalled: {0}")]
    Illegal(#[from] Illegal),
    #[error("the histograms cannot be made")]
    Histograms,
    #[error("{stage} panicked after {RESTARTS_MAX} restarts within a minute")]
    TooOften { stage: String },
}

/// What helps where a log's key is gone.
pub const LOG_KEY: &str = "restore the log's signing key from a backup: nothing else can continue this log, and a new one begins with a new \
                           `node.data_dir`";

impl ServeError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Recovery(RecoveryError::Journal(damage)) => damage.hint(),
            Self::Recovery(
                RecoveryError::Log(LogError::Uncertain { .. })
                | RecoveryError::Store(StoreError::Uncertain { .. }),
            ) => Some(UNCERTAIN),
            Self::Recovery(RecoveryError::Archive(error)) | Self::Journal(Fatal::Archive(error)) => {
                error.hint()
            }
            Self::Role { .. } => {
                Some("give each role a data directory of its own; an edge drains before it is given up")
            }
            Self::Descriptors(_) => Some(
                "raise the hard limit: `ulimit -Hn` in the shell that starts it, `LimitNOFILE=` in a systemd unit, \
                 `--ulimit nofile=` for a container",
            ),
            Self::Store(StoreError::Io { source, .. }) if descriptors::are_exhausted(source) => Some(
                "the disk is well: the process or the system ran out of file descriptors; raise RLIMIT_NOFILE",
            ),
            Self::Recovery(RecoveryError::LogShort { .. }) => Some(
                "restore log/ as it was: nothing else has its receipts, and a new log under the same name would contradict it",
            ),
            Self::Recovery(RecoveryError::Log(LogError::OtherKey { .. })) => Some(LOG_KEY),
            Self::BeginsNow { .. } => Some("set the clock of the machine, and start again"),
            Self::Audit(error) => Some(error.hint()),
            Self::Odd { .. } => Some(
                "move it away and start again, after putting back what it stands for; to keep data on another disk, mount that, or \
                 set `node.data_dir`: what a link leads to is neither locked nor closed to others",
            ),
            Self::Clock => Some("set the clock of the machine"),
            Self::Listen(ListenError { source, .. }) if source.kind() == io::ErrorKind::AddrNotAvailable => {
                Some("no interface of this machine has this address")
            }
            Self::Listen(_) => Some("another process may listen there; choose another address"),
            Self::TooOften { .. } => {
                Some("everything accepted is in the journal; the panics are on standard error")
            }
            Self::DataDir { .. }
            | Self::Signer(_)
            | Self::Recovery(_)
            | Self::Journal(_)
            | Self::Log(_)
            | Self::Store(_)
            | Self::Publisher(_)
            | Self::Sharing(_)
            | Self::Shared(_)
            | Self::Stage { .. }
            | Self::Panicked { .. }
            | Self::Ended { .. }
            | Self::ToldToEnd
            | Self::Illegal(_)
            | Self::Histograms => None,
        }
    }
}
