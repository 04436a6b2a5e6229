//! What the tests share: nodes and how they end, what stands around them, and what must hold of what they leave.
//!
//! A test program takes all of it as one module, by one `#[path]`, and uses its part. It is no crate of its own: only a test program
//! is told where our program is and which features it has, and one that knows our library would let the unit tests wait until
//! both are built. `tests/it/shared.rs` finds what nobody uses.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

pub mod checker;
pub mod firestore_fake;
pub mod http;
pub mod node;
pub mod oracles;
pub mod otlp;
pub mod program;
pub mod prometheus;
pub mod pty;
pub mod rabbit;
pub mod rng;
pub mod rsyslog;
pub mod targets;
pub mod tls;
pub mod tools;
