//! An expression that is taken means what the crate `cel` makes of it, or is an error to both; and no text ends the
//! process. The input is an expression and, after an empty line, the document that is `signal.data`.
//!
//! The crate evaluates only what is within our limits: it ends the process on a tree that is too deep.
#![no_main]

use gemba::expression::{Expression, Names, Type};
use gemba_fuzz::oracle;
use libfuzzer_sys::fuzz_target;

/// Documents beyond this only make rounds slow.
const DOCUMENT_BYTES_MAX: usize = 2048;

fuzz_target!(|input: &str| {
    let Some((text, document)) = input.split_once("\n\n") else {
        let _ = Expression::compile(input, &mut Names::new(), Type::Bool);
        return;
    };
    if document.len() > DOCUMENT_BYTES_MAX {
        return;
    }
    let Ok(document) = serde_json::from_str(document) else { return };
    if let Err(difference) = oracle::compare(text, &document) {
        panic!("{difference}");
    }
});
