//! The lanes between the consumer and the journal.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::event::{Ack, Arrival};
use crate::ring::{Bell, Receiver, Sender};

/// The lanes between the consumer and the journal.
pub struct Lanes {
    pub arrivals: Sender<Arrival>,
    pub acks: Receiver<Ack>,
    /// The journal rings it.
    pub bell: Arc<Bell>,
    pub rung: Arc<Notify>,
}
