//! What becomes of samples and spans that are sent to a receiver.

use metrics::Counter;

use crate::kaizen::Metric;

/// One for each thing that may become of them.
pub struct SinkCounters {
    pub sent: Counter,
    pub queue: Counter,
    pub too_old: Counter,
    pub refused: Counter,
    pub rejected: Counter,
    pub undelivered: Counter,
}

impl SinkCounters {
    /// `sink` is the label's value.
    #[must_use]
    pub fn of(sink: &str) -> Self {
        let lost = |cause| Metric::TelemetryLost.counter(&[sink, cause]);
        Self {
            sent: Metric::TelemetrySent.counter(&[sink]),
            queue: lost("queue"),
            too_old: lost("too_old"),
            refused: lost("refused"),
            rejected: lost("rejected"),
            undelivered: lost("undelivered"),
        }
    }
}
