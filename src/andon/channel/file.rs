//! `file`: one JSON object a line, appended to a file. It is opened for each line, so one that was moved away is left alone. A disk
//! may hang, so a thread of its own writes.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::alertmanager::{annotations, labels};
use super::delivery::{Deliver, Delivered, Delivering, Delivery};
use super::meter::CallMeter;
use super::text::{link, plain, time, title, unlisted};
use crate::alert::Notice;
use crate::disk::open_lines;
use crate::limits::CHANNEL_FILE_LINES_MAX;
use crate::net::retry::Miss;

/// A file that notifications are appended to.
#[derive(Clone, Debug)]
pub struct AlertFile {
    pub path: PathBuf,
}

struct Line {
    text: Vec<u8>,
    written: oneshot::Sender<Result<(), Miss>>,
}

/// Hands lines to the thread that writes them, which ends with it.
pub struct FileChannel {
    lines: mpsc::Sender<Line>,
    board: Option<Box<str>>,
}

impl FileChannel {
    pub fn new(configured: &AlertFile, board: Option<Box<str>>) -> Self {
        let (lines, mut taken) = mpsc::channel::<Line>(CHANNEL_FILE_LINES_MAX);
        let path = configured.path.clone();
        let thread = std::thread::Builder::new().name("alert-file".into());
        // Without a thread nobody takes the lines: every try fails and says so.
        let _detached = thread.spawn(move || {
            while let Some(line) = taken.blocking_recv() {
                // A try that was given up comes again; its line must not be there twice.
                if !line.written.is_closed() {
                    let _given_up = line.written.send(append(&path, &line.text));
                }
            }
        });
        Self { lines, board }
    }
}

fn append(path: &Path, line: &[u8]) -> Result<(), Miss> {
    let why = |error: io::Error| format!("its file cannot be written: {}", error.kind());
    let (mut file, found) = open_lines(path, true).map_err(|error| Miss::unsent(why(error)))?;
    let written = file.write_all(line).and_then(|()| file.sync_data());
    if written.is_err() {
        // Half a line would spoil the next one.
        let _cut = file.set_len(found.len());
    }
    written.map_err(|error| Miss::again(why(error)))
}

impl Deliver for FileChannel {
    fn deliver<'a>(&'a self, delivery: &'a mut Delivery, _: &'a CallMeter, _: Instant) -> Delivering<'a> {
        Box::pin(async move {
            let gone = || Miss::unsent("nobody writes to its file");
            let (written, answer) = oneshot::channel();
            let text = line(&delivery.notice, self.board.as_deref());
            self.lines.send(Line { text, written }).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())??;
            Ok(Delivered::default())
        })
    }
}

fn line(notice: &Notice, board: Option<&str>) -> Vec<u8> {
    let alerts: Vec<_> = notice
        .alerts
        .iter()
        .map(|alert| {
            json!({
                "id": alert.id.to_string(),
                "since": time(alert.since),
                "ended": alert.ended.map(time),
                "labels": labels(alert, &notice.node),
                "annotations": annotations(alert),
                "link": link(board, alert.id),
            })
        })
        .collect();
    let line = json!({
        "id": notice.id.to_string(),
        "time": time(notice.time),
        "node": &*notice.node,
        "channel": &*notice.id.channel,
        "tells": <&str>::from(notice.tells),
        "reason": <&str>::from(notice.reason),
        "severity": <&str>::from(notice.importance),
        "title": title(notice),
        "firing": notice.firing,
        "resolved": notice.resolved,
        "acknowledged_by": notice.acknowledged.as_ref().map(|(by, _)| plain(by)),
        "maybe_twice": notice.maybe_twice,
        "alerts": alerts,
        "more": unlisted(notice, notice.alerts.len()),
    });
    let mut text = line.to_string().into_bytes();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::{documented, notice};
    use super::*;

    #[test]
    fn a_line_is_as_it_is_documented() {
        let line = line(&notice("disk", 1), Some("https://gemba.example.com"));
        let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(line, documented("A channel `file` gets"), "{line:#}");
    }

    #[test]
    fn a_line_that_was_not_begun_was_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let missed = append(&dir.path().join("no/such/dir"), b"{}\n").unwrap_err();
        assert!(!missed.may_be_taken(), "{missed:?}");
    }
}
