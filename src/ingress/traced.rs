//! Which requests are traced, and what is told of one when it is answered. Nothing of a `traceparent` has an effect before the
//! signature held (promise P6); reading it is 55 bytes of hex.

use std::cell::Cell;

use hyper::HeaderMap;

use crate::clock::Instant;
use crate::kaizen::{PerSecond, Sampling, Span, SpanName, Tracer};
use crate::limits::TRACED_SIGNALS_MAX;
use crate::net::backoff::random;
use crate::signal::{Name, Signals};
use crate::trace::{SpanId, TraceContext};

/// Chooses requests of one thread.
#[derive(Debug)]
pub struct Chooser {
    /// Of the last draw.
    ratio: Cell<f64>,
    /// Requests that are passed over before the next is chosen.
    passes: Cell<u64>,
    chosen: PerSecond,
}

/// What is known of a request's trace before its signature is checked.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// What the sender says, where it is trusted.
    parent: Option<TraceContext>,
    /// What the sender says, where it is not.
    link: Option<TraceContext>,
    /// Its spans are recorded.
    pub is_recorded: bool,
}

/// What is told of a request that is recorded.
#[derive(Debug)]
pub struct Traced {
    source: Box<str>,
    parent: Option<SpanId>,
    link: Option<TraceContext>,
    /// When its signature was checked.
    verified: (Instant, Instant),
    /// The first of its signals.
    signals: Vec<(TraceContext, Name, Name)>,
    count: usize,
}

impl Chooser {
    #[must_use]
    pub fn new() -> Self {
        Self { ratio: Cell::new(0.0), passes: Cell::new(passes(0.0, 0)), chosen: PerSecond::default() }
    }

    /// A sender that is trusted says by its flag; for any other the ratio does.
    #[must_use]
    pub fn choose(&self, sampling: Sampling, headers: &HeaderMap) -> Choice {
        let mut said = headers.get_all("traceparent").iter();
        // Two of them are none (W3C Trace Context level 2, section 4.3).
        let said = said.next().filter(|_| said.next().is_none());
        let said = said.and_then(|said| TraceContext::parse(said.as_bytes()));
        match said {
            Some(parent) if sampling.trusts => {
                Choice { parent: said, link: None, is_recorded: parent.is_sampled() }
            }
            link => Choice { parent: None, link, is_recorded: self.draws(sampling) },
        }
    }

    #[expect(clippy::float_cmp, reason = "the ratio is the same or another one")]
    fn draws(&self, sampling: Sampling) -> bool {
        let ratio = sampling.ratio;
        if self.ratio.replace(ratio) != ratio {
            self.passes.set(passes(ratio, random()));
        }
        let left = self.passes.get().checked_sub(1);
        self.passes.set(left.unwrap_or_else(|| passes(ratio, random())));
        left.is_none() && sampling.most_per_second.is_none_or(|most| self.chosen.takes(most))
    }
}

/// How many requests are passed over, where each is chosen with the chance `ratio`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a count that is drawn"
)]
fn passes(ratio: f64, random: u64) -> u64 {
    if ratio >= 1.0 {
        return 0;
    }
    if ratio <= 0.0 {
        return u64::MAX;
    }
    // From above 0 to 1.
    let drawn = ((random >> 11) + 1) as f64 / (1u64 << 53) as f64;
    (drawn.ln() / (-ratio).ln_1p()) as u64
}

impl Choice {
    /// Has the signals say to which trace they belong; what is to be told of them if they are recorded. Signals beyond the
    /// bound of one request are not.
    #[must_use]
    pub fn mark(
        self,
        signals: &mut Signals,
        source: &str,
        verified: Option<(Instant, Instant)>,
    ) -> Option<Box<Traced>> {
        if !self.is_recorded && self.parent.is_none() {
            return None;
        }
        let mut told = Vec::new();
        let signals = signals.as_mut_slice();
        for (index, signal) in signals.iter_mut().enumerate() {
            let is_recorded = self.is_recorded && index < TRACED_SIGNALS_MAX;
            let trace = match (self.parent, is_recorded) {
                (Some(parent), true) => SpanId::new(random()).map(|span| parent.under(span)),
                (Some(parent), false) => Some(parent.unsampled()),
                (None, true) => Some(drawn()),
                (None, false) => break,
            };
            signal.set_trace(trace);
            if let Some(trace) = signal.recorded() {
                let (tenant, sku) = signal.names();
                told.push((trace, tenant, sku));
            }
        }
        let verified = verified.filter(|_| self.is_recorded)?;
        let (parent, count) = (self.parent.map(|parent| parent.span), signals.len());
        Some(Box::new(Traced {
            source: source.into(),
            parent,
            link: self.link,
            verified,
            signals: told,
            count,
        }))
    }
}

