//! Takes notices at once, and has each channel deliver its own by a task of its own.
//!
//! A channel that fails is asked again after a pause that doubles, by one try at a time. Each notice has such a pause, too: one
//! that its receiver cannot take holds up no other, and neither does one that some of its receivers have taken. What a receiver asks
//! for by `Retry-After` holds for the whole channel, and is no failure.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::delivery::{Deliver, Delivered, Delivery};
use super::meter::{CallMeter, JournalTime, MONTH_USED_UP};
use super::queue::{Queue, Replaced, Waiting};
use super::rate::{Rate, RateLimit, month};
use super::sent::SentFile;
use super::settings::{Channel, Channels};
use super::text::{key, summary};
use crate::alert::{Alarm, DigestTold, Notice, NoticeId, NoticeKind};
use crate::limits::{CHANNEL_NAMES_MAX, CHANNEL_PAUSE, CHANNEL_PAUSE_MAX, CHANNEL_RETRY_AFTER_MAX};
use crate::net::backoff::pause_between;
use crate::net::retry::Miss;

/// Delivers notices until it is dropped.
pub struct Dispatcher {
    around: Around,
    lanes: Vec<Rc<Lane>>,
    tasks: JoinSet<()>,
    ended: Rc<Ended>,
}

/// What channels need of the node.
#[derive(Clone)]
pub struct Around {
    pub random: fn() -> u64,
    /// The wall clock may jump.
    pub time: JournalTime,
    /// Where is kept what was sent; nowhere in tests.
    pub sent: Option<Rc<SentFile>>,
}

/// A channel as it is configured, and how it delivers.
pub struct EquippedChannel {
    pub name: Arc<str>,
    pub deliver: Rc<dyn Deliver>,
    pub rate: RateLimit,
    pub waiting_max: usize,
    pub lists_all: bool,
    pub timeout: Duration,
    pub give_up: Duration,
}

/// What others may see of a channel.
#[derive(Debug)]
pub struct ChannelWatch {
    pub name: Arc<str>,
    waiting: Cell<usize>,
    sent: Cell<u64>,
    failed: Cell<u64>,
    rate_limited: Cell<u64>,
    breaker: Cell<u8>,
    why: RefCell<Option<Box<str>>>,
}

impl ChannelWatch {
    /// Notices without an end.
    pub fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// Notices that were delivered.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Notices that failed, or were replaced by newer ones.
    pub fn failed(&self) -> u64 {
        self.failed.get()
    }

    /// How often the receiver asked for a pause.
    pub fn rate_limited(&self) -> u64 {
        self.rate_limited.get()
    }

    /// 0 healthy, 1 it failed and is tried, 2 it failed and is left alone.
    pub fn breaker(&self) -> u8 {
        self.breaker.get()
    }

    /// Why the last try told nobody; `None` where the receiver answered it.
    pub fn why(&self) -> Option<Box<str>> {
        self.why.borrow().clone()
    }
}

/// What became of notices, until it is taken.
#[derive(Default)]
struct Ended {
    alarms: RefCell<VecDeque<Alarm>>,
    news: Notify,
}

impl Ended {
    fn push(&self, notice: NoticeId, end: &NoticeEnd<'_>) {
        let (failed, reference, digest) = match &end.result {
            Ok((reference, digest)) => (None, reference.as_deref().map(Into::into), *digest),
            Err(why) => (Some((*why).into()), None, None),
        };
        let &NoticeEnd { tries, replaced, maybe, .. } = end;
        let ended = Alarm::Notified { notice, failed, reference, tries, replaced, maybe, digest };
        self.alarms.borrow_mut().push_back(ended);
        self.news.notify_one();
    }
}

/// How a notice ended.
struct NoticeEnd<'a> {
    /// What the receiver calls it, and the digest by which it was told.
    result: Result<(Option<String>, Option<DigestTold>), &'a str>,
    tries: u32,
    /// A newer one of its group took its place.
    replaced: bool,
    /// It failed, and the receiver may have it all the same.
    maybe: bool,
}

impl<'a> NoticeEnd<'a> {
    fn failed(why: &'a str, tries: u32, maybe: bool) -> Self {
        Self { result: Err(why), tries, replaced: false, maybe }
    }

