//! What a store cannot do, and what is to be done about it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::jidoka::governor::Damage;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: another process has this state open; stop it first")]
    Locked { path: PathBuf },
    #[error("{path}: the newest commits of the state cannot be made durable: {source}")]
    Uncertain { path: PathBuf, source: std::io::Error },
    #[error("{path}: cannot {doing} the state: {source}")]
    Io { path: PathBuf, doing: &'static str, source: std::io::Error },
    #[error(
        "{path}: cannot {doing} the state: {what}; restore it from a backup; while the journal is complete, it can be moved away and is rebuilt"
    )]
    Engine { path: PathBuf, doing: &'static str, what: String },
    #[error("{path}: an earlier write failed, so nothing more is written; restart to recover")]
    Poisoned { path: PathBuf },
    #[error(
        "{path}: governor {key:?} {damage}; restore it from a backup; while the journal is complete, it can be moved away and is rebuilt"
    )]
    Row { path: PathBuf, key: String, damage: Damage },
    #[error(
        "{path}: the {what} is damaged; restore it from a backup; while the journal is complete, it can be moved away and is rebuilt"
    )]
    Meta { path: PathBuf, what: &'static str },
}

/// fjall's errors print its own types; these say what to do.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
pub fn wrapped(path: &Path, doing: &'static str, error: fjall::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
            if is_damage(doing, source.kind()) {
                return StoreError::Engine {
                    path,
                    doing,
                    what: format!("a file in it is damaged ({source})"),
                };
            }
            StoreError::Io { path, doing, source }
        }
        fjall::Error::Locked => StoreError::Locked { path },
        fjall::Error::Poisoned => StoreError::Poisoned { path },
        other => StoreError::Engine { path, doing, what: format!("{other:?}") },
    }
}

/// The engine knows a file that is missing, cut short or no file by the system's error alone.
fn is_damage(doing: &str, kind: ErrorKind) -> bool {
    doing != "write"
        && matches!(
            kind,
            ErrorKind::UnexpectedEof
                | ErrorKind::InvalidData
                | ErrorKind::InvalidInput
                | ErrorKind::NotFound
                | ErrorKind::IsADirectory
                | ErrorKind::NotADirectory
        )
}