/// A trace that begins here.
fn drawn() -> TraceContext {
    TraceContext::begun(u128::from(random()) << 64 | u128::from(random()), random())
}

/// How a request was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    pub status: u16,
    pub what: Result<Taken, String>,
}

/// What was taken of a request.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// The lowest number of its signals.
    pub first: u64,
    /// Signals that were known before.
    pub duplicates: u32,
}

impl Traced {
    /// The request was answered, in this time.
    pub fn tell(self, answered: &Answered, times: (Instant, Instant), tracer: &Tracer) {
        let of = |span: Span, tenant: &Name, sku: &Name| {
            span.with("gemba.tenant", &**tenant).with("gemba.sku", &**sku).with("gemba.source", &*self.source)
        };
        for ((trace, tenant, sku), index) in self.signals.iter().zip(0..) {
            let verify = Span::below(*trace, SpanName::Verify, (0, 0), self.verified);
            tracer.tell(of(verify, tenant, sku));
            let mut receive = of(first(*trace, times), tenant, sku).with("gemba.signals", self.count as u64);
            (receive.parent, receive.link) = (self.parent, self.link);
            match &answered.what {
                Ok(Taken { first, duplicates }) => {
                    receive = receive.with("gemba.duplicates", u64::from(*duplicates));
                    // Of a batch with repeats, which of them have which numbers is not known here.
                    if *duplicates == 0 || self.count == 1 {
                        receive = receive.with("gemba.seq", first + index);
                    }
                }
                Err(why) => receive.failed = Some(why.as_str().into()),
            }
            tracer.tell(receive.with("http.response.status_code", u64::from(answered.status)));
        }
    }
}

/// Tells of a request that took long and was not chosen.
pub fn tell_of_slow(answered: &Answered, times: (Instant, Instant), tracer: &Tracer) {
    let Ok(taken) = &answered.what else { return };
    let Some(trace) = tracer.unchosen(None, taken.first) else { return };
    let span = first(trace, times).with("gemba.seq", taken.first);
    tracer.tell(span.with("http.response.status_code", u64::from(answered.status)));
}

/// The span that all others of the node stand below.
fn first(trace: TraceContext, times: (Instant, Instant)) -> Span {
    Span { id: trace.span, parent: None, ..Span::below(trace, SpanName::Receive, (0, 0), times) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_is_chosen_is_the_ratio() {
        let sampling = |ratio| Sampling { ratio, trusts: true, ..Sampling::default() };
        let share = |ratio| {
            let chooser = Chooser::new();
            // What was drawn for another ratio counts for nothing.
            let _drawn = chooser.choose(sampling(0.5), &HeaderMap::new());
            let chosen = |_: &u32| chooser.choose(sampling(ratio), &HeaderMap::new()).is_recorded;
            (0..200_000).filter(chosen).count()
        };
        assert_eq!((share(0.0), share(1.0)), (0, 200_000));
        // A log is read by people: what is chosen for it has a bound.
        let (chooser, bounded) = (Chooser::new(), Sampling { most_per_second: Some(5), ..sampling(1.0) });
        let chosen = (0..200_000).filter(|_| chooser.choose(bounded, &HeaderMap::new()).is_recorded).count();
        assert!(chosen >= 5 && chosen % 5 == 0 && chosen < 5000, "{chosen}");
        // Six standard deviations of a binomial count.
        for (ratio, expected, spread) in [(0.01, 2000, 270), (0.25, 50_000, 1170)] {
            assert!(share(ratio).abs_diff(expected) < spread, "{ratio}");
        }
    }

    #[test]
    fn a_sender_that_is_trusted_says_what_is_recorded() {
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("traceparent", value.parse().unwrap());
            }
            headers
        };
        let (on, off) = (
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        );
        let choose = |trusts, values: &[&str]| {
            let sampling = Sampling { trusts, ..Sampling::default() };
            let Choice { parent, link, is_recorded } = Chooser::new().choose(sampling, &headers(values));
            (parent.is_some(), link.is_some(), is_recorded)
        };
        assert_eq!(choose(true, &[on]), (true, false, true));
        assert_eq!(choose(true, &[off]), (true, false, false));
        assert_eq!(choose(false, &[on]), (false, true, false));
        for none in [&[] as &[&str], &["nonsense"], &[on, on]] {
            assert_eq!(choose(true, none), (false, false, false), "{none:?}");
        }
    }
}
