//! How far the broker has confirmed, and where an edge notes it, so that a restart sends little again. The note may lag
//! behind and be lost: then more is sent again, and nothing else happens.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::disk::{self, Disk};
use crate::event::Seq;

/// From where on an edge sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// Everything up to here is confirmed.
    pub through: Seq,
    /// The last signal of each partition up to there; 0 where that is not known.
    pub behind: Vec<Seq>,
}

impl Confirmed {
    /// As for a journal of which nothing is confirmed.
    #[must_use]
    pub fn nothing(partitions: u16) -> Self {
        Self { through: Seq(0), behind: vec![Seq(0); usize::from(partitions)] }
    }

    fn to_text(&self) -> String {
        let behind: Vec<String> = self.behind.iter().map(Seq::to_string).collect();
        format!("{}\n{}\n", self.through, behind.join(" "))
    }

    fn read(text: &str, partitions: u16) -> Option<Self> {
        let (through, behind) = text.strip_suffix('\n')?.split_once('\n')?;
        let through = Seq(through.parse().ok()?);
        let behind: Vec<Seq> =
            behind.split(' ').map(|seq| seq.parse().map(Seq)).collect::<Result<_, _>>().ok()?;
        // Other partitions hold other tenants: nothing is known of what was sent last in them.
        let same = behind.len() == usize::from(partitions);
        Some(Self { through, behind: if same { behind } else { Self::nothing(partitions).behind } })
    }
}

/// The note cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: cannot note what is confirmed: {source}")]
pub struct NoteError {
    path: PathBuf,
    source: std::io::Error,
}

/// The file.
pub struct Note {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    written: Seq,
    last: Option<Instant>,
}

/// It is written so often.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// A longer file is no note: twenty digits and a space for each partition.
const NOTE_BYTES_MAX: usize = 8 * 1024;

impl Note {
    /// Reads what was noted; nothing is confirmed where nothing readable was.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn open(disk: Arc<dyn Disk>, path: &Path, partitions: u16) -> Result<(Self, Confirmed), NoteError> {
        let text = match disk::read(&*disk, path, NOTE_BYTES_MAX) {
            Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(NoteError { path: path.to_owned(), source }),
        };
        let confirmed = Confirmed::read(&text, partitions);
        let confirmed = confirmed.unwrap_or_else(|| Confirmed::nothing(partitions));
        Ok((Self { disk, path: path.to_owned(), written: confirmed.through, last: None }, confirmed))
    }

    /// # Errors
    /// [`NoteError`].
    pub fn write_if_due(&mut self, confirmed: &Confirmed) -> Result<(), NoteError> {
        if self.last.is_some_and(|last| last.elapsed() < NOTE_EVERY) {
            return Ok(());
        }
        self.last = Some(Instant::now());
        self.write(confirmed)
    }

    /// # Errors
    /// [`NoteError`].
    pub fn write(&mut self, confirmed: &Confirmed) -> Result<(), NoteError> {
        if confirmed.through <= self.written {
            return Ok(());
        }
        let wrote = disk::replace(&*self.disk, &self.path, confirmed.to_text().as_bytes());
        wrote.map_err(|source| NoteError { path: self.path.clone(), source })?;
        self.written = confirmed.through;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_note_is_read_back_and_anything_else_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("forwarded");
        let open = |partitions| Note::open(Arc::new(RealDisk), &path, partitions).unwrap();
        assert_eq!(open(2).1, Confirmed::nothing(2));
        let confirmed = Confirmed { through: Seq(9), behind: vec![Seq(9), Seq(4)] };
        open(2).0.write(&confirmed).unwrap();
        assert_eq!(open(2).1, confirmed);
        assert_eq!(open(3).1, Confirmed { through: Seq(9), behind: vec![Seq(0); 3] });
        for text in ["", "9", "9\n", "9\n1 x\n", "-1\n1 2\n", "9\n1 2"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(open(2).1, Confirmed::nothing(2), "{text:?}");
        }
    }
}