    /// One that waits no more.
    fn of(waiting: &Waiting, why: &'a str) -> Self {
        Self::failed(why, waiting.tries, waiting.is_maybe_heard())
    }
}

/// A channel and what waits for it.
struct Lane {
    watch: Rc<ChannelWatch>,
    ended: Rc<Ended>,
    around: Around,
    deliver: RefCell<Rc<dyn Deliver>>,
    queue: RefCell<Queue>,
    rate: Rc<RefCell<Rate>>,
    /// What the last process sent was counted.
    is_restored: Cell<bool>,
    timeout: Cell<Duration>,
    give_up: Cell<Duration>,
    lately: Lately,
    /// Notices that are being tried.
    trying: Cell<usize>,
    is_configured: Cell<bool>,
    changed: Notify,
}

/// How the receiver of a channel was lately.
struct Lately {
    /// Tries that failed in a row.
    failing: Cell<u32>,
    /// The log told of a failure, and not yet that it works.
    is_told: Cell<bool>,
    /// Tries in a row after which the receiver asked for time.
    asking: Cell<u32>,
    /// After a failure no try is made before this.
    pause_until: Cell<Instant>,
    /// The receiver asked for no try before this.
    asked_until: Cell<Instant>,
}

/// A channel that failed so often in a row was away; one that failed less often may have been sent what it cannot take.
const OUTAGE_TRIES: u32 = 3;

/// What a channel does next.
enum Turn {
    Try(Box<Waiting>),
    Wait(Option<Instant>),
    Over,
}

impl Dispatcher {
    /// Must be made and used on a runtime whose tasks are local.
    pub fn new(around: Around) -> Self {
        Self { around, lanes: Vec::new(), tasks: JoinSet::new(), ended: Rc::default() }
    }

    /// Goes on with these channels. One that was there keeps its queue; a try that is under way ends as it began. One that is left out
    /// takes no new notices.
    pub fn equip(&mut self, channels: &Channels) {
        let board = channels.external_url.as_deref();
        let equipped = channels.channels.iter().map(|channel| {
            let Channel { name, kind, rate, timeout, give_up, calls_back } = channel;
            EquippedChannel {
                name: Arc::clone(name),
                deliver: kind.deliverer(board, *calls_back),
                rate: rate.clone(),
                waiting_max: kind.waiting_max(),
                lists_all: kind.lists_all(),
                timeout: *timeout,
                give_up: *give_up,
            }
        });
        self.equip_with(equipped.collect());
    }

    fn equip_with(&mut self, channels: Vec<EquippedChannel>) {
        self.lanes.retain(|lane| !lane.is_over());
        for lane in &self.lanes {
            lane.is_configured.set(false);
        }
        for channel in channels {
            match self.lanes.iter().find(|lane| lane.watch.name == channel.name) {
                Some(lane) => lane.equip(channel),
                None => self.start(channel),
            }
        }
        for lane in &self.lanes {
            lane.changed.notify_one();
        }
    }

    fn start(&mut self, channel: EquippedChannel) {
        let EquippedChannel { name, deliver, rate, waiting_max, lists_all, timeout, give_up } = channel;
        let watch = ChannelWatch {
            name,
            waiting: Cell::new(0),
            sent: Cell::new(0),
            failed: Cell::new(0),
            rate_limited: Cell::new(0),
            breaker: Cell::new(0),
            why: RefCell::default(),
        };
        let lane = Rc::new(Lane {
            watch: Rc::new(watch),
            ended: Rc::clone(&self.ended),
            around: self.around.clone(),
            deliver: RefCell::new(deliver),
            queue: RefCell::new(Queue::new(waiting_max, lists_all, (self.around.time)())),
            rate: Rc::new(RefCell::new(Rate::new(rate))),
            is_restored: Cell::new(false),
            timeout: Cell::new(timeout),
            give_up: Cell::new(give_up),
            lately: Lately {
                failing: Cell::new(0),
                is_told: Cell::new(false),
                asking: Cell::new(0),
                pause_until: Cell::new(Instant::now()),
                asked_until: Cell::new(Instant::now()),
            },
            trying: Cell::new(0),
            is_configured: Cell::new(true),
            changed: Notify::new(),
        });
        self.lanes.push(Rc::clone(&lane));
        self.tasks.spawn_local(lane.run());
    }

