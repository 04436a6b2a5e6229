//! What channels have sent that is paid for, in a file of the data directory: a restart begins neither a month nor the rate anew. A
//! disk may hang, so a thread of its own writes.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::rate::Sent;
use crate::disk::{self, Disk};
use crate::limits::{CHANNELS_MAX, CHANNELS_SENT_BYTES_MAX, CHANNELS_SENT_WAIT};

struct Write {
    text: Vec<u8>,
    written: oneshot::Sender<Result<(), io::ErrorKind>>,
}

/// Where the file of a data directory is.
#[derive(Clone)]
pub struct SentPath {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl SentPath {
    #[must_use]
    pub fn of(disk: &Arc<dyn Disk>, data_dir: &Path) -> Self {
        Self { disk: Arc::clone(disk), path: data_dir.join("channels-sent") }
    }
}

/// See above.
pub struct SentFile {
    place: SentPath,
    all: RefCell<BTreeMap<Box<str>, Sent>>,
    thread: OnceCell<mpsc::Sender<Write>>,
    is_failing: Cell<bool>,
}

impl SentFile {
    /// As the last process left it. What cannot be read says nothing.
    #[must_use]
    pub fn read(place: SentPath) -> Self {
        let text = disk::read(&*place.disk, &place.path, CHANNELS_SENT_BYTES_MAX);
        let all = match text.map(|text| serde_json::from_slice(&text)) {
            Ok(Ok(all)) => all,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(
                    target: "gemba::andon",
                    path = %place.path.display(),
                    "what channels have sent cannot be read: their month and their rate begin anew"
                );
                BTreeMap::new()
            }
        };
        let (all, thread) = (RefCell::new(all), OnceCell::new());
        Self { place, all, thread, is_failing: Cell::new(false) }
    }

    /// What a channel has sent.
    #[must_use]
    pub fn of(&self, channel: &str) -> Option<Sent> {
        self.all.borrow().get(channel).cloned()
    }

    /// Keeps what a channel has sent; returns when it is written, or is not.
    pub async fn keep(&self, channel: &str, sent: Sent) {
        let text = {
            let mut all = self.all.borrow_mut();
            let month = sent.month;
            all.insert(channel.into(), sent);
            // Those of channels that are not any more.
            if all.len() > CHANNELS_MAX {
                all.retain(|_, sent| sent.month == month);
            }
            serde_json::to_vec(&*all).unwrap_or_default()
        };
        let (written, answer) = oneshot::channel();
        let handed = self.thread().try_send(Write { text, written });
        let result = match handed {
            Ok(()) => timeout(CHANNELS_SENT_WAIT, answer).await,
            Err(_) => Ok(Ok(Err(io::ErrorKind::WouldBlock))),
        };
        let failed = match result {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(kind))) => Some(kind),
            Ok(Err(_)) | Err(_) => Some(io::ErrorKind::TimedOut),
        };
        if let Some(reason) = failed
            && !self.is_failing.get()
        {
            tracing::warn!(
                target: "gemba::andon",
                path = %self.place.path.display(),
                %reason,
                "what channels have sent is not written: after a restart it is not counted"
            );
        }
        self.is_failing.set(failed.is_some());
    }

    /// The thread that writes, which ends with this. Without one nothing is written, and that is told.
    fn thread(&self) -> &mpsc::Sender<Write> {
        self.thread.get_or_init(|| {
            let (writes, mut taken) = mpsc::channel::<Write>(CHANNELS_MAX);
            let SentPath { disk, path } = self.place.clone();
            let thread = std::thread::Builder::new().name("channels-sent".into());
            let _detached = thread.spawn(move || {
                while let Some(Write { text, written }) = taken.blocking_recv() {
                    let result = disk::replace(&*disk, &path, &text).map_err(|error| error.kind());
                    let _nobody_waits = written.send(result);
                }
            });
            writes
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn the_next_process_knows_what_was_sent() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let file = SentFile::read(SentPath::of(&disk, dir.path()));
        assert_eq!(file.of("sms"), None);
        let sent = |month, messages| Sent { month, messages, calls_ms: vec![1, 2] };
        runtime.block_on(async {
            file.keep("sms", sent(7, 1)).await;
            file.keep("sms", sent(7, 2)).await;
            file.keep("other", sent(6, 3)).await;
        });
        let file = SentFile::read(SentPath::of(&disk, dir.path()));
        assert_eq!((file.of("sms"), file.of("other")), (Some(sent(7, 2)), Some(sent(6, 3))));
        runtime.block_on(async {
            for number in 0..2 * CHANNELS_MAX {
                file.keep(&format!("{number}"), sent(u32::try_from(number).unwrap(), 1)).await;
                assert!(file.all.borrow().len() <= CHANNELS_MAX + 1);
            }
        });
        std::fs::write(dir.path().join("channels-sent"), "nonsense").unwrap();
        assert_eq!(SentFile::read(SentPath::of(&disk, dir.path())).of("sms"), None);
        // A directory that is gone keeps no message from being sent.
        drop(dir);
        runtime.block_on(file.keep("sms", sent(8, 1)));
        assert!(file.is_failing.get());
    }
}
