//! Takes what is durable at an edge to the broker, and says through which number it is confirmed.
//!
//! The journal is the queue: what is not confirmed is read back from it, after a broken connection as after a restart.
//! A confirm that is lost may mean a message that was kept, so everything behind the last number that is confirmed for
//! certain is sent again, and the receiver knows a repeat by its span. Bounded: so many messages and bytes are under way
//! and no more; a broker that blocks, or confirms nothing for a while, loses its connection, since what was given to the
//! client library would stay in memory.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::batch::{Batcher, Message};
use super::mac::Keys;
use super::note::{Confirmed, Note, NoteError};
use super::queues::Queues;
use super::stop::LOOK_AGAIN;
pub use super::stop::Stop;
use super::topology::Topology;
use super::trouble::Trouble;
use super::window::Window;
use crate::disk::Disk;
use crate::event::{EdgeName, Kind, Seq};
use crate::kanban::journal::record::Decoder;
use crate::kanban::journal::{Damage, Tail};
use crate::limits::CONFIRM_PROGRESS;
use crate::net::amqp::{Broker, Open, said};
use crate::net::backoff::Backoff;
use crate::ring::{Bell, Current, Mark};

/// Why nothing more can be published: restart is recovery.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    #[error(transparent)]
    Journal(#[from] Damage),
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// What others see of the publisher.
#[derive(Clone, Debug)]
pub struct Marks {
    /// Everything up to this number is confirmed.
    pub confirmed: Mark,
    /// Messages under way.
    pub window: Mark,
    /// 1 while the broker takes nothing.
    pub blocked: Mark,
    /// 1 while there is a connection.
    pub connected: Mark,
    /// Connections that ended.
    pub broken: Mark,
    /// Messages that were confirmed.
    pub messages: Mark,
    /// Of every partition.
    pub queues: Queues,
    pub trouble: Trouble,
}

impl Marks {
    #[must_use]
    pub fn new(confirmed: Seq, partitions: u16, trouble: Trouble) -> Self {
        let zero = || Mark::new(0);
        Self {
            confirmed: Mark::new(confirmed.0),
            window: zero(),
            blocked: zero(),
            connected: zero(),
            broken: zero(),
            messages: zero(),
            queues: Queues::new(partitions),
            trouble,
        }
    }
}

/// What is durable at the edge, and who says so.
pub struct Source {
    pub disk: Arc<dyn Disk>,
    /// Of the journal.
    pub dir: PathBuf,
    /// Last durable number.
    pub durable: Mark,
    /// The journal rings it.
    pub bell: Arc<Bell>,
    pub rung: Arc<Notify>,
    /// The journal gives back what is settled.
    pub settled: Mark,
}

pub struct Publisher {
    pub source: Source,
    pub broker: Broker,
    pub topology: Topology,
    pub keys: Current<Keys>,
    /// Name and id of this edge's journal.
    pub edge: EdgeName,
    pub confirmed: Confirmed,
    /// Where is noted what is confirmed.
    pub note: Note,
    pub marks: Marks,
}

/// How a connection ended.
enum Ended {
    Stopped,
    Broken(String),
    Fatal(Fatal),
}

impl From<Fatal> for Ended {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

impl From<Damage> for Ended {
    fn from(damage: Damage) -> Self {
        Self::Fatal(damage.into())
    }
}

impl Publisher {
    /// Publishes until it is told to stop; connects again for ever.
    ///
    /// # Errors
    /// [`Fatal`]: the edge's own disk fails it.
    pub async fn run(mut self, stop: &Stop) -> Result<(), Fatal> {
        let mut backoff = Backoff::default();
        loop {
            let before = self.marks.messages.read();
            let ended = self.connection(stop).await;
            self.marks.connected.publish(0);
            self.marks.window.publish(0);
            self.marks.blocked.publish(0);
            match ended {
                Ended::Fatal(fatal) => return Err(fatal),
                Ended::Stopped => break,
                Ended::Broken(why) => {
                    self.marks.trouble.tell(Some(&why));
                    self.marks.broken.add(1);
                }
            }
            backoff.wait(self.marks.messages.read() > before, || stop.is_on()).await;
            if stop.is_on() {
                break;
            }
        }
        Ok(self.note.write(&self.confirmed)?)
    }

    async fn connection(&mut self, stop: &Stop) -> Ended {
        let name = format!("gemba edge {}", self.edge);
        let open = match self.broker.connect(&name).await {
            Ok(open) => open,
            Err(why) => return Ended::Broken(why),
        };
        let ended = self.publish_over(&open, stop).await;
        // What the library still holds is given up with the socket.
        open.shut();
        ended
    }

    async fn publish_over(&mut self, open: &Open, stop: &Stop) -> Ended {
        match self.channel(open).await {
            Ok(channel) => {
                self.marks.connected.publish(1);
                self.marks.trouble.tell(None);
                let (queues, topology) = (self.marks.queues.clone(), self.topology.clone());
                let published = self.publish_on(open, &channel, stop);
                match queues.looked_at_during((open, &topology), published).await {
                    Ok(()) => Ended::Stopped,
                    Err(ended) => ended,
                }
            }
            Err(why) => Ended::Broken(why),
        }
    }

    async fn channel(&self, open: &Open) -> Result<Channel, String> {
        self.topology.declare(&open.connection).await?;
        let channel = timeout(CONFIRM_PROGRESS, async {
            let channel = open.connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(channel)
        });
        match channel.await {
            Ok(channel) => channel.map_err(|error| said(&error)),
            Err(_) => Err(format!("the broker opens no channel within {CONFIRM_PROGRESS:?}")),
        }
    }

    /// Publishes over one channel until everything that will ever be there is confirmed.
    async fn publish_on(&mut self, open: &Open, channel: &Channel, stop: &Stop) -> Result<(), Ended> {
        let mut backlog = Backlog::open(&self.source, &self.edge, &self.confirmed)?;
        let mut window = Window::default();
        let mut progress = Instant::now();
        loop {
            if stop.abandon.is_on() {
                return Ok(());
            }
            let finishing = stop.finish.is_on();
            let durable = Seq(self.source.durable.read());
            let blocked = open.connection.status().blocked();
            self.marks.blocked.publish(blocked.into());
            while !blocked && window.has_room() {
                let Some(message) = backlog.next(durable, |partition| !window.holds(partition))? else {
                    break;
                };
                window.publish(channel, (&self.topology, &self.keys.get()), message);
            }
            if window.is_empty() {
                progress = Instant::now();
            }
            let before = window.confirmed();
            let more = backlog.last < durable && window.has_room() && !blocked;
            self.wait(&mut window, durable, more).await?;
            if window.confirmed() > before {
                progress = Instant::now();
                self.marks.messages.add(window.confirmed() - before);
            }
            self.marks.window.publish(window.len() as u64);
            let oldest = window.oldest().into_iter().chain(backlog.oldest()).min();
            let through = oldest.map_or(backlog.last, |oldest| Seq(oldest.0 - 1));
            window.settle(through, &mut self.confirmed);
            self.marks.confirmed.publish(self.confirmed.through.0);
            self.source.settled.publish(self.confirmed.through.0);
            self.note.write_if_due(&self.confirmed).map_err(Fatal::from)?;
            if finishing && through >= durable {
                return Ok(());
            }
            if progress.elapsed() > CONFIRM_PROGRESS {
                let why = if blocked {
                    "the broker takes no messages: it is short of memory or disk".to_owned()
                } else {
                    format!("the broker has confirmed nothing for {CONFIRM_PROGRESS:?}")
                };
                return Err(Ended::Broken(why));
            }
            if !open.connection.status().connected() {
                return Err(Ended::Broken("the connection to the broker broke".into()));
            }
        }
    }

    /// Until a confirm comes, something becomes durable, or a while has passed; not at all while there is `more` to do.
    async fn wait(&self, window: &mut Window, durable: Seq, more: bool) -> Result<(), Ended> {
        if more {
            let mut now = Context::from_waker(std::task::Waker::noop());
            window.look(&mut now).map_err(Ended::Broken)?;
            tokio::task::yield_now().await;
            return Ok(());
        }
        let Source { bell, rung, .. } = &self.source;
        bell.announce_sleep();
        // What became durable before the announcement rings nobody.
        if Seq(self.source.durable.read()) > durable {
            bell.awake();
            return Ok(());
        }
        let looked = tokio::select! {
            biased;
            looked = poll_fn(|context| match window.look(context) {
                Ok(false) => Poll::Pending,
                Ok(true) => Poll::Ready(Ok(())),
                Err(why) => Poll::Ready(Err(Ended::Broken(why))),
            }) => looked,
            () = rung.notified() => Ok(()),
            () = tokio::time::sleep(LOOK_AGAIN) => Ok(()),
        };
        bell.awake();
        looked
    }
}

/// What is durable and not yet under way.
struct Backlog {
    tail: Tail,
    batcher: Batcher,
    ready: VecDeque<Message>,
    /// Everything up to here is in a message or in the batcher.
    last: Seq,
}

impl Backlog {
    fn open(source: &Source, edge: &EdgeName, confirmed: &Confirmed) -> Result<Self, Damage> {
        Ok(Self {
            tail: Tail::open(Arc::clone(&source.disk), &source.dir, confirmed.through)?,
            batcher: Batcher::new(edge, &confirmed.behind),
            ready: VecDeque::new(),
            last: confirmed.through,
        })
    }

    /// The next message; a batch that is not full is one only when nothing more is durable, and its partition `may` have
    /// one.
    fn next(&mut self, durable: Seq, may: impl Fn(u16) -> bool) -> Result<Option<Message>, Damage> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            let Some((header, records)) = self.tail.next(durable)? else {
                return Ok(self.batcher.flush(may));
            };
            let place = self.tail.place();
            let mut decoder = Decoder::new(records);
            let mut seq = header.first;
            loop {
                let kind = decoder.next_kind();
                let kind =
                    kind.map_err(|why| Damage::Record { path: place.0.to_owned(), offset: place.1, why })?;
                let Some(kind) = kind else { break };
                if let Kind::Signal(signal) = kind
                    && seq > self.last
                {
                    self.ready.extend(self.batcher.take(seq, &signal));
                }
                seq = seq.next();
            }
            self.last = self.last.max(header.last());
        }
    }

    /// The oldest signal that is in no message under way.
    fn oldest(&self) -> Option<Seq> {
        self.ready.iter().map(|message| message.first).chain(self.batcher.oldest()).min()
    }
}
