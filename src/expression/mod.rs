//! Expressions of policy packs and mappings: CEL, parsed by the crate `cel` and compiled here.
//!
//! The crate alone lacks a limit of cost, a check before the first run, and speed. So a text is checked once, against
//! the names that are declared: what no run could ever take is [`Wrong`], with line and column. What remains is a tree
//! over slots. For each signal a [`Reader`] fills [`Facts`] in one pass over the body, and an [`Expression`] runs over
//! them within its [`Steps`]. The meaning is that of CEL's specification, and of the crate where that
//! leaves it open; docs/policies.md lists what differs. `&&` and `||` treat errors as CEL has it: one side that decides
//! alone makes the other side's error void. A part without names is evaluated once, and refused if that fails.
//!
//! Numbers of JSON are doubles, as JSON has them; ints are written in the expression or made by `int` and `size`. The
//! two can be compared and do not mix in arithmetic. There are no uints, bytes, types, optionals or messages.
//!
//! Pure: no I/O, no clock; the same facts give the same result (P8).

mod advice;
mod check;
mod compiled;
mod fault;
mod functions;
mod json;
mod kinds;
mod names;
mod parse;
mod paths;
mod pattern;
mod read;
mod run;
mod scan;
mod slot;
mod steps;
mod time;
mod tree;
mod value;
mod wrong;

pub use compiled::Expression;
pub use fault::Fault;
pub use kinds::Type;
pub use names::Names;
pub use read::{Body, Facts, Reader};
pub use slot::Slot;
pub use steps::Steps;
#[cfg(feature = "inside")]
pub use value::Key;
pub use value::{List, Map, Value};
pub use wrong::Wrong;

/// What `duration()` reads, in whole milliseconds; `None` for what it does not read, and for less than none.
pub fn duration_millis(text: &str) -> Option<u64> {
    u64::try_from(time::duration(text)?.num_milliseconds()).ok()
}

#[cfg(test)]
mod tests;
