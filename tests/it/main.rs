//! Tests of the whole program from outside: the real binary, real sockets, real files.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod drain;
mod http;
mod layout;
mod node;
mod readme;
#[cfg(feature = "faults")]
mod supervision;
