//! What is shared of the network: listeners, the way out, brokers, and the form of errors.

pub mod amqp;
pub mod backoff;
pub mod client;
pub mod egress;
pub mod firestore;
pub mod listen;
pub mod problem;
pub mod tls;
