//! Runs the line until it is told to end: starts it, takes it up again where a stage panicked, ends it in order.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::identity;
use super::recovery::{self, RecoveryError, dedup_dir, journal_dir, log_dir, state_dir};
use super::running::Ending;
use super::settings::Settings;
use super::stages::{Line, Start};
use super::supervisor::{Parked, RESTARTS_MAX, Restarts, TooOften};
use crate::andon::log::LogError;
use crate::clock;
use crate::descriptors::{self, Budget, TooFew};
use crate::disk::{DataLock, Disk, Disposer, RealDisk, instead_of_a_directory, make_dir, mount};
use crate::event::{Seq, UnixMillis};
use crate::jidoka::store::StoreError;
use crate::kanban::broker::publisher;
use crate::kanban::journal::scan::UNCERTAIN;
use crate::kanban::share::Failed;
use crate::kanban::stage::Fatal;
use crate::limits::{DISPOSED_PIECE_BYTES, FIRST_STAMP_MILLIS};
use crate::net::listen::ListenError;
use crate::place::ConfigError;
use crate::proof::note::BadSigner;
use crate::ring::Switch;
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

/// Where the line can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// A processor's signals come from the broker.
    pub ingress: Option<SocketAddr>,
    pub admin: SocketAddr,
}

/// What an operator is told as it happens.
#[derive(Debug)]
pub enum Notice<'a> {
    /// Signals are taken.
    Ready(&'a Addresses),
    /// The line starts again.
    Restarting { stage: &'a str, at: Option<Seq> },
    /// Deciding on this event panicked twice; its signal becomes a dead letter.
    Parked(Seq),
}

/// What the system asks of the line, at any time.
#[derive(Clone, Debug, Default)]
pub struct SystemOrders {
    /// End in order.
    pub drain: Switch,
    /// The line has begun, so that there is something to end in order.
    pub begun: Switch,
    /// Read the policy packs anew. An order that comes before the line is ready is kept.
    pub reload: Arc<Notify>,
}

/// How the line ended that was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Drained,
    /// It did not take signals yet, or not again. The next start goes on where this one began.
    WhileStarting,
}

/// Runs the line until it is ordered to drain, then ends it in order.
pub fn serve(
    settings: &Settings,
    orders: &SystemOrders,
    mut tell: impl FnMut(Notice<'_>),
) -> Result<Ended, ServeError> {
    orders.begun.turn_on();
    // Libraries beside us count from 1970 and write years of four digits.
    if !(1..=clock::WALL_MILLIS_MAX).contains(&clock::wall().0) {
        return Err(ServeError::Clock);
    }
    let budget = Budget::divide(descriptors::raise(), settings.needs())?;
    let data_dir = settings.data_dir.clone();
    let in_data_dir = |source| ServeError::DataDir { path: data_dir.clone(), source };
    make_dir(&RealDisk, &data_dir).map_err(in_data_dir)?;
    let _lock = DataLock::take(&data_dir).map_err(in_data_dir)?;
    for path in [journal_dir, log_dir, state_dir, dedup_dir].map(|of| of(&data_dir)) {
        let found = instead_of_a_directory(&path);
        if let Some(what) = found.map_err(|source| ServeError::DataDir { path: path.clone(), source })? {
            return Err(ServeError::Odd { path, what });
        }
    }
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    if let Some(point) = mount::discards(&data_dir).map_err(in_data_dir)? {
        tracing::warn!(
            target: "gemba::disk",
            path = %data_dir.display(),
            mount = %point.display(),
            hint = "mount it without, and trim it by fstrim.timer",
            "the data directory is mounted with `discard`: syncs wait for each block that is freed there"
        );
    }
    let set_aside = vec![journal_dir(&data_dir), dedup_dir(&data_dir)];
    let disposer = Disposer::new(Arc::clone(&disk), set_aside, DISPOSED_PIECE_BYTES);
    let _disposing = disposer.spawn().map_err(in_data_dir)?;
    let role = settings.leaves();
    let held = identity::role(&*disk, &data_dir, role).map_err(in_data_dir)?;
    if held != role {
        return Err(ServeError::Role { path: data_dir, held, role });
    }
    let wall = clock::wall();
    if !FIRST_STAMP_MILLIS.contains(&wall.0) && !recovery::has_journal(&*disk, &data_dir)? {
        return Err(ServeError::BeginsNow { path: journal_dir(&data_dir), wall });
    }
    let mut parked = Parked::read(&*disk, &journal_dir(&data_dir)).map_err(in_data_dir)?;
    let restarts = Arc::new(Mutex::new(Restarts::default()));
    let mut addresses = Addresses { ingress: None, admin: settings.admin_listen };
    loop {
        let start = Start {
            settings,
            disk: &disk,
            addresses,
            parked: parked.events().iter().copied().collect::<HashSet<_>>(),
            orders,
            budget,
            restarts: Arc::clone(&restarts),
        };
        let mut line = match Line::start(&start) {
            Err(ServeError::ToldToEnd) => return Ok(Ended::WhileStarting),
            started => started?,
        };
        addresses = line.addresses();
        match line.run(&mut || tell(Notice::Ready(&addresses))) {
            Ending::Drained => return line.end().map(|()| Ended::Drained),
            Ending::WhileStarting => {
                // Nothing is answered yet, so what a crash would leave is in order; a long replay need not end first.
                line.abandon();
                return Ok(Ended::WhileStarting);
            }
            Ending::Failed(error) => {
                orders.drain.turn_on();
                // In order it cannot end: the others would wait for what failed. Restart is recovery.
                line.abandon();
                return Err(error);
            }
            Ending::Panicked { stage, at } => {
                line.abandon();
                if let Some(seq) = at
                    && parked.panicked(&*disk, seq).map_err(in_data_dir)?
                {
                    tell(Notice::Parked(seq));
                }
                let allowed = restarts.lock().unwrap_or_else(PoisonError::into_inner).allow(clock::now());
                allowed.map_err(|TooOften| ServeError::TooOften { stage: stage.clone() })?;
                tell(Notice::Restarting { stage: &stage, at });
            }
        }
    }
}
