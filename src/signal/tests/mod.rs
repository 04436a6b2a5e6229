//! What is a signal and what is not.

mod batch;
mod binary;
mod json;
mod rules;
mod types;

use bytes::Bytes;

use super::*;
use crate::signature::Verified;

fn fixed() -> Fixed {
    Fixed::default()
}

fn one(body: &[u8], fixed: &Fixed) -> Result<Signal, Unfit> {
    match parse(Verified::assumed(Bytes::copy_from_slice(body)), Form::Single, fixed)? {
        Signals::One(signal) => Ok(signal),
        Signals::Batch(_) => panic!("a single signal is no batch"),
    }
}

/// Why a single signal was refused.
fn reason(body: &str, fixed: &Fixed) -> Reason {
    match one(body.as_bytes(), fixed) {
        Err(Unfit::Items { batch: false, mut items }) if items.len() == 1 => {
            let (index, reason) = items.remove(0);
            assert_eq!(index, 0);
            reason
        }
        other => panic!("{body}: {other:?}"),
    }
}

fn illegal(field: &'static str, rule: Rule, found: usize) -> Reason {
    Reason::Illegal(Illegal { field, rule, found })
}

/// A signal with `more` members behind the required ones.
fn with(more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(r#"{{"id":"s-1","tenant":"acme","sku":"vm","type":"cost.usage"{comma}{more}}}"#)
}
