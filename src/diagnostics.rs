//! The way to standard error, for what is logged and for what commands say to their users. It never fails and never waits:
//! lines go through a bounded queue to a thread that writes them, so a pipe that nobody reads, a closed one or a full disk
//! costs lines, never the node. Lost lines are counted.
//!
//! Commands that end by themselves have no such thread; they write directly.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::limits::{DIAGNOSTIC_BYTES_MAX, DIAGNOSTICS_HELD_MAX};

/// How long a writer rests when standard error does not block and takes nothing now.
const REST: Duration = Duration::from_millis(20);

static DIAGNOSTICS: OnceLock<Diagnostics> = OnceLock::new();

/// Lines on their way to standard error.
struct Diagnostics {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<String>,
    /// One line is being written.
    writing: bool,
    lost: Lost,
}

/// Lines that standard error did not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Too many waited: nobody reads, or not as fast as lines come.
    pub waiting: u64,
    /// Writing failed: the reader has gone, or the disk is full.
    pub failed: u64,
}

impl Queue {
    /// Takes the line if there is room; it is lost otherwise.
    fn offer(&mut self, mut line: String) {
        if self.lines.len() >= DIAGNOSTICS_HELD_MAX {
            self.lost.waiting += 1;
            return;
        }
        line.push('\n');
        self.lines.push_back(line);
    }
}

impl Diagnostics {
    fn new() -> Self {
        Self { queue: Mutex::default(), changed: Condvar::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_line(&self, line: String) {
        self.queue().offer(line);
        self.changed.notify_all();
    }

    /// Waits until everything was written or lost, at most `limit`.
    fn flush(&self, limit: Duration) {
        let waiting = |queue: &mut Queue| queue.writing || !queue.lines.is_empty();
        let waited = self.changed.wait_timeout_while(self.queue(), limit, waiting);
        // Either way nothing more can be done here.
        drop(waited);
    }

    /// Writes the next line; waits for it.
    fn write_next(&self, out: &mut impl Write) {
        let mut queue = self.queue();
        let line = loop {
            match queue.lines.pop_front() {
                Some(line) => break line,
                None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        };
        queue.writing = true;
        drop(queue);
        let written = write(out, line.as_bytes());
        let mut queue = self.queue();
        queue.writing = false;
        queue.lost.failed += u64::from(written.is_err());
        drop(queue);
        self.changed.notify_all();
    }
}

/// Writes all of it, however long the reader takes.
fn write(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(REST),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Starts the thread that writes. From here on nobody waits for standard error.
///
/// # Errors
/// When there can be no thread.
pub fn start() -> io::Result<()> {
    if DIAGNOSTICS.set(Diagnostics::new()).is_err() {
        return Ok(());
    }
    thread::Builder::new().name("diagnostics".into()).spawn(|| {
        if let Some(diagnostics) = DIAGNOSTICS.get() {
            loop {
                diagnostics.write_next(&mut io::stderr());
            }
        }
    })?;
    Ok(())
}

/// Writes a line to standard error. It neither fails nor waits, where [`start`] was called.
pub fn write_line(line: String) {
    match DIAGNOSTICS.get() {
        Some(diagnostics) => diagnostics.write_line(line),
        // Nobody can be told that standard error is gone.
        None => drop(write(&mut io::stderr(), format!("{line}\n").as_bytes())),
    }
}

/// The same for what a command says to its user, which may be of any length.
pub fn say(line: &str) {
    let cut = line.floor_char_boundary(DIAGNOSTIC_BYTES_MAX);
    write_line(if cut < line.len() { format!("{}…", &line[..cut]) } else { line.to_owned() });
}

/// Waits until what was said is written, at most `limit`: before the process ends.
pub fn flush(limit: Duration) {
    if let Some(diagnostics) = DIAGNOSTICS.get() {
        diagnostics.flush(limit);
    }
}

/// Lines that standard error did not take.
#[must_use]
pub fn lost() -> Lost {
    DIAGNOSTICS.get().map_or(Lost::default(), |diagnostics| diagnostics.queue().lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one byte of two calls, and refuses some.
    struct Slow {
        taken: Vec<u8>,
        calls: usize,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(2) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.taken.push(bytes[0]);
            Ok(1)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_written_whole_whatever_the_reader_takes_at_once() {
        let diagnostics = Diagnostics::new();
        diagnostics.write_line("abc".into());
        let mut out = Slow { taken: Vec::new(), calls: 0 };
        diagnostics.write_next(&mut out);
        assert_eq!((out.taken.as_slice(), diagnostics.queue().lost), (b"abc\n".as_slice(), Lost::default()));
    }

    #[test]
    fn what_finds_no_room_or_no_reader_is_lost_and_counted() {
        let diagnostics = Diagnostics::new();
        for number in 0..DIAGNOSTICS_HELD_MAX + 3 {
            diagnostics.write_line(number.to_string());
        }
        assert_eq!(diagnostics.queue().lost, Lost { waiting: 3, failed: 0 });
        diagnostics.flush(Duration::from_millis(1));
        let mut full: &mut [u8] = &mut [];
        diagnostics.write_next(&mut full);
        assert_eq!(diagnostics.queue().lost, Lost { waiting: 3, failed: 1 });
    }
}
