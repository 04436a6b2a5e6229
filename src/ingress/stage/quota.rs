//! What a tenant may send, and how slowly it is refused more.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::{Ingress, Source};
use crate::clock;
use crate::ingress::answer::Refused;
use crate::ingress::body;
use crate::ingress::connection::Watch;
use crate::ingress::rate::{Leases, RetryAfter};
use crate::kaizen::Counter;
use crate::signal::Signals;

/// Stands for the tenant of a request that names none.
const NO_TENANT: u64 = 0;

impl Ingress {
    /// Spends the rate of each tenant in the unit, of a body of so many bytes: all or nothing.
    ///
    /// # Errors
    /// A tenant's rate is used up, or it has more signals waiting for their decision than its share. Its connection may
    /// have to rest before it hears of it.
    pub fn take_rate(&self, watch: &Watch, signals: &Signals, bytes: usize) -> Result<(), Refused> {
        let mut leases = self.leases.borrow_mut();
        let batch = match signals {
            Signals::One(signal) => {
                watch.carries(Some(leases.key(signal.tenant())));
                return self.take_for(&mut leases, watch, (signal.tenant(), 1), bytes);
            }
            Signals::Batch(batch) => batch,
        };
        let mut tenants: Vec<(&str, u32)> = Vec::new();
        for signal in batch {
            match tenants.iter_mut().find(|(tenant, _)| *tenant == signal.tenant()) {
                Some((_, count)) => *count += 1,
                None => tenants.push((signal.tenant(), 1)),
            }
        }
        watch.carries(match *tenants {
            [(only, _)] => Some(leases.key(only)),
            _ => None,
        });
        for (index, share) in tenants.iter().enumerate() {
            if let Err(refused) = self.take_for(&mut leases, watch, *share, bytes) {
                for (tenant, count) in &tenants[..index] {
                    leases.give_back(tenant, *count);
                }
                return Err(refused);
            }
        }
        Ok(())
    }

    /// Spends the rate of one tenant.
    fn take_for(
        &self,
        leases: &mut Leases,
        watch: &Watch,
        (tenant, count): (&str, u32),
        bytes: usize,
    ) -> Result<(), Refused> {
        let now = clock::nanos();
        if self.crowd.holds(tenant) {
            watch.rest(leases.refuse(tenant, bytes, now), now);
            return Err(Refused::Crowd);
        }
        leases.take(tenant, count, now).map_err(|RetryAfter { nanos }| {
            let rest = watch.rest(leases.refuse(tenant, bytes, now), now);
            Refused::Rate { retry_after: RetryAfter { nanos: nanos.saturating_sub(rest) }.seconds() }
        })
    }

    /// A signed request of `client` at `source`, with so many bytes, is no signal. Its connection may have to rest.
    pub fn slow_unfit(&self, watch: &Watch, client: IpAddr, source: &Source, bytes: usize) {
        let now = clock::nanos();
        // Who it is of cannot be told, unless the source lays it down: others' signals may come the same way.
        let tenant = source.fixed.tenant.as_deref();
        watch.carries(Some(tenant.map_or(NO_TENANT, |tenant| self.leases.borrow().key(tenant))));
        watch.rest(self.guard.borrow_mut().unfit(client, &source.name, bytes, now), now);
    }

    /// Waits so many nanoseconds while the connection rests; not when it closes, and not when what waits takes too much
    /// memory.
    pub async fn rest(&self, watch: &Watch, client: IpAddr, nanos: u64) {
        self.count(Counter::AnswersDelayed, 1);
        let charge = self.memory.open(client, clock::nanos());
        let mut rested = pin!(body::hold(charge, 0, Duration::from_nanos(nanos)));
        let mut closes = pin!(watch.closes());
        poll_fn(|cx| {
            if closes.as_mut().poll(cx).is_ready() || rested.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
}
