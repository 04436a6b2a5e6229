//! Actions that are out while their governor goes on. Each is known until its outcome, so that a crash loses none; where there is
//! no room for one more, the governor waits for that one.

use std::time::Duration;

use super::armed::Armed;
use super::effects::Intent;
use super::state::Flight;
use crate::event::UnixMillis;
use crate::limits::{DELIVERIES_BYTES_MAX, DELIVERIES_MAX, DELIVERY_SLACK, WAITING_BYTES};

/// In the order in which they were ordered; there is at least one.
#[derive(Debug)]
pub struct Deliveries(Vec<Flight>);

impl Deliveries {
    /// With this one more; `None`, and nothing changed, where there is no room.
    pub fn put(known: &mut Option<Box<Self>>, flight: Flight) -> Option<Flight> {
        let (count, bytes) = known.as_deref().map_or((0, 0), |known| (known.0.len(), known.bytes()));
        if count >= DELIVERIES_MAX || bytes + cost(&flight.intent) > DELIVERIES_BYTES_MAX {
            return Some(flight);
        }
        match known {
            Some(known) => known.0.push(flight),
            None => *known = Some(Box::new(Self(vec![flight]))),
        }
        None
    }

    /// Takes out those that `ends` names.
    pub fn take(known: &mut Option<Box<Self>>, mut ends: impl FnMut(&Flight) -> bool) -> Vec<Flight> {
        let Some(all) = known.as_deref_mut() else { return Vec::new() };
        let taken = all.0.extract_if(.., |flight| ends(flight)).collect();
        if all.0.is_empty() {
            *known = None;
        }
        taken
    }

    pub fn iter(&self) -> impl Iterator<Item = &Flight> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// When the first of them is given up.
    pub fn first_ends(&self) -> Option<Armed> {
        let first = self.0.iter().min_by_key(|flight| (flight.deadline.due, flight.deadline.by))?;
        Some(Armed { due: over(first), ..first.deadline })
    }

    /// What they take.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|flight| cost(&flight.intent)).sum()
    }
}

/// When its governor gives up on it: the target's own end of it comes before, as an outcome.
pub fn over(flight: &Flight) -> UnixMillis {
    let slack = u64::try_from(Duration::as_millis(&DELIVERY_SLACK)).unwrap_or(u64::MAX);
    UnixMillis(flight.deadline.due.0.saturating_add(slack))
}

fn cost(intent: &Intent) -> usize {
    intent.signal.body().len() + WAITING_BYTES
}
