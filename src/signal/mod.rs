//! A signal: who it concerns, what it says, and how far its origin is proven.
//!
//! Made by [`parse`], which takes only what [`crate::signature`] verified (promise P6), and read back from journal, broker
//! and stores; all of them build it by [`Unchecked::check`]. The text stays where it arrived: names are spans of the body, so a
//! signal moves through the line without a copy.
//!
//! Names keep one rule, wherever they come from:
//!
//! ```
//! use gemba::signal::Name;
//!
//! assert_eq!(&*Name::read("tenant", "acme-1")?, "acme-1");
//! assert!(Name::read("tenant", "Acme").is_err());
//! # Ok::<(), gemba::signal::Illegal>(())
//! ```

mod attributes;
mod checked;
pub mod identity;
mod json;
pub mod names;
mod parse;
mod unfit;

pub use crate::names::{Assurance, Identified, Illegal, Name, Provenance, Rule, is_name};
pub use checked::{Severity, Signal, Signals, Unchecked};
pub use identity::Fingerprint;
pub use json::is_strict;
pub use names::Text;
pub use parse::{Fixed, Form, UnsupportedForm, parse};
pub use unfit::{Reason, Unfit};

#[cfg(test)]
mod tests;
