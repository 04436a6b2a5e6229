//! Tests of the whole program from outside: the real binary, real sockets, real files.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it wants")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod actions;
mod alerts;
mod audit;
mod bad_requests;
mod board;
mod broker;
mod callbacks;
mod clock;
mod descriptors;
mod documentation;
mod drain;
mod examples;
mod good_requests;
mod governance;
mod h2;
mod halts;
mod hostile;
mod kaizen;
mod layout;
mod limits;
mod listening;
mod load;
mod logging;
mod logs;
mod metrics;
mod not_signals;
mod operator;
mod pages;
mod parts;
mod plane;
mod process;
mod profiles;
mod readme;
mod refusals;
mod reload;
mod remote_write;
mod room;
mod routes;
mod senders;
mod service;
mod shared;
mod signals;
mod sources;
mod stops;
mod story;
mod strangers;
mod streams;
#[cfg(feature = "faults")]
mod supervision;
#[path = "../support/mod.rs"]
mod support;
mod tap;
mod top;
mod traces;
mod wire;

use support::{http, node, otlp, program, prometheus, pty, rabbit, rsyslog, targets, tls, tools};
