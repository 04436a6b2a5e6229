//! The journal's time: the clock that counts since boot, plus an offset that is corrected by the wall clock. Pure: the
//! caller brings the looks.
//!
//! - It never goes back and never stands still: while the wall clock is behind, it runs at nine tenths of the speed.
//! - It follows a wall clock that is a little ahead at once, and one that is far ahead only after the wall clock has stood
//!   there for [`CLOCK_BELIEVED_AFTER`]: until then that is a [`Doubt`].
//! - What is kept for a time is kept for time that really passed: [`Timekeeper::lived`] leaves out every step that is
//!   younger than that time.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::look::Look;
use crate::event::UnixMillis;
use crate::limits::{
    CLOCK_BELIEVED_AFTER, CLOCK_NOTED_WITHIN, CLOCK_SLOWED, CLOCK_STEADY, CLOCK_STEP_MAX, CLOCK_STEPS_KEPT,
};

/// What one look can add to the time for which the wall clock has stood somewhere: between two looks it may have been
/// anywhere.
const LOOK_COUNTS: u64 = 1_000_000;

/// Why the wall clock is not followed, and by how many milliseconds it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The wall clock is far ahead; it is believed once it has stood there long enough.
    Ahead(u64),
    /// The wall clock is far behind; the journal's time waits for it at nine tenths of the speed.
    Behind(u64),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead(by) => write!(
                f,
                "the wall clock is {} s ahead of the journal's time; it is followed once it has stood there for {} s",
                by / 1000,
                CLOCK_BELIEVED_AFTER.as_secs()
            ),
            Self::Behind(by) => write!(
                f,
                "the wall clock is {} s behind the journal's time, which runs slower until they meet, in ten times as long; where \
                 that is too long, a new `node.data_dir` helps",
                by / 1000
            ),
        }
    }
}

/// A jump of the journal's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    /// When, in microseconds since boot.
    at: u64,
    by: u64,
}

/// What a timekeeper leaves to the next one of the same boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Journal time minus time since boot, in microseconds.
    offset: i64,
    steps: VecDeque<Step>,
}

/// Keeps the journal's time.
#[derive(Clone, Debug)]
pub struct Timekeeper {
    /// The last look's.
    boot: u64,
    /// The journal's time, in microseconds since 1970.
    time: u64,
    /// Journal time minus time since boot.
    offset: i64,
    /// The offset that stood long enough; the wall clock is followed at once up to [`CLOCK_STEP_MAX`] beyond it.
    believed: i64,
    /// Wall time minus time since boot when the wall clock last moved, and for how long it has stood there.
    claimed: i64,
    stood: u64,
    /// What the last look claims.
    wall: i64,
    /// Microseconds of slowed time that are less than a whole one.
    rest: u64,
    steps: VecDeque<Step>,
    /// Time that passed, was left out, and did not come back yet.
    left_out: u64,
    /// Time that did not pass, and was not asked for yet.
    stepped: u64,
    kept_for: u64,
    in_doubt: bool,
    doubts: u64,
}

impl Timekeeper {
    /// Goes on after `last`, the journal's last stamp (`None`: there is none yet). `kept` is what was left in this boot of the
    /// machine: with it, it is known how much time has passed since. Without it the wall clock alone can tell.
    #[must_use]
    pub fn begin(last: Option<UnixMillis>, kept: Option<&Kept>, kept_for: Duration, look: Look) -> Self {
        let wall = difference(look.wall, look.boot);
        let mut keeper = Self {
            boot: look.boot,
            time: 0,
            offset: wall,
            believed: wall,
            claimed: wall,
            stood: 0,
            wall,
            rest: 0,
            steps: VecDeque::new(),
            left_out: 0,
            stepped: 0,
            kept_for: micros(kept_for),
            in_doubt: false,
            doubts: 0,
        };
        if let Some(last) = last {
            let last = difference(last.0.saturating_mul(1000), look.boot);
            if let Some(kept) = kept {
                keeper.offset = kept.offset.max(last);
                keeper.believed = keeper.offset;
                keeper.steps.clone_from(&kept.steps);
            } else {
                keeper.offset = last;
                keeper.move_to(wall.max(last));
                keeper.believed = keeper.offset;
            }
        }
        keeper.time = sum(look.boot, keeper.offset);
        keeper.stamp(look);
        // Whether time passed while there was no process, the wall clock alone knows.
        keeper.stepped = 0;
        keeper
    }

    /// The journal's time at this look. Never less than at any look before.
    pub fn stamp(&mut self, look: Look) -> UnixMillis {
        let passed = look.boot.saturating_sub(self.boot);
        self.boot = self.boot.max(look.boot);
        self.wall = difference(look.wall, self.boot);
        if crate::fault::planted("stamped-by-wall") {
            self.offset = self.offset.max(self.wall);
            self.time = self.time.max(look.wall);
            return self.now();
        }
        self.listen(passed);
        if self.wall <= self.offset {
            self.slow_down(passed);
        } else if self.is_believable() {
            self.move_to(self.wall);
        }
        self.time = self.time.max(sum(self.boot, self.offset));
        let in_doubt = self.doubt().is_some();
        self.doubts += u64::from(in_doubt && !self.in_doubt);
        self.in_doubt = in_doubt;
        self.now()
    }

