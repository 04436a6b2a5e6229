//! A look at signals as they are decided: a viewer says which, and shards hand over a few of them. While nobody looks, a decision
//! costs one load of a number that nobody writes.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::queue::ArrayQueue;

use crate::clock::Instant;
use crate::kaizen::PerSecond;
use crate::limits::{TAP_BODY_BYTES, TAP_KEPT_FOR, TAP_LANE, TAPPED_PER_SECOND, TAPS_MAX, TAPS_OF_ONE};
use crate::receipt::filter::is_rule;
use crate::receipt::{About, Draft, Gist, Policy, ReceiptType};
use crate::ring::{Current, Updates};
use crate::signal::Signal;
use crate::tapped::{Mask, TapFilter};
use crate::view::TappedView;

fn takes(filter: &TapFilter, signal: &Signal, kind: ReceiptType, policy: Option<&Policy>) -> bool {
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let by_rule = filter
        .rule
        .as_deref()
        .is_none_or(|wanted| policy.is_some_and(|Policy { pack, rule, .. }| is_rule(wanted, pack, rule)));
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

impl Tapped {
    /// Without its secrets.
    #[must_use]
    pub fn view(&self, mask: &Mask) -> TappedView {
        let Self { gist, policy, reason, signal, passed_over } = self;
        let body = signal.body();
        // In binary mode it may be anything; what is no JSON has no fields that could be masked.
        let mut shown = (body.len() <= TAP_BODY_BYTES).then(|| serde_json::from_slice(body).ok()).flatten();
        if let Some(shown) = &mut shown {
            mask.apply(shown);
        }
        TappedView {
            seq: gist.id.seq.0,
            time: gist.time.0,
            result: gist.kind.into_str(),
            receipt_id: gist.id.to_string(),
            source: signal.provenance.source.clone(),
            key: signal.provenance.key.clone(),
            tenant: signal.tenant().into(),
            sku: signal.sku().into(),
            id: signal.id().into(),
            r#type: signal.kind().into(),
            pack: policy.as_ref().map(|policy| policy.pack.clone()),
            rule: policy.as_ref().map(|policy| policy.rule.clone()),
            reason: reason.as_deref().map(Into::into),
            bytes: body.len(),
            signal: shown,
            passed_over: *passed_over,
        }
    }
}

/// One viewer's look.
#[derive(Debug)]
struct TapLook {
    number: u64,
    /// The token of who looks.
    by: Box<str>,
    filter: TapFilter,
    lane: ArrayQueue<Box<Tapped>>,
}

/// A look, and when it was asked last.
type AskedLook = (Arc<TapLook>, Instant);

/// All looks of a node; cheap to clone.
#[derive(Clone, Debug)]
pub struct Taps {
    current: Current<Vec<Arc<TapLook>>>,
    asked: Arc<Mutex<Vec<AskedLook>>>,
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
    pub fn begin(&self, number: u64, by: &str, filter: TapFilter, now: Instant) -> Result<(), TooMany> {
        self.end_forgotten(now);
        let mut asked = self.asked();
        let own = asked.iter().filter(|(tap, _)| *tap.by == *by).count();
        if asked.len() >= TAPS_MAX || own >= TAPS_OF_ONE {
            return Err(TooMany);
        }
        let lane = ArrayQueue::new(TAP_LANE);
        asked.push((Arc::new(TapLook { number, by: by.into(), filter, lane }), now));
        self.show(&asked);
        Ok(())
    }

    /// What a look was handed since it was asked last, at most `most` signals; `None` where there is no such look.
    #[must_use]
    pub fn take(&self, number: u64, by: &str, most: usize, now: Instant) -> Option<Vec<Tapped>> {
        let mut asked = self.asked();
        let (tap, last) = asked.iter_mut().find(|(tap, _)| tap.number == number && *tap.by == *by)?;
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

    fn asked(&self) -> std::sync::MutexGuard<'_, Vec<AskedLook>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, asked: &[AskedLook]) {
        self.current.replace(Arc::new(asked.iter().map(|(tap, _)| Arc::clone(tap)).collect()));
    }

    /// For one shard.
    #[must_use]
    pub fn spout(&self) -> Spout {
        Spout { updates: self.current.updates(), looks: Vec::new() }
    }
}

/// Where one shard hands signals over.
#[derive(Debug)]
pub struct Spout {
    updates: Updates<Vec<Arc<TapLook>>>,
    looks: Vec<SpoutLook>,
}

/// What one shard has handed to one look. Each has bounds of its own: who asks for everything takes nothing from who asks for little.
#[derive(Debug)]
struct SpoutLook {
    tap: Arc<TapLook>,
    handed: PerSecond,
    passed_over: Cell<u64>,
}

impl SpoutLook {
    fn new(tap: &Arc<TapLook>) -> Self {
        Self { tap: Arc::clone(tap), handed: PerSecond::default(), passed_over: Cell::new(0) }
    }

    fn offer(&self, signal: &Signal, draft: &Draft) {
        let Draft { gist, policy, reason, .. } = draft;
        if !takes(&self.tap.filter, signal, gist.kind, policy.as_deref()) {
            return;
        }
        if self.tap.lane.is_full() || !self.handed.takes(TAPPED_PER_SECOND) {
            return self.passed_over.set(self.passed_over.get() + 1);
        }
        let passed_over = self.passed_over.replace(0);
        let (policy, reason, signal) = (policy.clone(), reason.clone(), signal.clone());
        let tapped = Box::new(Tapped { gist: *gist, policy, reason, signal, passed_over });
        // Another shard may have taken the last place.
        if let Err(tapped) = self.tap.lane.push(tapped) {
            self.passed_over.set(tapped.passed_over + 1);
        }
    }
}

impl Spout {
    /// Hands a decided signal to each look that wants it.
    #[inline]
    pub fn look(&mut self, draft: &Draft) {
        if let Some(taps) = self.updates.take() {
            self.looks.retain(|look| taps.iter().any(|tap| Arc::ptr_eq(tap, &look.tap)));
            let known = |tap: &&Arc<TapLook>| !self.looks.iter().any(|look| Arc::ptr_eq(tap, &look.tap));
            let new: Vec<SpoutLook> = taps.iter().filter(known).map(SpoutLook::new).collect();
            self.looks.extend(new);
        }
        if let (false, About::Signal(signal)) = (self.looks.is_empty(), &draft.about) {
            self.looks.iter().for_each(|look| look.offer(signal, draft));
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
        Draft { gist, policy, facts: None, reason: None, about }
    }

    fn taken(filter: TapFilter, drafts: &[Draft]) -> usize {
        let (taps, now) = (Taps::default(), clock::now());
        let mut spout = taps.spout();
        taps.begin(1, "eve", filter, now).unwrap();
        for draft in drafts {
            spout.look(draft);
        }
        taps.take(1, "eve", usize::MAX, now).unwrap().len()
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
        taps.begin(1, "eve", TapFilter::default(), now).unwrap();
        let most = 4 * TAPPED_PER_SECOND as usize;
        for _ in 0..most {
            spout.look(&draft("a", None, ReceiptType::Observed));
        }
        let first = taps.take(1, "eve", usize::MAX, now).unwrap();
        assert!(first.len() <= TAP_LANE.min(2 * TAPPED_PER_SECOND as usize), "{}", first.len());
        // A second may have passed meanwhile.
        std::thread::sleep(std::time::Duration::from_secs(1));
        spout.look(&draft("a", None, ReceiptType::Observed));
        let next = taps.take(1, "eve", usize::MAX, now).unwrap();
        let counted: u64 = first.iter().chain(&next).map(|tapped| tapped.passed_over).sum();
        assert_eq!(first.len() + next.len() + usize::try_from(counted).unwrap(), most + 1);
    }

    #[test]
    fn a_look_at_everything_takes_nothing_from_one_at_a_quiet_tenant() {
        let (taps, now) = (Taps::default(), clock::now());
        let mut spout = taps.spout();
        taps.begin(1, "eve", TapFilter::default(), now).unwrap();
        taps.begin(2, "bob", TapFilter { tenant: Some("quiet".into()), ..TapFilter::default() }, now)
            .unwrap();
        for number in 0..10_000 {
            let tenant = if number % 1000 == 0 { "quiet" } else { "loud" };
            spout.look(&draft(tenant, None, ReceiptType::Observed));
        }
        let quiet = taps.take(2, "bob", usize::MAX, now).unwrap();
        assert_eq!((quiet.len(), quiet.iter().map(|tapped| tapped.passed_over).sum::<u64>()), (10, 0));
        assert!(taps.take(2, "eve", 1, now).is_none(), "a look is its viewer's own");
    }

    #[test]
    fn a_look_that_nobody_asks_for_ends_and_makes_room() {
        let (taps, now) = (Taps::default(), clock::now());
        let by = |number: u64| ["a", "b", "c"][usize::try_from(number).unwrap() / TAPS_OF_ONE];
        for number in 0..TAPS_MAX as u64 {
            taps.begin(number, by(number), TapFilter::default(), now).unwrap();
        }
        assert_eq!(taps.begin(99, "c", TapFilter::default(), now), Err(TooMany));
        let later = now + TAP_KEPT_FOR;
        assert!(taps.take(0, "a", 1, later).is_some());
        taps.begin(99, "c", TapFilter::default(), later).unwrap();
        assert!(taps.take(1, "a", 1, later).is_none() && taps.take(0, "a", 1, later).is_some());
        for number in 100..99 + TAPS_OF_ONE as u64 {
            taps.begin(number, "c", TapFilter::default(), later).unwrap();
        }
        assert_eq!(taps.begin(200, "c", TapFilter::default(), later), Err(TooMany), "one viewer has not all");
    }
}
