//! `log`: one line of JSON on standard output. A reader that does not take it must not stall what else waits on others,
//! so a thread of its own writes; what waits together goes out in one write.

use std::io;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::carry::{Carry, Trying};
use super::payload;
use crate::jidoka::governor::ActionRequest;
use crate::limits::LOG_LINES_MAX;
use crate::net::retry::Miss;
use crate::trace::TraceContext;

struct Line {
    text: Vec<u8>,
    written: oneshot::Sender<Result<(), io::ErrorKind>>,
}

/// Hands lines to the thread that writes them.
#[derive(Clone, Debug)]
pub struct Writer {
    lines: mpsc::Sender<Line>,
}

impl Writer {
    /// Starts the thread; it ends with the last writer.
    pub fn new() -> Self {
        let (lines, taken) = mpsc::channel(LOG_LINES_MAX);
        let thread = std::thread::Builder::new().name("log-action".into());
        // Without a thread nobody takes the lines: every call fails and says so.
        let _detached = thread.spawn(move || write(taken, io::stdout));
        Self { lines }
    }
}

fn write<W: io::Write>(mut lines: mpsc::Receiver<Line>, out: impl Fn() -> W) {
    let (mut taken, mut text) = (Vec::new(), Vec::new());
    while let Some(first) = lines.blocking_recv() {
        taken.push(first);
        while let Ok(line) = lines.try_recv() {
            taken.push(line);
        }
        // Whose try was given up comes again; its line must not stand there twice.
        taken.retain(|line: &Line| !line.written.is_closed());
        text.clear();
        for line in &taken {
            text.extend_from_slice(&line.text);
        }
        let mut out = out();
        let result = out.write_all(&text).and_then(|()| out.flush()).map_err(|error| error.kind());
        for line in taken.drain(..) {
            // Whoever gave up meanwhile does not listen.
            let _given_up = line.written.send(result);
        }
    }
}

impl Carry for Writer {
    fn carry<'a>(&'a self, order: &'a ActionRequest, _: Option<TraceContext>, _: Instant) -> Trying<'a> {
        Box::pin(async move {
            let gone = || Miss::again("nobody writes to standard output");
            let (written, answer) = oneshot::channel();
            self.lines.send(Line { text: payload::line(order), written }).await.map_err(|_| gone())?;
            let written = answer.await.map_err(|_| gone())?;
            written.map_err(|kind| Miss::again(format!("standard output takes nothing: {kind}")))
        })
    }
}
