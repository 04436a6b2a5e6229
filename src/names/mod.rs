//! Names and their rules, and what a signature proves of whoever gave them.

mod provenance;
mod rules;

pub use provenance::{Assurance, Identified, Provenance};
pub use rules::{Illegal, Name, Rule, check_body, is_name};
