//! Why an order is not called, or not called again, in words. An order that its target may have been asked for says so, whatever
//! ended it. Pure.

use super::queue::Waiting;
use crate::event::Failure;
use crate::limits::{ACTION_TOTAL, REASON_BYTES_MAX};

/// What ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uncalled {
    /// Its time, in the background.
    Over,
    /// Its time, while others were called.
    NoTurn,
    /// So many orders that wait already.
    NoPlace(usize),
    /// The target's breaker, as it says.
    Halted(String),
    /// There is nothing that could be sent, for this reason.
    Unfit(String),
    /// Its target is not configured.
    Gone,
}

/// What is known of the calls of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Called {
    Never,
    /// A start ordered it again: it may have been called before.
    Perhaps,
    Times(u32),
}

impl Called {
    fn by(Waiting { order, calls, .. }: &Waiting) -> Self {
        match (calls, order.is_again) {
            (0, false) => Self::Never,
            (0, true) => Self::Perhaps,
            (calls, _) => Self::Times(*calls),
        }
    }
}

impl Uncalled {
    /// How an order ends by it.
    #[must_use]
    pub fn ends(&self, waiting: &Waiting) -> Failure {
        let name = &waiting.order.intent.name;
        let why = match (Called::by(waiting), self) {
            (Called::Never, Self::Gone) => format!("no action `{name}` is configured"),
            (Called::Never, _) => format!("target `{name}` {}", self.of_one_never_called()),
            (Called::Perhaps, _) => {
                format!("target `{name}` may have been asked before and {}", self.of_one_called())
            }
            (Called::Times(calls), _) => {
                format!("target `{name}` took it in none of {calls} calls and {}", self.of_one_called())
            }
        };
        let why = shortened(why);
        if Called::by(waiting) == Called::Never { Failure::withheld(why) } else { Failure::asked(why) }
    }

    fn of_one_never_called(&self) -> String {
        match self {
            Self::Over => "was not called before its time was over".into(),
            Self::Unfit(why) => format!("was not asked: {why}"),
            Self::NoTurn | Self::NoPlace(_) | Self::Halted(_) | Self::Gone => self.of_one_called(),
        }
    }

    fn of_one_called(&self) -> String {
        match self {
            Self::Over => "was not called again before its time was over".into(),
            Self::NoTurn => format!("had no room within {} s", ACTION_TOTAL.as_secs()),
            Self::NoPlace(others) => format!("has {others} orders waiting for it already"),
            Self::Halted(how) => how.clone(),
            Self::Unfit(why) => format!("is not asked again: {why}"),
            Self::Gone => "no action of this name is configured any more".into(),
        }
    }
}

/// As long as a reason may be.
pub fn shortened(mut why: String) -> String {
    why.truncate(why.floor_char_boundary(REASON_BYTES_MAX));
    why
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::payload::tests::{SIGNAL, order};
    use super::*;
    use crate::jidoka::governor::ActionRequest;

    #[test]
    fn what_may_have_been_asked_for_never_says_that_it_was_not() {
        let all = [
            Uncalled::Over,
            Uncalled::NoTurn,
            Uncalled::NoPlace(9),
            Uncalled::Halted("is halted".into()),
            Uncalled::Unfit("it is odd".into()),
            Uncalled::Gone,
        ];
        let ends = |why: &Uncalled, calls, is_again| {
            let order = ActionRequest { is_again, maybe_twice: is_again, ..order("page", 1, SIGNAL) };
            let mut waiting = Waiting::new(order, Instant::now());
            waiting.calls = calls;
            why.ends(&waiting)
        };
        for why in &all {
            let (never, perhaps, twice) = (ends(why, 0, false), ends(why, 0, true), ends(why, 2, true));
            assert_eq!([never.asked, perhaps.asked, twice.asked], [false, true, true], "{why:?}");
            assert!(perhaps.reason.starts_with("target `page` may have been asked before and "), "{why:?}");
            assert!(twice.reason.starts_with("target `page` took it in none of 2 calls and "), "{why:?}");
            assert!(!perhaps.reason.contains("was not asked") && !twice.reason.contains("was not asked"));
        }
        assert_eq!(
            &*ends(&Uncalled::Unfit("it is odd".into()), 0, false).reason,
            "target `page` was not asked: it is odd"
        );
        assert_eq!(&*ends(&Uncalled::Gone, 0, false).reason, "no action `page` is configured");
    }
}
