//! Tenants who have more on its way than their share: who decides says so, who accepts refuses them and nobody else
//! (promise P5). While there are none, which is the usual case, asking costs one look at a mark for each shard.

use std::sync::Arc;

use dashmap::DashSet;

use super::mark::Mark;

/// What all shards say.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// Tenants of each shard.
    counts: Arc<[Mark]>,
    tenants: Arc<DashSet<Box<str>>>,
}

impl Crowd {
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self { counts: (0..shards).map(|_| Mark::new(0)).collect(), tenants: Arc::default() }
    }

    /// Whether this tenant must wait.
    #[must_use]
    pub fn holds(&self, tenant: &str) -> bool {
        self.counts.iter().any(|count| count.read() > 0) && self.tenants.contains(tenant)
    }

    /// What one shard says.
    #[must_use]
    pub fn of(&self, shard: usize) -> Corner {
        let count = self.counts.get(shard).cloned().unwrap_or_else(|| Mark::new(0));
        Corner { crowd: self.clone(), count, inside: 0 }
    }
}

/// One shard's part of a [`Crowd`].
#[derive(Debug)]
pub struct Corner {
    crowd: Crowd,
    count: Mark,
    inside: u64,
}

impl Corner {
    /// This tenant must wait from now on.
    pub fn enter(&mut self, tenant: &str) {
        if self.crowd.tenants.insert(tenant.into()) {
            self.inside += 1;
            self.count.publish(self.inside);
        }
    }

    /// It need not wait any more.
    pub fn leave(&mut self, tenant: &str) {
        if self.crowd.tenants.remove(tenant).is_some() {
            self.inside -= 1;
            self.count.publish(self.inside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_inside_waits() {
        let crowd = Crowd::new(2);
        let (mut one, mut other) = (crowd.of(0), crowd.of(1));
        assert!(!crowd.holds("acme"));
        one.enter("acme");
        one.enter("acme");
        other.enter("beta");
        assert!(crowd.holds("acme") && crowd.holds("beta") && !crowd.holds("gamma"));
        one.leave("acme");
        one.leave("acme");
        assert!(!crowd.holds("acme") && crowd.holds("beta"));
        other.leave("beta");
        assert!(!crowd.holds("beta"));
    }
}
