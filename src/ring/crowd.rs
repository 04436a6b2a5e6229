//! What waits in memory is bounded for the whole node, and tenants share it (promise P5). Who decides says what is used and
//! which tenants have more than their share; who accepts refuses those, and everybody once all is used. While there is room,
//! which is the usual case, asking costs one look at a mark for each shard.

use std::sync::Arc;

use dashmap::DashSet;

use super::mark::Mark;

/// So much memory is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Signals that wait, in bytes.
    pub bytes: u64,
    pub governors: u64,
    /// Tenants that have governors.
    pub tenants: u64,
}

/// Of one thing: the tenants that use more of it than their share, and all that they use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Over {
    pub tenants: u64,
    pub used: u64,
}

/// What a node may use.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub bytes: u64,
    pub governors: u64,
}

/// What there is no more room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    Waiting,
    Governors,
}

/// What all shards say.
#[derive(Clone, Debug)]
pub struct Crowd {
    room: Room,
    shards: Arc<[Marks]>,
    tenants: Arc<DashSet<Box<str>>>,
}

/// What one shard says.
#[derive(Clone, Debug)]
struct Marks {
    /// Tenants of it that must wait.
    inside: Mark,
    bytes: Mark,
    governors: Mark,
    tenants: Mark,
    over_bytes: OverMarks,
    over_governors: OverMarks,
}

#[derive(Clone, Debug)]
struct OverMarks {
    tenants: Mark,
    used: Mark,
}

impl OverMarks {
    fn new() -> Self {
        Self { tenants: Mark::new(0), used: Mark::new(0) }
    }

    fn publish(&self, over: Over) {
        self.tenants.publish(over.tenants);
        self.used.publish(over.used);
    }
}

impl Crowd {
    #[must_use]
    pub fn new(shards: usize, room: Room) -> Self {
        let zero = || Mark::new(0);
        let marks = || Marks {
            inside: zero(),
            bytes: zero(),
            governors: zero(),
            tenants: zero(),
            over_bytes: OverMarks::new(),
            over_governors: OverMarks::new(),
        };
        Self { room, shards: (0..shards).map(|_| marks()).collect(), tenants: Arc::default() }
    }

    /// Whether this tenant must wait.
    #[must_use]
    pub fn holds(&self, tenant: &str) -> bool {
        self.shards.iter().any(|shard| shard.inside.read() > 0) && self.tenants.contains(tenant)
    }

    /// What there is no room for, whoever asks.
    #[must_use]
    pub fn spent(&self) -> Option<Spent> {
        let used = self.used();
        if used.bytes >= self.room.bytes {
            Some(Spent::Waiting)
        } else if used.governors >= self.room.governors {
            Some(Spent::Governors)
        } else {
            None
        }
    }

    /// What all shards use.
    #[must_use]
    pub fn used(&self) -> Used {
        let sum = |mark: fn(&Marks) -> &Mark| self.shards.iter().map(|shard| mark(shard).read()).sum();
        Used {
            bytes: sum(|shard| &shard.bytes),
            governors: sum(|shard| &shard.governors),
            tenants: sum(|shard| &shard.tenants),
        }
    }

    fn over(&self, marks: fn(&Marks) -> &OverMarks) -> Over {
        let sum =
            |mark: fn(&OverMarks) -> &Mark| self.shards.iter().map(|shard| mark(marks(shard)).read()).sum();
        Over { tenants: sum(|over| &over.tenants), used: sum(|over| &over.used) }
    }

    /// One shard's part.
    ///
    /// # Panics
    /// Where there is no such shard.
    #[must_use]
    pub fn of(&self, shard: usize) -> Corner {
        Corner { crowd: self.clone(), marks: self.shards[shard].clone(), inside: 0 }
    }
}

/// One shard's part of a [`Crowd`].
#[derive(Debug)]
pub struct Corner {
    crowd: Crowd,
    marks: Marks,
    inside: u64,
}

impl Corner {
    /// This tenant must wait from now on.
    pub fn enter(&mut self, tenant: &str) {
        if self.crowd.tenants.insert(tenant.into()) {
            self.inside += 1;
            self.marks.inside.publish(self.inside);
        }
    }

    /// It need not wait any more.
    pub fn leave(&mut self, tenant: &str) {
        if self.crowd.tenants.remove(tenant).is_some() {
            self.inside -= 1;
            self.marks.inside.publish(self.inside);
        }
    }

    /// Says which of this shard's tenants use more than the share, in bytes and in governors.
    pub fn tell(&mut self, bytes: Over, governors: Over) {
        self.marks.over_bytes.publish(bytes);
        self.marks.over_governors.publish(governors);
    }

    /// Says what this shard uses. Returns what one tenant may have, if the node has used three quarters of its room for
    /// something: these three quarters, less what those use who have less, in equal parts for those who have more. The last
    /// quarter is left to those who have less.
    ///
    /// It begins with an equal part for everybody, and rises as tenants are found who use less.
    pub fn share(&mut self, used: Used) -> Option<Used> {
        self.marks.bytes.publish(used.bytes);
        self.marks.governors.publish(used.governors);
        self.marks.tenants.publish(used.tenants);
        let (used, room) = (self.crowd.used(), self.crowd.room);
        let part = |now: u64, room: u64, over: fn(&Marks) -> &OverMarks| {
            let most = room / 4 * 3;
            if now <= most {
                return u64::MAX;
            }
            let Over { tenants, used: theirs } = self.crowd.over(over);
            let others = now.saturating_sub(theirs);
            let share = most.saturating_sub(others).checked_div(tenants).unwrap_or(0);
            // A tenant with a single governor is never the one that has too many.
            share.max(most / used.tenants.max(1)).max(1)
        };
        let bytes = part(used.bytes, room.bytes, |marks| &marks.over_bytes);
        let governors = part(used.governors, room.governors, |marks| &marks.over_governors);
        (bytes < u64::MAX || governors < u64::MAX).then_some(Used { bytes, governors, tenants: 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { bytes: 400, governors: 40 };

    #[test]
    fn only_who_is_inside_waits() {
        let crowd = Crowd::new(2, ROOM);
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

    #[test]
    fn a_share_is_asked_for_above_three_quarters_and_all_wait_above_all() {
        let crowd = Crowd::new(2, ROOM);
        let (mut one, mut other) = (crowd.of(0), crowd.of(1));
        let used = |bytes, governors, tenants| Used { bytes, governors, tenants };
        assert_eq!(one.share(used(200, 20, 2)), None);
        assert_eq!(other.share(used(100, 10, 1)), None);
        assert_eq!(other.share(used(101, 10, 1)), Some(used(100, u64::MAX, 1)));
        assert_eq!(other.share(used(100, 11, 1)), Some(used(u64::MAX, 10, 1)));
        assert_eq!(crowd.spent(), None);
        other.share(used(200, 11, 1));
        assert_eq!(crowd.spent(), Some(Spent::Waiting));
        other.share(used(100, 20, 1));
        assert_eq!(crowd.spent(), Some(Spent::Governors));
    }
}
