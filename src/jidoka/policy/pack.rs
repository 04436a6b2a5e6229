//! One policy pack, checked and compiled: plain data, from which [`PolicySet`](super::PolicySet) decides.

use std::sync::Arc;

use serde::Deserialize;
use strum::IntoStaticStr;

use super::alert::RuleAlert;
use super::example::Example;
use super::facts::Known;
use super::memory::{CellId, Kind};
use super::ruling::Ruling;
use crate::expression::{Expression, Names, Slot};
use crate::place::Place;
use crate::receipt::Policy;

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Act,
    Deny,
    Observe,
}

/// A checked pack.
#[derive(Debug)]
pub struct Pack {
    pub name: Box<str>,
    /// SHA-256 of its text.
    pub content_hash: [u8; 32],
    pub rules: Vec<Rule>,
    pub memories: Vec<Declared>,
    pub names: Names,
    pub known: Known,
    /// What an error names that concerns no rule of it.
    pub policy: Arc<Policy>,
}

/// A checked rule.
#[derive(Debug)]
pub struct Rule {
    pub id: Box<str>,
    /// Signal types that it is tried on; of an empty list, all.
    pub types: Vec<Box<str>>,
    pub verdict: Verdict,
    /// What to do, where the verdict is to act; and where that is written.
    pub action: Option<(Arc<str>, Place)>,
    pub ruling: Ruling,
    /// Raised whenever it decides, whatever its verdict.
    pub alert: Option<RuleAlert>,
    pub examples: Vec<Example>,
    pub when: Expression,
    /// What it asks for, by name; without the whole of the sender's data.
    pub reads: Vec<Slot>,
}

/// A declared memory.
#[derive(Debug)]
pub struct Declared {
    pub name: Box<str>,
    pub id: CellId,
    pub kind: Kind,
    pub types: Vec<Box<str>>,
    pub window_millis: u64,
    /// What is summed; a count has none.
    pub of: Option<Expression>,
    /// Which signals are counted.
    pub when: Option<Expression>,
    pub slot: Slot,
    /// What an error names.
    pub policy: Arc<Policy>,
}
