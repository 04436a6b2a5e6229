//! Proof: the transparency log's mathematics and texts. Pure.

pub mod note;
pub mod tree;
