//! A look at signals as they are decided: a viewer says which, and shards hand over a few of them. While nobody looks, a decision
//! costs one load of a number that nobody writes.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::queue::ArrayQueue;

use crate::clock::Instant;
use crate::kaizen::PerSecond;
use crate::limits::{TAP_KEPT_FOR, TAP_LANE, TAPPED_PER_SECOND, TAPS_MAX};
use crate::receipt::{About, Draft, Gist, Policy, ReceiptType};
use crate::ring::{Changes, Current};
use crate::signal::Signal;
use crate::tapped::TapFilter;

fn takes(filter: &TapFilter, signal: &Signal, kind: ReceiptType, policy: Option<&Policy>) -> bool {
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let by_rule = filter.rule.as_deref().is_none_or(|wanted| {
        policy.is_some_and(|Policy { pack, rule, .. }| match wanted.split_once('/') {
            Some((of, id)) => of == &**pack && id == &**rule,
            None => wanted == &**rule,
        })
    });
    is(&filter.source, &signal.provenance.source)
        && is(&filter.tenant, signal.tenant())
        && filter.result.is_none_or(|wanted| wanted == kind)
        && by_rule
}

/// A signal that was decided, and how.
#[derive(Debug)]
pub struct Tapped {
    pub gist: Gist,
    pub policy: Option<Arc<Policy>>,
    pub reason: Option<Arc<str>>,
    pub signal: Signal,
    /// Signals before it that the filter took, too, and that were not handed over.
    pub passed_over: u64,
}

/// One viewer's look.
#[derive(Debug)]
struct Tap {
    number: u64,
    filter: TapFilter,
    lane: ArrayQueue<Box<Tapped>>,
}

/// A look, and when it was asked last.
type Asked = (Arc<Tap>, Instant);

/// All looks of a node; cheap to clone.
#[derive(Clone, Debug)]
pub struct Taps {
    current: Current<Vec<Arc<Tap>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// As many viewers look as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl Default for Taps {
    fn default() -> Self {
        Self { current: Current::new(Arc::new(Vec::new())), asked: Arc::default() }
    }
}

impl Taps {
    /// Begins a look, which has `number` from here on.
    ///
    /// # Errors
    /// When as many look as may.
    pub fn begin(&self, number: u64, filter: TapFilter, now: Instant) -> Result<(), TooMany> {
        self.end_forgotten(now);
        let mut asked = self.asked();
        if asked.len() >= TAPS_MAX {
            return Err(TooMany);
        }
        asked.push((Arc::new(Tap { number, filter, lane: ArrayQueue::new(TAP_LANE) }), now));
        self.show(&asked);
        Ok(())
    }

    /// What a look was handed since it was asked last, at most `most` signals; `None` where there is no such look.
    #[must_use]
    pub fn take(&self, number: u64, most: usize, now: Instant) -> Option<Vec<Tapped>> {
        let mut asked = self.asked();
        let (tap, last) = asked.iter_mut().find(|(tap, _)| tap.number == number)?;
        *last = now;
        Some(std::iter::from_fn(|| tap.lane.pop()).take(most).map(|tapped| *tapped).collect())
    }

    /// Ends looks that nobody asks for any more.
    pub fn end_forgotten(&self, now: Instant) {
        let mut asked = self.asked();
        let before = asked.len();
        asked.retain(|(_, last)| now.saturating_duration_since(*last) < TAP_KEPT_FOR);
        if asked.len() < before {
            self.show(&asked);
        }
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, asked: &[Asked]) {
        self.current.replace(Arc::new(asked.iter().map(|(tap, _)| Arc::clone(tap)).collect()));
    }

    /// For one shard.
    #[must_use]
    pub fn spout(&self) -> Spout {
        Spout {
            changes: self.current.changes(),
            taps: Arc::default(),
            handed: PerSecond::default(),
            passed_over: Cell::new(0),
        }
    }
}

/// Where one shard hands signals over.
#[derive(Debug)]
pub struct Spout {
    changes: Changes<Vec<Arc<Tap>>>,
    taps: Arc<Vec<Arc<Tap>>>,
    handed: PerSecond,
    passed_over: Cell<u64>,
}

impl Spout {
    /// Hands a decided signal to each look that wants it.
    #[inline]
    pub fn look(&mut self, draft: &Draft) {
        if let Some(taps) = self.changes.take() {
            self.taps = taps;
        }
        if !self.taps.is_empty() {
            self.offer(draft);
        }
    }

