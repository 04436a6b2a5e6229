//! Tests of the whole program from outside: the real binary, real sockets, real files.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it wants")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod actions;
mod bad_requests;
mod broker;
mod clock;
mod descriptors;
mod documentation;
mod drain;
mod examples;
mod good_requests;
mod governance;
mod h2;
#[allow(dead_code, reason = "other tests use the rest")]
mod hostile;
mod http;
mod layout;
mod limits;
mod listening;
mod load;
mod logging;
#[cfg_attr(feature = "faults", allow(dead_code, reason = "other tests use the rest"))]
mod node;
mod not_signals;
mod operator;
mod parts;
mod plane;
mod process;
#[allow(dead_code, reason = "other tests use the rest")]
mod rabbit;
mod readme;
mod refusals;
mod room;
mod senders;
mod signals;
mod stops;
mod strangers;
mod streams;
#[cfg(feature = "faults")]
mod supervision;
mod targets;
mod tools;
mod wire;
