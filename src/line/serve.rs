//! Runs the line until it is told to end: starts it, takes it up again where a stage panicked, ends it in order.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::ServeError;
use super::identity;
use super::recovery::{self, dedup_dir, journal_dir, log_dir, state_dir};
use super::running::Ending;
use super::settings::Settings;
use super::stages::Line;
use super::start::{Addresses, Start, SystemOrders};
use super::supervisor::{Parked, Restarts, TooOften};
use super::unwritable::UnwritableNote;
use crate::clock;
use crate::descriptors::{self, Budget};
use crate::disk::{DataLock, Disk, Disposer, RealDisk, instead_of_a_directory, make_dir, mount};
use crate::event::Seq;
use crate::limits::{DISPOSED_PIECE_BYTES, FIRST_STAMP_MILLIS};

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
    settings.live.target_room.publish(budget.targets as u64);
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
    let unwritable = UnwritableNote::of(&disk, &data_dir);
    let mut addresses = Addresses { ingress: None, admin: settings.admin.listen };
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
            Ending::Drained => {
                return line.end().map(|()| Ended::Drained).inspect_err(|error| unwritable.leave(error));
            }
            Ending::WhileStarting => {
                // Nothing is answered yet, so what a crash would leave is in order; a long replay need not end first.
                line.abandon();
                return Ok(Ended::WhileStarting);
            }
            Ending::Failed(error) => {
                orders.drain.turn_on();
                // In order it cannot end: the others would wait for what failed. Restart is recovery.
                line.abandon();
                unwritable.leave(&error);
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