    fn offer(&self, draft: &Draft) {
        let About::Signal(signal) = &draft.about else { return };
        let Draft { gist, policy, reason, .. } = draft;
        for tap in &*self.taps {
            if !takes(&tap.filter, signal, gist.kind, policy.as_deref()) {
                continue;
            }
            if !self.handed.takes(TAPPED_PER_SECOND) || tap.lane.is_full() {
                self.passed_over.set(self.passed_over.get() + 1);
                continue;
            }
            let passed_over = self.passed_over.replace(0);
            let (policy, reason, signal) = (policy.clone(), reason.clone(), signal.clone());
            // Only this shard's viewers fill it; one that is full by now passes this one over.
            let tapped = Box::new(Tapped { gist: *gist, policy, reason, signal, passed_over });
            if let Err(tapped) = tap.lane.push(tapped) {
                self.passed_over.set(tapped.passed_over + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::event::{Seq, UnixMillis};
    use crate::receipt::{ReceiptId, StateName};
    use crate::signal::{Assurance, Provenance, Severity, Text, Unchecked};

    fn signal(tenant: &str) -> Signal {
        Unchecked {
            id: Text::Owned("s-1".into()),
            tenant: Text::Owned(tenant.into()),
            sku: Text::Owned("vm".into()),
            kind: Text::Owned("cost.usage".into()),
            severity: Severity::Info,
            provenance: Provenance::intern("signals", "k1", Assurance::B).unwrap(),
            digest: 42,
            body: bytes::Bytes::from_static(b"{}"),
        }
        .check()
        .unwrap()
    }

    fn draft(tenant: &str, rule: Option<&str>, kind: ReceiptType) -> Draft {
        let id = ReceiptId { seq: Seq(7), ordinal: 0 };
        let (before, after) = (StateName::Stable, StateName::Stable);
        let (time, action, signal_seq) = (UnixMillis(1), None, Some(Seq(7)));
        let gist = Gist { id, time, kind, before, after, success: true, action, signal_seq };
        let policy =
            rule.map(|rule| Arc::new(Policy { pack: "p".into(), rule: rule.into(), content_hash: [0; 32] }));
        let about = About::Signal(signal(tenant));
        Draft { gist, policy, facts: None, reason: None, about, trace: None }
    }

    fn taken(filter: TapFilter, drafts: &[Draft]) -> usize {
        let (taps, now) = (Taps::default(), clock::now());
        let mut spout = taps.spout();
        taps.begin(1, filter, now).unwrap();
        for draft in drafts {
            spout.look(draft);
        }
        taps.take(1, usize::MAX, now).unwrap().len()
    }

    #[test]
    fn a_look_sees_what_it_asks_for_and_nothing_else() {
        let drafts = [
            draft("a", Some("r"), ReceiptType::ActionGenerated),
            draft("b", Some("r"), ReceiptType::PolicyDenied),
            draft("b", None, ReceiptType::Observed),
            Draft { about: About::Node, ..draft("b", None, ReceiptType::Observed) },
        ];
        let filter = |set: &dyn Fn(&mut TapFilter)| {
            let mut filter = TapFilter::default();
            set(&mut filter);
            taken(filter, &drafts)
        };
        assert_eq!(filter(&|_| {}), 3, "what is about no signal is not shown");
        assert_eq!(filter(&|filter| filter.tenant = Some("b".into())), 2);
        assert_eq!(filter(&|filter| filter.rule = Some("r".into())), 2);
        assert_eq!(filter(&|filter| filter.rule = Some("p/r".into())), 2);
        assert_eq!(filter(&|filter| filter.rule = Some("q/r".into())), 0);
        assert_eq!(filter(&|filter| filter.result = Some(ReceiptType::Observed)), 1);
        assert_eq!(filter(&|filter| filter.source = Some("elsewhere".into())), 0);
    }

    #[test]
    fn a_look_is_bounded_and_says_how_much_it_passed_over() {
        let (taps, now) = (Taps::default(), clock::now());
        let mut spout = taps.spout();
        spout.look(&draft("a", None, ReceiptType::Observed));
        taps.begin(1, TapFilter::default(), now).unwrap();
        let most = 4 * TAPPED_PER_SECOND as usize;
        for _ in 0..most {
            spout.look(&draft("a", None, ReceiptType::Observed));
        }
        let first = taps.take(1, usize::MAX, now).unwrap();
        assert!(first.len() <= TAP_LANE.min(2 * TAPPED_PER_SECOND as usize), "{}", first.len());
        // A second may have passed meanwhile.
        std::thread::sleep(std::time::Duration::from_secs(1));
        spout.look(&draft("a", None, ReceiptType::Observed));
        let next = taps.take(1, usize::MAX, now).unwrap();
        let counted: u64 = first.iter().chain(&next).map(|tapped| tapped.passed_over).sum();
        assert_eq!(first.len() + next.len() + usize::try_from(counted).unwrap(), most + 1);
    }

    #[test]
    fn a_look_that_nobody_asks_for_ends_and_makes_room() {
        let (taps, now) = (Taps::default(), clock::now());
        for number in 0..TAPS_MAX as u64 {
            taps.begin(number, TapFilter::default(), now).unwrap();
        }
        assert_eq!(taps.begin(99, TapFilter::default(), now), Err(TooMany));
        let later = now + TAP_KEPT_FOR;
        assert!(taps.take(0, 1, later).is_some());
        taps.begin(99, TapFilter::default(), later).unwrap();
        assert!(taps.take(1, 1, later).is_none() && taps.take(0, 1, later).is_some());
    }
}
