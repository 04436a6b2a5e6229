//! Policy packs: which signals lead to an action, which are denied, which are only seen, by rules that a user writes.
//! Compiled once; per signal only the rules of its type are tried, over facts that one pass reads from its body. Pure:
//! the same signal, state and memory give the same decision (promise P8), and an expression that fails is an answer of
//! its own, never taken as false.

mod alert;
mod check;
pub mod example;
mod facts;
mod memory;
mod pack;
mod ruling;
mod set;
#[cfg(test)]
mod shipped;
mod shown;
#[cfg(test)]
mod tests;
pub mod trial;

pub use facts::{DOCUMENT, Question};
pub use memory::Memory;
pub use pack::Pack;
pub use ruling::{Decision, Ruling, Unfit};
pub use set::{Policies, PolicySet, Room};