    /// Takes a notice. Its end comes from [`Dispatcher::next`] or [`Dispatcher::ended`].
    pub fn submit(&mut self, notice: Notice) {
        // Where a beginning waits in a channel that was left out, what follows it waits there, too.
        let takes = |lane: &Lane| match notice.tells {
            NoticeKind::Firing => lane.is_configured.get(),
            NoticeKind::Acknowledged | NoticeKind::Resolved => !lane.is_over(),
        };
        let named = |lane: &&Rc<Lane>| *lane.watch.name == *notice.id.channel && takes(lane);
        let Some(lane) = self.lanes.iter().find(named) else {
            let why = format!("no channel `{}` is configured", notice.id.channel);
            return self.ended.push(notice.id, &NoticeEnd::failed(&why, 0, notice.maybe_twice));
        };
        lane.take(notice);
    }

    /// An end that is there already.
    pub fn ended(&mut self) -> Option<Alarm> {
        while let Some(joined) = self.tasks.try_join_next() {
            checked(joined);
        }
        self.ended.alarms.borrow_mut().pop_front()
    }

    /// The next end; never, while nothing is under way. May be given up at any time.
    pub async fn next(&mut self) -> Alarm {
        loop {
            if let Some(alarm) = self.ended() {
                return alarm;
            }
            tokio::select! {
                () = self.ended.news.notified() => {}
                Some(joined) = self.tasks.join_next() => checked(joined),
            }
        }
    }

    /// Notices that have no end yet, and ends that nobody took.
    #[cfg(any(test, feature = "inside"))]
    pub fn under_way(&self) -> usize {
        let without: usize = self.lanes.iter().map(|lane| lane.names()).sum();
        without + self.ended.alarms.borrow().len()
    }

    /// What others may see of the channels that are configured.
    pub fn watches(&self) -> Vec<Rc<ChannelWatch>> {
        let configured = self.lanes.iter().filter(|lane| lane.is_configured.get());
        configured.map(|lane| Rc::clone(&lane.watch)).collect()
    }
}

/// A mistake of ours ends the runtime, and the supervisor takes the line up again.
fn checked(joined: Result<(), JoinError>) {
    if let Err(error) = joined
        && error.is_panic()
    {
        resume_unwind(error.into_panic());
    }
}

impl Lane {
    fn equip(&self, channel: EquippedChannel) {
        let EquippedChannel { name: _, deliver, rate, waiting_max, lists_all, timeout, give_up } = channel;
        self.deliver.replace(deliver);
        self.rate.borrow_mut().limit(rate);
        self.queue.borrow_mut().bound(waiting_max, lists_all);
        self.timeout.set(timeout);
        self.give_up.set(give_up);
        // It may be better now; what the receiver asked for holds.
        self.lately.pause_until.set(Instant::now());
        self.is_configured.set(true);
    }

    fn names(&self) -> usize {
        self.queue.borrow().names() + self.trying.get()
    }

    fn is_over(&self) -> bool {
        !self.is_configured.get() && self.names() == 0
    }

    fn take(&self, mut notice: Notice) {
        let now = Instant::now();
        if self.names() >= CHANNEL_NAMES_MAX {
            let left_out = self.queue.borrow_mut().give_way(&notice);
            self.replaced(left_out.into_iter().collect());
        }
        if self.names() >= CHANNEL_NAMES_MAX {
            let why = format!("its channel has {CHANNEL_NAMES_MAX} notifications without an end already");
            self.end([notice.id], &NoticeEnd::failed(&why, 0, notice.maybe_twice));
            return;
        }
        self.restore(now);
        // After a restart it has what was left to it, and a try in any case.
        let asked = if notice.maybe_twice { notice.time } else { (self.around.time)() };
        let age = Duration::from_millis((self.around.time)().0.saturating_sub(asked.0));
        let left = self.give_up.get().saturating_sub(age).max(CHANNEL_PAUSE_MAX);
        notice.summary = summary(&notice).into();
        let replaced = self.queue.borrow_mut().push(Delivery::new(notice), now + left, now);
        self.replaced(replaced);
        self.seen();
        self.changed.notify_one();
    }

