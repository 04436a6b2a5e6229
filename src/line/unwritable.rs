//! Why the last process of this node ended, where it could not write the journal, the transparency log or the state store. Then the process ends at
//! once, since restart is recovery, and can tell nobody; the next one does. The note is written beside what failed, so a disk that takes
//! nothing at all leaves none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::ServeError;
use crate::alert::CauseKind;
use crate::clock;
use crate::disk::{self, Disk};
use crate::event::Words;

/// What a process left behind that could not write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unwritable {
    pub what: UnwritablePart,
    /// Milliseconds since 1970, by the wall clock.
    pub at_ms: u64,
    /// In words.
    pub reason: String,
}

/// What could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnwritablePart {
    Journal,
    Log,
    State,
}

impl UnwritablePart {
    #[must_use]
    pub fn cause(self) -> CauseKind {
        match self {
            Self::Journal => CauseKind::JournalUnwritable,
            Self::Log => CauseKind::LogUnwritable,
            Self::State => CauseKind::StoreUnwritable,
        }
    }
}

/// A note is a line of text.
const NOTE_BYTES_MAX: usize = 8 * 1024;

/// Where the note of a data directory is.
#[derive(Clone)]
pub struct UnwritableNote {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl std::fmt::Debug for UnwritableNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnwritableNote").field("path", &self.path).finish_non_exhaustive()
    }
}

impl UnwritableNote {
    #[must_use]
    pub fn of(disk: &Arc<dyn Disk>, data_dir: &Path) -> Self {
        Self { disk: Arc::clone(disk), path: data_dir.join("unwritable") }
    }

    /// Leaves a note, if it is journal, log or store that stopped the line. One that cannot be written is none.
    pub fn leave(&self, error: &ServeError) {
        let what = match error {
            ServeError::Journal(_) => UnwritablePart::Journal,
            ServeError::Log(_) => UnwritablePart::Log,
            ServeError::Store(_) => UnwritablePart::State,
            ServeError::DataDir { .. }
            | ServeError::Role { .. }
            | ServeError::Descriptors(_)
            | ServeError::Clock
            | ServeError::BeginsNow { .. }
            | ServeError::Odd { .. }
            | ServeError::Listen(_)
            | ServeError::Signer(_)
            | ServeError::Recovery(_)
            | ServeError::Audit(_)
            | ServeError::Publisher(_)
            | ServeError::Sharing(_)
            | ServeError::Shared(_)
            | ServeError::Stage { .. }
            | ServeError::Panicked { .. }
            | ServeError::Ended { .. }
            | ServeError::ToldToEnd
            | ServeError::Illegal(_)
            | ServeError::Histograms
            | ServeError::TooOften { .. } => return,
        };
        let reason = Words::from(error.to_string());
        let note = Unwritable { what, at_ms: clock::wall().0, reason: (*reason).to_owned() };
        if let Ok(text) = serde_json::to_vec(&note) {
            let _not_left = disk::replace(&*self.disk, &self.path, &text);
        }
    }

    /// What was left; what cannot be read says nothing.
    #[must_use]
    pub fn read(&self) -> Option<Unwritable> {
        let text = disk::read(&*self.disk, &self.path, NOTE_BYTES_MAX).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The node writes again. A note that cannot be removed is read again at the next start.
    pub fn remove(&self) {
        let _left = self.disk.remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use crate::jidoka::store::StoreError;
    use crate::kanban::stage::Fatal;

    #[test]
    fn the_next_process_knows_what_could_not_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let note = UnwritableNote::of(&disk, dir.path());
        assert_eq!(note.read(), None);
        note.leave(&ServeError::Histograms);
        assert_eq!(note.read(), None, "neither journal nor log nor store");
        let source = std::io::Error::other("no space");
        let full = Fatal::Space { path: "journal".into(), source };
        note.leave(&ServeError::Journal(full));
        let left = note.read().unwrap();
        assert_eq!((left.what, left.what.cause()), (UnwritablePart::Journal, CauseKind::JournalUnwritable));
        let source = std::io::Error::other("no space");
        note.leave(&ServeError::Store(StoreError::Io { path: "state".into(), doing: "write", source }));
        let left = note.read().unwrap();
        assert_eq!((left.what, left.what.cause()), (UnwritablePart::State, CauseKind::StoreUnwritable));
        assert!(left.reason.contains("no space"), "{left:?}");
        note.remove();
        assert_eq!(note.read(), None);
        std::fs::write(dir.path().join("unwritable"), "nonsense").unwrap();
        assert_eq!(note.read(), None);
    }
}
