//! What is shared of the network: listeners, the way out, and the form of errors.

pub mod client;
pub mod egress;
pub mod listen;
pub mod problem;
pub mod tls;
