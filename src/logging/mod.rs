//! What a node tells its operator: events of `tracing`, each one line on standard error. `filter` says which, `format` how
//! they look; [`crate::diagnostics`] writes them without anybody waiting.
//!
//! An event names its layer as target and keeps its message the same; what varies is in its fields. No event stands on the way
//! of a signal. One that the filter leaves out costs one load of an atomic number: `tracing` keeps the answer at each place.
//!
//! Each place of an event has a budget of lines, so that a fault that lasts, or somebody who provokes one, does not fill the
//! log; what is beyond it is counted, and the next line of the place says how many were left out.

mod destination;
mod file;
mod filter;
mod format;
mod syslog;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use tracing::callsite::Identifier;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber, span};

use destination::Line;
pub use destination::{Content, Destination};
pub use file::{FilePlan, LogFile};
use filter::TLS;
pub use filter::{Filter, WrongFilter, level};
pub use format::Format;
use format::Stamp;
pub use syslog::{FACILITIES, Framing, Syslog, SyslogPlan, Transport};

use crate::clock::{self, Instant};
use crate::diagnostics;
use crate::event::UnixMillis;
use crate::limits::{LOG_LINE_EVERY, LOG_LINES_BURST, PANIC_WAIT};

static LOGGER: OnceLock<Arc<Logger>> = OnceLock::new();

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub filter: Filter,
    /// Standard error shows no more than this of what the filter lets through; other destinations have all of it.
    pub stderr: LevelFilter,
    pub format: Format,
}

impl Default for Settings {
    /// What holds until the configuration is read, and of commands that read none.
    fn default() -> Self {
        Self { filter: Filter::default(), stderr: LevelFilter::TRACE, format: Format::of_stderr() }
    }
}

