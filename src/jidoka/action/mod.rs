//! Carrying out actions: what a target is, and who calls it. The intent is journalled before a call and its outcome
//! after it, so an action runs at least once; its id is the key under which a target can tell a repetition (promise
//! P2). Whatever hangs, hangs alone (P7): each target has its own queue, its own cap, its own breaker.
//!
//! `gate`, `retry`, `payload`, `shape` and `uncalled` are pure; `executor` drives the calls; `webhook`, `amqp` and `log` make them.

pub mod amqp;
mod carry;
mod executor;
mod gate;
mod log;
mod payload;
mod queue;
mod retry;
mod shape;
mod tally;
mod targets;
mod time_anchor;
mod trail;
mod tries;
mod uncalled;
pub mod webhook;

pub use executor::{Executor, LineMarks, Watch};
pub use gate::Bounds;
pub use shape::{ShapeCompiler, WebhookShape};
pub use targets::{Kind, Target, Targets};
