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
//! Modules stand in the order of the way of a signal. Imports flow one way: words, ground, the line, assembly. The repository's
//! `docs/architecture.md` follows one signal through them and says which test shows which promise.
//!
//! The crate is the binary `gemba`. Beside its entry, [`cli::run`], others may use [`signature`], [`signal`], [`receipt`] and
//! [`proof`]: who signs signals or verifies receipts needs no more.
//!
//! The first step, outside the line: nothing is read from a body before its signature was verified.
//!
//! ```
//! use gemba::signal::{Fixed, Form, Signals, parse};
//! use gemba::signature::{Keyring, Scheme};
//! use hyper::HeaderMap;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret: &[u8] = b"a secret of at least 24 bytes";
//! let keyring = Keyring::new("signals", Scheme::Hmac, &[("k1", secret)], 300)?;
//!
//! let body = r#"{"id":"s-1","tenant":"acme","sku":"vm","type":"cost.usage","data":{"spend":81.25}}"#;
//! let now = 1_700_000_000;
//! let mut headers = HeaderMap::new();
//! for (name, value) in keyring.sign(body.as_bytes(), "s-1", now) {
//!     headers.insert(name, value.parse()?);
//! }
//!
//! let verified = keyring.verify(&headers, body.into(), now)?;
//! let Signals::One(signal) = parse(verified, Form::Single, &Fixed::default()).map_err(|unfit| unfit.to_string())? else { unreachable!() };
//! assert_eq!((signal.tenant(), signal.sku(), signal.id()), ("acme", "vm", "s-1"));
//! # Ok(())
//! # }
//! ```

#![cfg_attr(test, allow(clippy::wildcard_enum_match_arm, reason = "a test names what it wants"))]
#![cfg_attr(not(feature = "inside"), warn(missing_docs))]

/// Every module. Others see those that are named below; the feature `inside` opens the rest to tests, benches and fuzz targets.
/// Without it the compiler names what nothing uses.
// Its files stand in src, not in a directory of its own.
#[path = ""]
mod inside {
    // Words: pure; no I/O, clock, randomness or threads.
    pub mod alert;
    pub mod board_view;
    pub mod case;
    pub mod codec;
    pub mod event;
    pub mod expression;
    pub mod halt;
    pub mod ids;
    pub mod improvement;
    pub mod limits;
    pub mod manifest;
    pub mod names;
    pub mod percent;
    pub mod place;
    pub mod printable;
    pub mod proof;
    pub mod receipt;
    pub mod rfc3339;
    pub mod sharing;
    pub mod signal;
    pub mod signature;
    pub mod tapped;
    pub mod trace;
    pub mod variants;
    pub mod view;

    // Ground: machinery.
    pub mod clock;
    pub mod config;
    pub mod descriptors;
    pub mod diagnostics;
    pub mod disk;
    pub mod fault;
    pub mod framed_log;
    pub mod kaizen;
    pub mod logging;
    pub mod net;
    pub mod ring;
    pub mod service_manager;

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
}

pub use inside::{cli, proof, receipt, signal, signature};

#[cfg(not(feature = "inside"))]
#[expect(clippy::wildcard_imports, reason = "`crate::event` is written everywhere, whoever may see it")]
use inside::*;
#[cfg(feature = "inside")]
pub use inside::*;