    /// Counts what the last process sent, once the journal tells the time.
    fn restore(&self, now: Instant) {
        if self.is_restored.replace(true) {
            return;
        }
        let kept = self.around.sent.as_ref().and_then(|sent| sent.of(&self.watch.name));
        if let Some(kept) = kept {
            self.rate.borrow_mut().restore(&kept, now, (self.around.time)());
        }
    }

    fn replaced(&self, replaced: Vec<Replaced>) {
        for Replaced { notices, tries, maybe, why } in replaced {
            self.end(notices, &NoticeEnd { result: Err(why), tries, replaced: true, maybe });
        }
    }

    fn end(&self, notices: impl IntoIterator<Item = NoticeId>, end: &NoticeEnd<'_>) {
        let count = if end.result.is_ok() { &self.watch.sent } else { &self.watch.failed };
        for notice in notices {
            count.set(count.get() + 1);
            self.ended.push(notice, end);
        }
    }

    fn seen(&self) {
        self.watch.waiting.set(self.names());
        let failing = self.lately.failing.get() > 0;
        let trying = self.trying.get() > 0;
        self.watch.breaker.set(if !failing {
            0
        } else if trying {
            1
        } else {
            2
        });
    }

    async fn run(self: Rc<Self>) {
        loop {
            let turn = self.turn(Instant::now());
            self.seen();
            match turn {
                Turn::Over => return,
                Turn::Wait(None) => self.changed.notified().await,
                Turn::Wait(Some(until)) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = sleep_until(until) => {}
                },
                Turn::Try(mut waiting) => {
                    let deliver = Rc::clone(&self.deliver.borrow());
                    let timeout = self.timeout.get();
                    let (meter, until) = (self.meter(&waiting), Instant::now() + timeout);
                    let trying = deliver.deliver(&mut waiting.delivery, &meter, until);
                    // One that knows its result by then is heard first.
                    let result = timeout_at(until + Duration::from_secs(1), trying).await;
                    let late = || Miss::again(format!("no answer within {} s", timeout.as_secs()));
                    let result = result.unwrap_or_else(|_| Err(late()));
                    self.trying.set(0);
                    self.land(*waiting, result, Instant::now());
                }
            }
        }
    }

    /// Counts a try that begins.
    fn meter(&self, waiting: &Waiting) -> CallMeter {
        self.rate.borrow_mut().call(Instant::now());
        self.queue.borrow_mut().tries(waiting);
        CallMeter {
            channel: Arc::clone(&self.watch.name),
            rate: Rc::clone(&self.rate),
            sent: self.around.sent.clone(),
            time: Rc::clone(&self.around.time),
            has_called: Cell::new(false),
        }
    }

    fn turn(&self, now: Instant) -> Turn {
        let mut queue = self.queue.borrow_mut();
        while let Some(late) = queue.overdue(now) {
            let why = late.why.as_ref().map_or_else(
                || "given up before its turn came".to_owned(),
                |why| format!("given up after {} tries: {why}", late.tries),
            );
            self.end(late.delivery.covers.clone(), &NoticeEnd::of(&late, &why));
        }
        if queue.is_empty() {
            return if self.is_configured.get() { Turn::Wait(None) } else { Turn::Over };
        }
        if !self.rate.borrow().has_month(month((self.around.time)())) {
            while let Some(waiting) = queue.pop(now, false) {
                self.end(waiting.delivery.covers.clone(), &NoticeEnd::of(&waiting, MONTH_USED_UP));
            }
        }
        let paused = self.lately.pause_until.get().max(self.lately.asked_until.get());
        let free = self.rate.borrow().free_at(now).max(Some(paused).filter(|at| *at > now));
        let is_failing = self.lately.failing.get() > 0;
        let ready = if free.is_none() { queue.pop(now, is_failing) } else { None };
        if let Some(waiting) = ready {
            self.trying.set(waiting.covers().len());
            return Turn::Try(Box::new(waiting));
        }
        let due = queue.due_at().max(free);
        Turn::Wait(due.into_iter().chain(queue.ends_at()).min())
    }

    /// A try ended. What it says of others of its groups follows it.
    fn land(&self, waiting: Waiting, result: Result<Delivered, Miss>, now: Instant) {
        self.settle(waiting, result, now);
        let unheard = self.queue.borrow_mut().unheard();
        self.replaced(unheard);
    }

    fn settle(&self, mut waiting: Waiting, result: Result<Delivered, Miss>, now: Instant) {
        waiting.tries += 1;
        if let Err(miss) = &result {
            waiting.delivery.missed(miss);
        }
        self.queue.borrow_mut().tried(&waiting, result.is_ok());
        let miss = match result {
            Ok(Delivered { reference, opens }) => {
                self.works(now);
                let notice = &waiting.delivery.notice;
                let is_digest = waiting.delivery.is_digest();
                // A digest is nobody's first message.
                let reference = reference.filter(|_| !is_digest);
                let of_several = is_digest && notice.tells == NoticeKind::Firing;
                let digest = of_several.then(|| DigestTold { key: key(&notice.id), opens });
                let (result, tries) = (Ok((reference, digest)), waiting.tries);
                let end = NoticeEnd { result, tries, replaced: false, maybe: false };
                return self.end(waiting.delivery.covers, &end);
            }
            Err(miss) => miss,
        };
        match miss {
            Miss::Refused { why } => {
                self.answers(now);
                self.tell_of_failure(&why);
                self.end(waiting.delivery.covers.clone(), &NoticeEnd::of(&waiting, &why));
            }
            Miss::Final { why } => {
                self.fails(&why, now);
                self.end(waiting.delivery.covers.clone(), &NoticeEnd::of(&waiting, &why));
            }
            Miss::Again { why, after, is_unsent: _ } => {
                if let Some(after) = after {
                    self.asks_for_time(after, &why, now);
                } else {
                    waiting.not_before = now + self.pause(waiting.tries);
                    if waiting.delivery.is_partly_done() {
                        self.tell_of_failure(&why);
                    } else {
                        self.fails(&why, now);
                    }
                }
                waiting.why = Some(why);
                let replaced = self.queue.borrow_mut().put_back(waiting);
                self.replaced(replaced);
            }
        }
    }

    fn pause(&self, failed: u32) -> Duration {
        pause_between((CHANNEL_PAUSE, CHANNEL_PAUSE_MAX), failed, (self.around.random)())
    }

    fn fails(&self, why: &str, now: Instant) {
        let failing = self.lately.failing.get().saturating_add(1);
        self.lately.failing.set(failing);
        self.lately.pause_until.set(now + self.pause(failing));
        self.watch.why.replace(Some(why.into()));
        self.tell_of_failure(why);
    }

    /// Tells the log, once until it works.
    fn tell_of_failure(&self, why: &str) {
        if !self.lately.is_told.replace(true) {
            let channel = &*self.watch.name;
            tracing::warn!(target: "gemba::andon", channel, reason = why, "a channel of notifications fails");
        }
    }

    /// The receiver asked for time. It gets more the more often it asks: it may ask for none.
    fn asks_for_time(&self, after: Duration, why: &str, now: Instant) {
        let asking = self.lately.asking.get().saturating_add(1);
        self.lately.asking.set(asking);
        self.watch.why.replace(Some(why.into()));
        self.watch.rate_limited.set(self.watch.rate_limited.get() + 1);
        self.lately.asked_until.set(now + after.min(CHANNEL_RETRY_AFTER_MAX).max(self.pause(asking)));
        if asking == 1 {
            let (channel, seconds) = (&*self.watch.name, after.as_secs());
            tracing::warn!(
                target: "gemba::andon",
                channel,
                seconds,
                reason = why,
                "the receiver of a channel asks for a pause"
            );
        }
    }

    /// The receiver answers, whatever it says.
    fn answers(&self, now: Instant) {
        self.lately.asking.set(0);
        self.watch.why.take();
        if self.lately.failing.replace(0) >= OUTAGE_TRIES {
            self.queue.borrow_mut().hurry(now);
        }
    }

    fn works(&self, now: Instant) {
        self.answers(now);
        if self.lately.is_told.replace(false) {
            let channel = &*self.watch.name;
            tracing::info!(target: "gemba::andon", channel, "a channel of notifications works again");
        }
    }
}

#[cfg(test)]
mod tests;