    /// Where the wall clock has stood for long enough is where it is.
    fn listen(&mut self, passed: u64) {
        if self.wall.abs_diff(self.claimed) > micros(CLOCK_STEADY) {
            (self.claimed, self.stood) = (self.wall, 0);
            return;
        }
        self.stood = self.stood.saturating_add(passed.min(LOOK_COUNTS));
        if self.stood >= micros(CLOCK_BELIEVED_AFTER) {
            self.believed = self.wall;
        }
    }

    fn is_believable(&self) -> bool {
        self.wall <= self.believed.saturating_add_unsigned(micros(CLOCK_STEP_MAX))
    }

    fn slow_down(&mut self, passed: u64) {
        self.rest = self.rest.saturating_add(passed);
        let slower = (self.rest / CLOCK_SLOWED).min(self.offset.abs_diff(self.wall));
        self.rest %= CLOCK_SLOWED;
        self.offset = self.offset.saturating_sub_unsigned(slower);
        self.left_out = self.left_out.saturating_add(slower);
    }

    /// Forward.
    fn move_to(&mut self, offset: i64) {
        let by = offset.abs_diff(self.offset);
        self.offset = offset;
        let comes_back = self.left_out.min(by);
        self.left_out -= comes_back;
        if by - comes_back > micros(CLOCK_STEP_MAX) {
            self.stepped = self.stepped.saturating_add(by - comes_back);
        }
        if by > micros(CLOCK_STEADY) {
            if self.steps.len() == CLOCK_STEPS_KEPT
                && let Some(oldest) = self.steps.pop_front()
                && let Some(next) = self.steps.front_mut()
            {
                next.by = next.by.saturating_add(oldest.by);
            }
            self.steps.push_back(Step { at: self.boot, by });
        }
    }

    /// The journal's time at the last look.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        UnixMillis(self.time / 1000)
    }

    /// Milliseconds by which the time went on though they did not pass, since this was asked last: a wall clock that is far ahead is
    /// believed.
    pub fn take_step(&mut self) -> u64 {
        std::mem::take(&mut self.stepped) / 1000
    }

    /// As [`Timekeeper::now`], less the steps since which less time has passed than things are kept for: what is kept for
    /// that time is not forgotten because a clock jumped.
    #[must_use]
    pub fn lived(&mut self) -> UnixMillis {
        let (boot, kept_for) = (self.boot, self.kept_for);
        while self.steps.pop_front_if(|step| boot.saturating_sub(step.at) > kept_for).is_some() {}
        let steps = self.steps.iter().fold(0_u64, |sum, step| sum.saturating_add(step.by));
        UnixMillis(self.time.saturating_sub(steps) / 1000)
    }

    /// Whether the wall clock is not followed.
    #[must_use]
    pub fn doubt(&self) -> Option<Doubt> {
        let by = self.wall.abs_diff(self.offset);
        if by <= micros(CLOCK_STEP_MAX) && self.is_believable() {
            None
        } else if self.wall > self.offset {
            Some(Doubt::Ahead(by / 1000))
        } else {
            (by > micros(CLOCK_STEP_MAX)).then_some(Doubt::Behind(by / 1000))
        }
    }

    /// Wall time minus journal time, in milliseconds.
    #[must_use]
    pub fn difference(&self) -> i64 {
        self.wall.saturating_sub(self.offset) / 1000
    }

    /// How often a doubt began.
    #[must_use]
    pub fn doubts(&self) -> u64 {
        self.doubts
    }

    /// What the next process of this boot goes on with.
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept { offset: self.offset, steps: self.steps.clone() }
    }
}

impl Kept {
    /// Whether what was left is as good as this: a little apart is.
    #[must_use]
    pub fn is_near(&self, other: &Self) -> bool {
        self.offset.abs_diff(other.offset) <= micros(CLOCK_NOTED_WITHIN) && self.steps == other.steps
    }

    /// A line of text, with its checksum.
    #[must_use]
    pub fn to_text(&self, boot_id: &str) -> String {
        let mut text = format!("{boot_id} {}", self.offset);
        for step in &self.steps {
            // Writing to a string cannot fail.
            let _infallible = write!(text, " {}+{}", step.at, step.by);
        }
        let sum = crc32c::crc32c(text.as_bytes());
        text.push_str(&format!(" {sum:08x}\n"));
        text
    }

    /// What [`Kept::to_text`] wrote in this boot of the machine; `None` for anything else.
    #[must_use]
    pub fn from_text(text: &str, boot_id: &str) -> Option<Self> {
        let (text, sum) = text.strip_suffix('\n')?.rsplit_once(' ')?;
        if u32::from_str_radix(sum, 16).ok()? != crc32c::crc32c(text.as_bytes()) {
            return None;
        }
        let mut words = text.split(' ');
        if words.next()? != boot_id {
            return None;
        }
        let offset = words.next()?.parse().ok()?;
        let step = |word: &str| {
            let (at, by) = word.split_once('+')?;
            Some(Step { at: at.parse().ok()?, by: by.parse().ok()? })
        };
        let steps = words.map(step).collect::<Option<VecDeque<_>>>()?;
        (steps.len() <= CLOCK_STEPS_KEPT).then_some(Self { offset, steps })
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn difference(wall: u64, boot: u64) -> i64 {
    let [wall, boot] = [wall, boot].map(|micros| i64::try_from(micros).unwrap_or(i64::MAX));
    wall.saturating_sub(boot)
}

fn sum(boot: u64, offset: i64) -> u64 {
    boot.saturating_add_signed(offset)
}

#[cfg(test)]
mod tests;