impl Format {
    /// Text where a person reads it, JSON elsewhere.
    #[must_use]
    pub fn of_stderr() -> Self {
        if io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// Takes events from here on; of a node, panics too.
pub fn start(settings: Settings) {
    let logger = LOGGER.get_or_init(|| Arc::new(Logger::new(settings, clock::wall, diagnostics::write_line)));
    // It fails where one takes them already.
    let _first = tracing::subscriber::set_global_default(Arc::clone(logger));
}

/// Has panics told as events.
pub fn tell_of_panics() {
    std::panic::set_hook(Box::new(|panic| {
        tell_of_panic(panic);
        // The process may abort right after.
        flush(PANIC_WAIT);
    }));
}

/// Goes on with other settings.
pub fn configure(settings: Settings) {
    if let Some(logger) = LOGGER.get() {
        *logger.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Has events go to these beside standard error, from here on, and to no others.
pub fn send_to(destinations: Vec<Arc<Destination>>) {
    if let Some(logger) = LOGGER.get() {
        let new = destinations.clone();
        let old = std::mem::replace(
            &mut *logger.destinations.write().unwrap_or_else(PoisonError::into_inner),
            destinations,
        );
        tracing::callsite::rebuild_interest_cache();
        let left = old.iter().filter(|old| !new.iter().any(|new| Arc::ptr_eq(old, new)));
        left.for_each(|old| old.end());
    }
}

/// Files are opened anew, and receivers connected to.
pub fn reopen() {
    if let Some(logger) = LOGGER.get() {
        logger.destinations().iter().for_each(|destination| destination.reopen());
    }
}

/// Waits until everything that was told is written or lost, at most so long.
pub fn flush(limit: Duration) {
    let until = std::time::Instant::now() + limit;
    if let Some(logger) = LOGGER.get() {
        let destinations = logger.destinations().clone();
        for destination in &destinations {
            destination.flush(until);
        }
    }
    diagnostics::flush(until.saturating_duration_since(std::time::Instant::now()));
}

/// The levels that hold.
#[must_use]
pub fn levels() -> Filter {
    LOGGER.get().map_or_else(Filter::default, |logger| logger.settings().filter.clone())
}

/// These levels hold, until the next start.
pub fn set_levels(filter: Filter) {
    if let Some(logger) = LOGGER.get() {
        logger.settings.write().unwrap_or_else(PoisonError::into_inner).filter = filter;
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Events that had no line, since their place had too many.
#[must_use]
pub fn left_out() -> u64 {
    LOGGER.get().map_or(0, |logger| logger.budgets().left_out)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
fn tell_of_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("<unnamed>");
    let reason = panic.payload_as_str().unwrap_or("no message");
    let at = panic.location().map(ToString::to_string);
    let backtrace = std::backtrace::Backtrace::capture();
    let backtrace = match backtrace.status() {
        std::backtrace::BacktraceStatus::Captured => Some(backtrace.to_string()),
        _ => None,
    };
    tracing::error!(target: "gemba::line", thread, at, reason, backtrace, "a thread panicked");
}

/// Writes events as lines.
struct Logger {
    settings: RwLock<Settings>,
    destinations: RwLock<Vec<Arc<Destination>>>,
    budgets: Mutex<Budgets>,
    wall: fn() -> UnixMillis,
    write: fn(String),
}

#[derive(Default)]
struct Budgets {
    places: HashMap<Identifier, Budget>,
    left_out: u64,
}

/// Lines that one place of the program may still have.
#[derive(Debug)]
struct Budget {
    lines: u32,
    /// Since when lines are given back.
    since: Instant,
    left_out: u64,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { lines: LOG_LINES_BURST, since: now, left_out: 0 }
    }

    /// Takes a line; how many were left out before it, or `None` where there is none.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let passed = now.saturating_duration_since(self.since).as_nanos() / LOG_LINE_EVERY.as_nanos();
        let given = u32::try_from(passed).unwrap_or(u32::MAX);
        self.lines = self.lines.saturating_add(given).min(LOG_LINES_BURST);
        self.since = if self.lines == LOG_LINES_BURST { now } else { self.since + LOG_LINE_EVERY * given };
        let Some(left) = self.lines.checked_sub(1) else {
            self.left_out += 1;
            return None;
        };
        self.lines = left;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Logger {
    fn new(settings: Settings, wall: fn() -> UnixMillis, write: fn(String)) -> Self {
        let (destinations, budgets) = (RwLock::default(), Mutex::default());
        Self { settings: RwLock::new(settings), destinations, budgets, wall, write }
    }

    fn settings(&self) -> std::sync::RwLockReadGuard<'_, Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn destinations(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Destination>>> {
        self.destinations.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what is told of TLS goes somewhere, whatever the levels say.
    fn tells_of_tls(&self) -> bool {
        self.destinations().iter().any(|destination| destination.content == Content::Tls)
    }

    /// Whether the levels let it through.
    fn is_let_through(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.settings().filter.level(metadata.target())
    }

    fn budgets(&self) -> std::sync::MutexGuard<'_, Budgets> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is told for those who look for a mistake is as much as they asked for.
    fn take_line(&self, metadata: &'static Metadata<'static>) -> Option<u64> {
        if *metadata.level() > Level::INFO {
            return Some(0);
        }
        let now = clock::now();
        let mut budgets = self.budgets();
        let budget = budgets.places.entry(metadata.callsite()).or_insert_with(|| Budget::new(now));
        let taken = budget.take(now);
        budgets.left_out += u64::from(taken.is_none());
        taken
    }
}

impl Subscriber for Logger {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let of_tls = || metadata.target() == TLS && *metadata.level() <= Level::DEBUG && self.tells_of_tls();
        metadata.is_event() && (self.is_let_through(metadata) || of_tls())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let most = self.settings().filter.most();
        Some(if self.tells_of_tls() { most.max(LevelFilter::DEBUG) } else { most })
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let Some(left_out) = self.take_line(metadata) else { return };
        let stamp = Stamp { now: (self.wall)(), left_out };
        let is_let_through = self.is_let_through(metadata);
        if is_let_through {
            let Settings { stderr, format, .. } = *self.settings();
            if *metadata.level() <= stderr {
                (self.write)(format.line(event, stamp));
            }
        }
        let destinations = self.destinations();
        if destinations.is_empty() {
            return;
        }
        let line = Line {
            now: stamp.now,
            level: *metadata.level(),
            target: metadata.target(),
            json: Format::Json.line(event, stamp).into(),
        };
        for destination in destinations.iter() {
            let takes = match destination.content {
                Content::All => is_let_through,
                Content::Tls => metadata.target() == TLS,
            };
            if takes {
                destination.offer(&line);
            }
        }
    }

    // There are no spans: none is enabled.

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
