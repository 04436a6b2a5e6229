//! A line over several processes, with a real RabbitMQ between them: what an edge has answered is decided once, in the
//! order of its tenant, whatever the broker and the processes go through.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it wants")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::float_cmp, reason = "the metrics that are asked for count")]

#[path = "../crash/checker_program.rs"]
mod checker_program;
mod cluster;
mod firestore;
mod firestore_fake;
mod history;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../it/http.rs"]
mod http;
mod ledger;
mod line;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../it/node.rs"]
mod node;
mod outages;
#[cfg(feature = "faults")]
mod planted;
mod proxy;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../it/rabbit.rs"]
mod rabbit;
mod restarts;
mod secure;
mod sharing;
mod strays;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../it/targets.rs"]
mod targets;
#[path = "../it/tools.rs"]
mod tools;
mod topology;
