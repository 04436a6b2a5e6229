//! A place beside standard error where events go. Each has a bounded queue and a thread of its own, so that one which is slow,
//! full or away costs its own lines, which are counted and told, and holds up neither the node nor the others.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::Level;

use crate::event::UnixMillis;
use crate::kaizen::Metric;
use crate::limits::LOG_LINES_HELD_MAX;

/// One event, as it is written.
#[derive(Clone, Debug)]
pub struct Line {
    pub now: UnixMillis,
    pub level: Level,
    pub target: &'static str,
    /// An object of JSON, without an end of line.
    pub json: Arc<str>,
}

/// Which events go to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// All that the levels let through.
    All,
    /// Those about TLS, whatever the levels say.
    Tls,
}

/// What a destination's thread does with lines.
pub trait Write: Send + 'static {
    /// Writes them, oldest first; how many of them are not written.
    fn write(&mut self, lines: &[Line]) -> usize;

    /// What it writes to is to be opened anew.
    fn reopen(&mut self);
}

/// Lines on their way.
pub struct Destination {
    pub content: Content,
    queue: Mutex<Queue>,
    changed: Condvar,
    lost_in_queue: metrics::Counter,
    lost_in_write: metrics::Counter,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Line>,
    writing: bool,
    /// Lines that were lost and not yet told of.
    lost: u64,
    reopens: bool,
    /// It ends once everything was written.
    ends: bool,
}

/// Lines that are written at once.
const TOGETHER: usize = 256;

impl Destination {
    /// Starts its thread, which is called `name`; lines that are lost are counted for `sink`.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(
        name: &str,
        sink: &'static str,
        content: Content,
        writer: impl Write,
    ) -> std::io::Result<Arc<Self>> {
        let lost = |cause| Metric::TelemetryLost.counter(&[sink, cause]);
        let destination = Arc::new(Self {
            content,
            queue: Mutex::default(),
            changed: Condvar::new(),
            lost_in_queue: lost("queue"),
            lost_in_write: lost("write"),
        });
        let own = Arc::clone(&destination);
        thread::Builder::new().name(name.into()).spawn(move || own.run(sink, writer))?;
        Ok(destination)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line, unless too many wait.
    pub fn offer(&self, line: &Line) {
        let mut queue = self.queue();
        if queue.lines.len() >= LOG_LINES_HELD_MAX {
            queue.lost += 1;
            self.lost_in_queue.increment(1);
            return;
        }
        queue.lines.push_back(line.clone());
        drop(queue);
        self.changed.notify_all();
    }

    /// What is written to is opened anew before the next line.
    pub fn reopen(&self) {
        self.queue().reopens = true;
        self.changed.notify_all();
    }

    /// It takes no more: its thread ends when it has written what waits.
    pub fn end(&self) {
        self.queue().ends = true;
        self.changed.notify_all();
    }

    /// Waits until everything was written or lost, at most until then.
    pub fn flush(&self, until: Instant) {
        let waiting = |queue: &mut Queue| queue.writing || !queue.lines.is_empty();
        let limit = until.saturating_duration_since(Instant::now());
        // Either way nothing more can be done here.
        drop(self.changed.wait_timeout_while(self.queue(), limit, waiting));
    }

    fn run(&self, sink: &'static str, mut writer: impl Write) {
        let mut lines = Vec::new();
        loop {
            let mut queue = self.queue();
            while queue.lines.is_empty() && !queue.reopens && !queue.ends {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if queue.lines.is_empty() && queue.ends {
                return;
            }
            let reopens = std::mem::take(&mut queue.reopens);
            let count = queue.lines.len().min(TOGETHER);
            lines.extend(queue.lines.drain(..count));
            queue.writing = true;
            drop(queue);
            if reopens {
                writer.reopen();
            }
            let missed = if lines.is_empty() { 0 } else { writer.write(&lines) };
            self.lost_in_write.increment(missed as u64);
            let is_well = missed == 0 && !lines.is_empty();
            lines.clear();
            let mut queue = self.queue();
            queue.writing = false;
            queue.lost += missed as u64;
            let lost = if is_well { std::mem::take(&mut queue.lost) } else { 0 };
            drop(queue);
            self.changed.notify_all();
            if lost > 0 {
                tracing::warn!(target: "gemba::kaizen", sink, lost, "lines of the log were lost");
            }
            if missed > 0 {
                // What does not take lines is not asked without a pause.
                thread::sleep(PAUSE);
            }
        }
    }
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Destination").field("content", &self.content).finish_non_exhaustive()
    }
}

/// Before a destination that failed is written to again.
const PAUSE: Duration = Duration::from_millis(200);
