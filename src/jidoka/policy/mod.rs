//! Policy packs: which signals lead to an action, which are denied, which are only seen.

use std::sync::Arc;

use foldhash::HashMap;

use crate::event::UnixMillis;
use crate::receipt::{Policy, StateName};
use crate::signal::Signal;

#[derive(Debug, Default)]
pub struct Memory;

#[derive(Debug)]
pub struct Question<'a> {
    pub signal: &'a Signal,
    pub now: UnixMillis,
    pub state: StateName,
    pub entitled: bool,
    pub quota_remaining: u32,
    pub testing: bool,
    pub failures: u32,
}

/// What a rule says where it holds.
#[derive(Debug)]
pub struct Ruling {
    pub policy: Arc<Policy>,
    pub reason: Arc<str>,
}

#[derive(Debug)]
pub enum Decision<'p> {
    Observe(Option<&'p Ruling>),
    Deny(&'p Ruling),
    Act(&'p Ruling, &'p Arc<str>),
}

#[derive(Debug)]
pub struct Unfit {
    pub policy: Arc<Policy>,
    pub detail: Arc<str>,
}

#[derive(Debug, Default)]
pub struct Policies(PolicySet);

#[derive(Debug, Default)]
pub struct PolicySet(HashMap<Box<str>, (Ruling, Arc<str>)>);

impl Policies {
    /// Acts on these types.
    #[must_use]
    pub fn acting_on(types: &[&str], action: &str) -> Self {
        let rule = |kind: &str| {
            let policy = Policy { pack: "config".into(), rule: kind.into(), content_hash: [0; 32] };
            let ruling = Ruling { policy: Arc::new(policy), reason: "configured".into() };
            (kind.into(), (ruling, action.into()))
        };
        Self(PolicySet(types.iter().map(|kind| rule(kind)).collect()))
    }

    /// Acts on these types, too.
    #[must_use]
    pub fn and_on(mut self, types: &[&str], action: &str) -> Self {
        self.0.0.extend(Self::acting_on(types, action).0.0);
        self
    }

    #[must_use]
    pub fn of(&self, _tenant: &str) -> &PolicySet {
        &self.0
    }
}

impl PolicySet {
    pub fn decide(
        &self,
        question: &Question<'_>,
        _memory: &mut Option<Box<Memory>>,
    ) -> Result<Decision<'_>, Unfit> {
        Ok(match self.0.get(question.signal.kind()) {
            Some((ruling, action)) => Decision::Act(ruling, action),
            None => Decision::Observe(None),
        })
    }

    pub fn remember(
        &self,
        _question: &Question<'_>,
        _memory: &mut Option<Box<Memory>>,
    ) -> Result<(), Unfit> {
        Ok(())
    }
}
