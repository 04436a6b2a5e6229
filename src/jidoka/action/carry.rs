//! How a target is called, whatever its kind.

use std::pin::Pin;

use tokio::time::Instant;

use crate::jidoka::governor::ActionRequest;
use crate::net::retry::Miss;
use crate::trace::TraceContext;

/// One try.
pub type Trying<'a> = Pin<Box<dyn Future<Output = Result<(), Miss>> + 'a>>;

/// How one kind of target is called. A try is dropped after `until`; one that knows its result by then is heard first. The
/// target is told the trace that its work belongs to.
pub trait Carry {
    /// Why nothing can be sent about this, whatever the target would say; looked at before the target is asked.
    fn unfit(&self, _: &ActionRequest) -> Option<String> {
        None
    }

    fn carry<'a>(
        &'a self,
        order: &'a ActionRequest,
        trace: Option<TraceContext>,
        until: Instant,
    ) -> Trying<'a>;
}
