//! The governor: one state machine per tenant and SKU (promises P3 and P8; blueprint 3A, its holes filled in
//! [`table`]). Pure: [`Governor::step`] reads its event's own stamp and nothing else, and says in [`Effects`] what
//! should happen; the shard's stage makes it happen. What a governor knows survives in `codec`'s bytes.
//!
//! Every accepted signal gets exactly one final receipt, named by the signal's own number and ordinal 0, whether it
//! is decided at once or after it waited. What outcomes, timers and operators cause is named by their own number.

mod alarms;
mod armed;
mod bare;
mod codec;
mod deliveries;
mod effects;
mod known;
mod machine;
mod mailbox;
mod quota;
pub mod reason;
mod state;
pub mod table;
#[cfg(test)]
mod tests;
mod turn;

pub use bare::Bare;
pub use codec::{Damage, decode_signal, encode_held, encode_signal};
#[cfg(test)]
pub use effects::Intent;
pub use effects::{ActionRequest, Arm, Effects};
pub use known::key;
pub use machine::Governor;
