//! Ingress: signals come in over HTTP, are verified, parsed, rated, and offered to the journal; the answer goes out
//! when the journal says that they are durable. Callbacks of channels come the same way, and are answered when their alerts are changed.

pub mod acceptor;
mod admission;
pub mod answer;
mod body;
pub mod callback;
pub mod client_address;
mod connection;
mod frames;
pub mod guard;
mod http1;
mod http2;
mod intake;
mod memory_budget;
mod outbox;
mod pace;
pub mod rate;
pub mod stage;
mod traced;
mod under_way;
mod waiting;
