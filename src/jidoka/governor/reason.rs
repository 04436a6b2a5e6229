//! The reasons that a governor gives by itself.

pub const HALTED_BY_BREAKER: &str = "the governor is halted: too many actions failed in a row";
pub const HALTED_BY_OPERATOR: &str = "the governor is halted by an operator";
pub const UNDER_WAY: &str = "the action is under way already";
pub const MAILBOX_FULL: &str =
    "the mailbox is full: more signals than may wait came while one action was out";
pub const NO_OUTCOME: &str = "no outcome before the deadline";
pub const BREAKER_OPENED: &str = "too many actions failed in a row";
pub const LATE: &str = "late: the action is not in flight";
pub const PANICKED: &str = "deciding on it failed twice";
pub const MAYBE_TWICE: &str = "may have run twice";
pub const CONFLICT: &str = "two edges accepted a signal of this id, each with another body";
pub const SET_ASIDE: &str = "the broker set it aside";
pub const FOREIGN: &str = "it stood in a queue of the broker and no edge wrote it";
pub const UNSIGNED: &str = "it stood in a queue of the broker and has no MAC: no edge wrote it";
pub const UNKNOWN_KEY: &str =
    "its MAC is under a key that this processor does not have: `rabbitmq.key` differs, or no edge wrote it";
pub const WRONG_MAC: &str = "its MAC is not the one of what it says: no edge wrote it";
pub const TOO_LONG: &str = "it is longer than an edge's messages are; its beginning is kept";
pub const UNREADABLE: &str = "an edge wrote it, and this version cannot read it";
pub const MISROUTED: &str = "an edge wrote it for another partition than the one in whose queue it stood";
pub const NO_PLACE: &str = "no alert is opened: the governor has as many open alerts of rules as it may have";
pub const POISON: &str = "taking it has ended the processor again and again";
