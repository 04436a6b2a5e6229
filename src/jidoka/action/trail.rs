//! What the trace of an action says: the action, and each of its tries. It is told when the action has ended, so that one which
//! failed is told of although its signal was not chosen.

use crate::clock::{self, Instant};
use crate::event::Failure;
use crate::jidoka::governor::ActionRequest;
use crate::kaizen::{Span, SpanName, Tracer};
use crate::net::retry::Miss;
use crate::trace::TraceContext;

/// The tries of one action so far.
pub struct Trail<'a> {
    tracer: &'a Tracer,
    target: &'a str,
    order: &'a ActionRequest,
    tries: Vec<Tried>,
}

/// One call of the target.
struct Tried {
    begun: Instant,
    ended: Instant,
    missed: Option<Box<str>>,
}

impl<'a> Trail<'a> {
    pub fn new(tracer: &'a Tracer, target: &'a str, order: &'a ActionRequest) -> Self {
        Self { tracer, target, order, tries: Vec::new() }
    }

    /// What the target is told at the try of this number: the span of that try, where it is recorded.
    pub fn trace_of(&self, number: u32) -> Option<TraceContext> {
        let trace = self.order.intent.signal.trace()?;
        Some(if trace.is_sampled() { trace.under(self.span_of(trace, number)) } else { trace })
    }

    /// An action's number tells its spans from those of others of its signal.
    fn span_of(&self, trace: TraceContext, number: u32) -> crate::trace::SpanId {
        trace.child(SpanName::Try as u8, self.order.intent.action.seq.0, number.into())
    }

    /// A call that began then is over.
    pub fn tried(&mut self, begun: Instant, missed: Option<&Miss>) {
        let missed = missed.map(|missed| missed.why().into());
        self.tries.push(Tried { begun, ended: clock::now(), missed });
    }

    /// The action that was ordered at `since` has ended.
    pub fn end(self, since: Instant, failure: Option<&Failure>) {
        let intent = &self.order.intent;
        let carried = intent.signal.trace();
        let trace = match (carried.filter(TraceContext::is_sampled), failure) {
            (Some(trace), _) => trace,
            (None, Some(_)) => match self.tracer.unchosen(carried, intent.accepted.0) {
                Some(trace) => trace,
                None => return,
            },
            (None, None) => return,
        };
        let of = |span: Span| {
            let span = span.about(intent.signal.tenant(), intent.signal.sku(), intent.accepted.0);
            span.with("gemba.action", self.target).with("gemba.action_id", intent.action.to_string())
        };
        let times = (since, clock::now());
        let mut act = of(Span::below(trace, SpanName::Act, (intent.action.seq.0, 0), times))
            .with("gemba.rule", &*intent.policy.rule)
            .with("gemba.tries", self.tries.len() as u64)
            .with("gemba.maybe_twice", self.order.maybe_twice);
        act.failed = failure.map(|failure| (*failure.reason).into());
        for (tried, number) in self.tries.iter().zip(1..) {
            let times = (tried.begun, tried.ended);
            let mut span = of(Span::below(trace, SpanName::Try, (intent.action.seq.0, number.into()), times));
            debug_assert_eq!(span.id, self.span_of(trace, number));
            span.parent = Some(act.id);
            span.failed.clone_from(&tried.missed);
            self.tracer.tell(span.with("gemba.try", u64::from(number)));
        }
        self.tracer.tell(act);
    }
}
