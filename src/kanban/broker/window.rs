//! Messages that were given to the broker and are not confirmed, and what may be said of them.
//!
//! The client library hands a returned message to whichever confirm comes next. So all confirms that are there are looked
//! at before any of them counts, and one that was not taken is the end of the connection: nothing of that look counts.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};

use super::batch::Message;
use super::delivery::vouch;
use super::mac::{Keys, Statement};
use super::message::CONTENT_TYPE;
use super::note::Confirmed;
use super::topology::{PERSISTENT, TRANSIENT, Topology};
use crate::event::Seq;
use crate::limits::{WINDOW_BYTES_MAX, WINDOW_MESSAGES_MAX};
use crate::net::amqp::said;

type Sending = Pin<Box<dyn Future<Output = lapin::Result<PublisherConfirm>>>>;

/// How far a message has come.
enum Progress {
    Sending(Sending),
    Sent(PublisherConfirm),
    Confirmed,
}

struct UnderWay {
    partition: u16,
    first: Seq,
    through: Seq,
    bytes: usize,
    progress: Progress,
}

/// Messages under way, in the order in which they were published.
#[derive(Default)]
pub struct Window {
    under_way: VecDeque<UnderWay>,
    bytes: usize,
    /// Messages so far.
    confirmed: u64,
    /// Partition and last signal of messages that are confirmed, until everything before is.
    passed: Vec<(u16, Seq)>,
}

impl Window {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether one more may be published.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.under_way.len() < WINDOW_MESSAGES_MAX && self.bytes < WINDOW_BYTES_MAX
    }

    /// Messages under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether a message of this partition is under way.
    #[must_use]
    pub fn holds(&self, partition: u16) -> bool {
        let waits = |each: &UnderWay| !matches!(each.progress, Progress::Confirmed);
        self.under_way.iter().any(|each| each.partition == partition && waits(each))
    }

    /// Messages that were confirmed so far.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// The oldest signal that is not confirmed.
    #[must_use]
    pub fn oldest(&self) -> Option<Seq> {
        let unconfirmed = |each: &&UnderWay| !matches!(each.progress, Progress::Confirmed);
        self.under_way.iter().filter(unconfirmed).map(|each| each.first).min()
    }

    /// Notes that everything up to `through` is confirmed.
    pub fn settle(&mut self, through: Seq, confirmed: &mut Confirmed) {
        confirmed.through = through.max(confirmed.through);
        self.passed.retain(|(partition, last)| {
            let waits = *last > through;
            if let Some(behind) = confirmed.behind.get_mut(usize::from(*partition)).filter(|_| !waits) {
                *behind = (*last).max(*behind);
            }
            waits
        });
    }

    /// Gives a message to the connection.
    pub fn publish(&mut self, channel: &Channel, (topology, keys): (&Topology, &Keys), message: Message) {
        let Message { origin, first, count, trace, body } = message;
        let bytes = body.len();
        let queue = topology.queue(origin.partition);
        let mut headers = FieldTable::default();
        headers.insert("gemba-edge".into(), AMQPValue::LongString((*origin.edge).into()));
        headers.insert("gemba-partition".into(), i32::from(origin.partition).into());
        headers.insert("gemba-after".into(), number(origin.span.after).into());
        headers.insert("gemba-through".into(), number(origin.span.through).into());
        headers.insert("gemba-count".into(), i64::try_from(count).unwrap_or(i64::MAX).into());
        vouch(&mut headers, keys, Statement::Signals(&origin, &body));
        if let Some(trace) = trace {
            headers.insert("traceparent".into(), AMQPValue::LongString(trace.to_string().into()));
        }
        let properties = BasicProperties::default()
            .with_content_type(CONTENT_TYPE.into())
            .with_delivery_mode(if topology.durable { PERSISTENT } else { TRANSIENT })
            .with_app_id("gemba".into())
            .with_headers(headers);
        let channel = channel.clone();
        let mut sending: Sending = Box::pin(async move {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            channel.basic_publish("".into(), queue.into(), options, &body, properties).await
        });
        // The first look puts its frames into the connection's queue: in this order they reach the broker.
        let mut now = Context::from_waker(std::task::Waker::noop());
        let progress = match sending.as_mut().poll(&mut now) {
            Poll::Ready(Ok(confirm)) => Progress::Sent(confirm),
            // An error shows at the next look.
            Poll::Ready(Err(error)) => Progress::Sending(Box::pin(std::future::ready(Err(error)))),
            Poll::Pending => Progress::Sending(sending),
        };
        self.bytes += bytes;
        let (partition, through) = (origin.partition, origin.span.through);
        self.under_way.push_back(UnderWay { partition, first, through, bytes, progress });
    }

    /// Looks at everything that is under way. Returns whether anything was confirmed.
    ///
    /// # Errors
    /// In words, where one was not taken: then none of this look counts.
    pub fn look(&mut self, context: &mut Context<'_>) -> Result<bool, String> {
        let mut newly = Vec::new();
        for (at, each) in self.under_way.iter_mut().enumerate() {
            if let Progress::Sending(sending) = &mut each.progress {
                match sending.as_mut().poll(context) {
                    Poll::Ready(Ok(confirm)) => each.progress = Progress::Sent(confirm),
                    Poll::Ready(Err(error)) => return Err(said(&error)),
                    Poll::Pending => {}
                }
            }
            if crate::fault::planted("confirmed-when-sent") && matches!(each.progress, Progress::Sent(_)) {
                newly.push(at);
            } else if let Progress::Sent(confirm) = &mut each.progress
                && let Poll::Ready(confirmation) = Pin::new(confirm).poll(context)
            {
                match confirmation.map_err(|error| said(&error))? {
                    Confirmation::Ack(None) => newly.push(at),
                    Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => {
                        return Err("the broker has no queue for a message: it was returned".into());
                    }
                    Confirmation::Nack(None) => {
                        return Err("the broker refused a message: its queue is full".into());
                    }
                    Confirmation::NotRequested => return Err("the broker does not confirm".into()),
                }
            }
        }
        for at in &newly {
            self.under_way[*at].progress = Progress::Confirmed;
        }
        self.confirmed += newly.len() as u64;
        while let Some(front) = self.under_way.front()
            && matches!(front.progress, Progress::Confirmed)
        {
            self.bytes -= front.bytes;
            self.passed.push((front.partition, front.through));
            self.under_way.pop_front();
        }
        Ok(!newly.is_empty())
    }
}

fn number(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}
