//! What both planes share of the network: listeners and the form of errors.

pub mod listen;
pub mod problem;
