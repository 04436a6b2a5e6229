//! `amqp`: a persistent, mandatory message with the action's id, published with a confirm over one connection that all
//! `amqp` actions share.
//!
//! A broker that blocks publishers is not published to, and a publish that is given up shuts the socket, since its
//! frames would stay in the client library's queue. The library hands a returned message to whichever confirm comes
//! next, so a channel has one message under way at a time. A broken connection is not repaired but made anew by the next
//! try, not more often than the pauses allow.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, ErrorKind};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::carry::{Carry, Trying};
use super::payload;
use super::retry;
use crate::jidoka::governor::ActionRequest;
use crate::limits::ACTION_TOTAL;
use crate::net::amqp::{self, Broker, said};
use crate::net::retry::Miss;
use crate::trace::TraceContext;

/// Where a message is published.
#[derive(Clone, Debug)]
pub struct Route {
    pub exchange: String,
    pub routing_key: String,
}

/// Delivery mode of a message that the broker writes to disk.
const PERSISTENT: u8 = 2;

/// The connection to the broker, made when it is first needed.
pub struct Link {
    broker: Broker,
    random: fn() -> u64,
    open: RefCell<Option<Rc<Open>>>,
    /// One connects, the others wait for it.
    connecting: Mutex<Pauses>,
}

/// When the broker may be connected to again.
#[derive(Debug, Default)]
struct Pauses {
    failed: u32,
    until: Option<Instant>,
}

struct Open {
    link: amqp::Open,
    /// Channels without a message under way.
    free: RefCell<Vec<Channel>>,
}

impl Link {
    pub fn new(broker: Broker, random: fn() -> u64) -> Self {
        Self { broker, random, open: RefCell::default(), connecting: Mutex::default() }
    }

    fn usable(&self) -> Option<Rc<Open>> {
        self.open.borrow().clone().filter(|open| open.link.connection.status().connected())
    }

    async fn connection(&self) -> Result<Rc<Open>, Miss> {
        if let Some(open) = self.usable() {
            return Ok(open);
        }
        let mut pauses = self.connecting.lock().await;
        if let Some(open) = self.usable() {
            return Ok(open);
        }
        if let Some(left) = pauses.until.map(|until| until.saturating_duration_since(Instant::now()))
            && !left.is_zero()
        {
            let why = "the broker cannot be reached".into();
            return Err(Miss::Again { why, after: Some(left), is_unsent: true });
        }
        // Whoever gives up while it connects has failed, too.
        pauses.failed += 1;
        let pause = retry::pause(pauses.failed, None, (self.random)(), ACTION_TOTAL);
        pauses.until = pause.map(|pause| Instant::now() + pause);
        let link = self.broker.connect("gemba actions").await.map_err(Miss::again)?;
        let open = Rc::new(Open { link, free: RefCell::default() });
        *pauses = Pauses::default();
        *self.open.borrow_mut() = Some(Rc::clone(&open));
        Ok(open)
    }

    /// Publishes one message and waits for its confirm.
    async fn publish(&self, route: &Route, properties: BasicProperties, message: &[u8]) -> Result<(), Miss> {
        let open = self.connection().await?;
        if open.link.connection.status().blocked() {
            return Err(Miss::again("the broker takes no messages: it is short of memory or disk"));
        }
        let given_up = GivenUp { link: self, open: &open, armed: Cell::new(true) };
        let published = publish_on(&open, route, properties, message).await;
        // A channel that the broker closed is gone alone; any other end is the connection's.
        given_up.armed.set(matches!(&published, Err(Ended::Connection(_))));
        match published {
            Ok(Confirmation::Ack(None)) => Ok(()),
            Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => {
                Err(Miss::r#final("the broker knows no queue for it: the message was returned"))
            }
            Ok(Confirmation::Nack(None)) => Err(Miss::again("the broker refused the message")),
            Ok(Confirmation::NotRequested) => Err(Miss::again("the broker did not confirm the message")),
            Err(Ended::Channel(why)) => Err(Miss::r#final(why)),
            Err(Ended::Message(why)) => Err(Miss::refused(why)),
            Err(Ended::Connection(why)) => Err(Miss::again(why)),
        }
    }
}

/// What ended instead of a confirm.
enum Ended {
    Channel(String),
    /// The broker closed the channel because of this message.
    Message(String),
    Connection(String),
}

impl From<lapin::Error> for Ended {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
    fn from(error: lapin::Error) -> Self {
        let why = said(&error);
        let too_large = AMQPErrorKind::Soft(AMQPSoftError::CONTENTTOOLARGE);
        match error.kind() {
            ErrorKind::ProtocolError(error) if *error.kind() == too_large => Self::Message(why),
            _ if error.is_amqp_soft_error() => Self::Channel(why),
            _ => Self::Connection(why),
        }
    }
}

/// What stands beside a message.
fn properties(id: String, trace: Option<TraceContext>) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(id.into())
        .with_app_id("gemba".into());
    let Some(trace) = trace else { return properties };
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(trace.to_string().into()));
    properties.with_headers(headers)
}

async fn publish_on(
    open: &Open,
    route: &Route,
    properties: BasicProperties,
    message: &[u8],
) -> Result<Confirmation, Ended> {
    let free = open.free.borrow_mut().pop();
    let channel = match free {
        Some(channel) if channel.status().connected() => channel,
        _ => {
            let channel = open.link.connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            channel
        }
    };
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let (exchange, key) = (route.exchange.as_str().into(), route.routing_key.as_str().into());
    let confirm = channel.basic_publish(exchange, key, options, message, properties).await?;
    let confirmation = confirm.await?;
    open.free.borrow_mut().push(channel);
    Ok(confirmation)
}

/// Gives the connection up with the publish: it is armed when it is dropped before a confirm came.
struct GivenUp<'a> {
    link: &'a Link,
    open: &'a Rc<Open>,
    armed: Cell<bool>,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if !self.armed.get() {
            return;
        }
        // Whoever else waits on it is told at once.
        self.open.link.shut();
        let mut open = self.link.open.borrow_mut();
        if open.as_ref().is_some_and(|open| Rc::ptr_eq(open, self.open)) {
            *open = None;
        }
    }
}

/// Publishes what one action says.
pub struct Publisher {
    link: Rc<Link>,
    route: Route,
}

impl Publisher {
    pub fn new(link: Rc<Link>, route: Route) -> Self {
        Self { link, route }
    }
}

impl Carry for Publisher {
    fn carry<'a>(&'a self, order: &'a ActionRequest, trace: Option<TraceContext>, _: Instant) -> Trying<'a> {
        Box::pin(async move {
            let message = payload::message(order);
            let properties = properties(order.intent.action.to_string(), trace);
            self.link.publish(&self.route, properties, &message).await
        })
    }
}
