//! RabbitMQ between the machines of a line (roles `edge` and `processor`). The broker is transport behind the journal:
//! an edge answers before it, publishes what is durable, and gives its segments back when they are confirmed; a
//! processor takes what an edge sent into its own journal before it acknowledges (promise P1). Order and once-only come
//! from the edges' own numbers, never from the broker (P2, P3).
//!
//! `message`, `batch`, `delivery` and `order` are pure; `publisher` and `consumer` wait on the broker.

pub mod batch;
pub mod consumer;
mod deadline;
pub mod delivery;
pub mod mac;
pub mod message;
pub mod note;
pub mod order;
pub mod publisher;
pub mod queues;
mod stop;
pub mod suspect;
pub mod topology;
pub mod trace;
pub mod trouble;
pub mod window;

#[cfg(test)]
mod tests;
