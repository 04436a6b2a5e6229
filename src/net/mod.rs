//! What is shared of the network: listeners, the way out, brokers, and the form of errors.

pub mod address;
pub mod amqp;
pub mod answer;
pub mod backoff;
pub mod caller;
pub mod certificate;
pub mod client;
pub mod client_tls;
mod duplex;
pub mod egress;
pub mod firestore;
pub mod host;
pub mod listen;
pub mod otlp;
pub mod plane;
pub mod post;
pub mod problem;
pub mod retry;
pub mod smtp;
pub mod strict;
pub mod tls;

pub use duplex::Duplex;
