//! Gemba: verifies signed signals, makes them durable, decides on each with a state machine per tenant
//! and SKU, acts, and leaves a proof of every decision.
//!
//! ```text
//!         ingress-k                    journal                     shard-j                        scribe
//!  HTTP ▶ read, verify,   ─arrivals▶ dedup, stamp, append ─events▶ governor.step(event) ─drafts▶ hash, tree, sign batch,
//!         rate, parse                fdatasync                       │                            append, fdatasync
//!       ◀ 202            ◀──acks──  (group commit)               intents
//!                                      ▲                             ▼
//!                                      └────── outcomes ──────── outbound (async): actions
//! ```
//!
//! Modules stand in the order of the way of a signal. Imports flow one way: words, ground, the line, assembly.

#![cfg_attr(test, allow(clippy::wildcard_enum_match_arm, reason = "a test names what it wants"))]

// Words: pure; no I/O, clock, randomness or threads.
pub mod case;
pub mod codec;
pub mod event;
pub mod expression;
pub mod limits;
pub mod percent;
pub mod place;
pub mod proof;
pub mod receipt;
pub mod rfc3339;
pub mod sharing;
pub mod signal;
pub mod signature;
pub mod variants;
pub mod view;

// Ground: machinery.
pub mod clock;
pub mod config;
pub mod descriptors;
pub mod diagnostics;
pub mod disk;
pub mod fault;
pub mod kaizen;
pub mod net;
pub mod ring;

// The line.
pub mod andon;
pub mod ingress;
pub mod jidoka;
pub mod kanban;
pub mod operator;

// Assembly.
pub mod cli;
pub mod line;
pub mod load;
