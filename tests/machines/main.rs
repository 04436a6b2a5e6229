//! A line over several processes, with a real RabbitMQ between them: what an edge has answered is decided once, in the
//! order of its tenant, whatever the broker and the processes go through.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it wants")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::float_cmp, reason = "the metrics that are asked for count")]

mod cluster;
mod firestore;
mod history;
mod ledger;
mod line;
mod outages;
#[cfg(feature = "faults")]
mod planted;
mod profiles;
mod proxy;
mod restarts;
mod secure;
mod sharing;
mod strays;
#[path = "../support/mod.rs"]
mod support;
mod topology;
mod traces;

use support::{
    checker, firestore_fake, http, node, otlp, program, prometheus, rabbit, rsyslog, targets, tls, tools,
};
