//! The halts that hold, as each decision looks at them: nothing is looked up while there are none.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::halt::{Halt, HaltScope};

/// By what they hold up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Halts {
    line: Option<Arc<Halt>>,
    tenants: BTreeMap<Box<str>, Arc<Halt>>,
    targets: BTreeMap<Box<str>, Arc<Halt>>,
}

impl Halts {
    /// Of each scope the last one counts.
    #[must_use]
    pub fn new(halts: &[Halt]) -> Self {
        let mut known = Self::default();
        for halt in halts {
            let held = Arc::new(halt.clone());
            match &halt.scope {
                HaltScope::Line => known.line = Some(held),
                HaltScope::Tenant(tenant) => {
                    known.tenants.insert(tenant.clone(), held);
                }
                HaltScope::Target(target) => {
                    known.targets.insert(target.clone(), held);
                }
            }
        }
        known
    }

    /// What holds up every signal of this tenant.
    #[must_use]
    pub fn of_tenant(&self, tenant: &str) -> Option<&Halt> {
        self.line.as_ref().or_else(|| self.tenants.get(tenant)).map(|halt| &**halt)
    }

    /// Each halt that holds up this tenant, the line's first.
    pub fn all_of_tenant(&self, tenant: &str) -> impl Iterator<Item = &Halt> {
        self.line.iter().chain(self.tenants.get(tenant)).map(|halt| &**halt)
    }

    /// Halts of targets, by their names.
    pub fn targets(&self) -> impl Iterator<Item = &Halt> {
        self.targets.values().map(|halt| &**halt)
    }

    /// What holds up every action of this name.
    #[must_use]
    pub fn of_target(&self, target: &str) -> Option<&Halt> {
        self.targets.get(target).map(|halt| &**halt)
    }
}
