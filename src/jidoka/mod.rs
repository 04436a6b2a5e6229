//! Jidoka, the third layer: decides on every signal with one state machine per tenant and SKU, and stops the line
//! where something fails (promises P3, P7, P8). `governor`, `policy`, `breaker`, `rules`, `dead_letter`, `fair_queue` and
//! `timers` are pure; `action` carries out what was decided; `store` keeps what the governors know, so that a restart
//! need not replay the whole journal.

pub mod action;
pub mod alerts;
pub mod breaker;
pub mod dead_letter;
mod decisions;
mod directory;
pub mod fair_queue;
pub mod governor;
mod halts;
mod inbox;
mod outlet;
pub mod ownership;
pub mod policy;
pub mod query;
mod release;
mod roster;
pub mod rules;
pub mod stage;
pub mod store;
pub mod tap;
mod tenants;
pub mod timers;
pub mod what_if;
