//! One ingress thread: a single-threaded runtime, the connections that it is handed, and the two
//! lanes to the journal. A connection never leaves its thread, so nothing here is shared and nothing locks, but the
//! table from which a tenant's rate is leased.

mod pump;
mod quota;

use std::cell::{Cell, Ref, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::acceptor::Accepted;
use super::admission::Admission;
use super::answer::{Promised, Refused, Told};
use super::callback::{CallbackAsked, CallbackSource};
use super::client_address::TrustedProxies;
use super::connection;
use super::guard::{Guard, SMALL_BODY_BYTES, Turn};
use super::memory_budget::MemoryBudget;
use super::outbox::SharedOutbox;
use super::rate::{Buckets, Leases};
use super::traced::{self, Choice, Chooser, Traced};
use super::under_way::UnderWay;
use super::waiting::{Held, Overdue, Wait, Waiting};
use crate::clock::{self, Instant};
use crate::event::{Ack, Arrival};
use crate::kaizen::{Counter, Metric, Recorder, Stage as Measured};
use crate::limits;
use crate::ring::{Bell, Crowd, Current, Mark, Receiver, Sender, Switch, Updates};
use crate::signal::{Fixed, Signals};
use crate::signature::{Keyring, Now, Refusal, RefusalName};

/// A configured source of signals.
#[derive(Debug)]
pub struct Source {
    pub name: Box<str>,
    pub keyring: Keyring,
    pub fixed: Fixed,
    /// Signatures that were refused, by [`Refusal`].
    refusals: [metrics::Counter; RefusalName::ALL.len()],
}

impl Source {
    #[must_use]
    pub fn new(name: &str, keyring: Keyring, fixed: Fixed) -> Self {
        let refusals =
            RefusalName::ALL.map(|reason| Metric::SignatureRefusals.counter(&[name, reason.into_str()]));
        Self { name: name.into(), keyring, fixed, refusals }
    }

    /// Counts a signature that was refused.
    pub fn refused(&self, refusal: Refusal) {
        self.refusals[refusal.name() as usize].increment(1);
    }
}

/// Sources as a thread looked them up; so, requests count them for this thread alone.
#[derive(Debug)]
struct LookedUp(Arc<Vec<Source>>);

impl LookedUp {
    fn find(self: Rc<Self>, name: &str) -> Option<SourceInUse> {
        let at = self.0.iter().position(|source| *source.name == *name)?;
        Some(SourceInUse { sources: self, at })
    }
}

/// A source that a request has to do with.
#[derive(Debug)]
pub struct SourceInUse {
    sources: Rc<LookedUp>,
    at: usize,
}

impl std::ops::Deref for SourceInUse {
    type Target = Source;

    fn deref(&self) -> &Source {
        &self.sources.0[self.at]
    }
}

/// What one thread is given.
#[derive(Debug)]
pub struct Plan {
    /// Connections that all threads together may hold.
    pub connections_max: usize,
    pub sources: Current<Vec<Source>>,
    /// Channels that may call back, and where what they say is taken.
    pub callbacks: (Current<Vec<CallbackSource>>, mpsc::Sender<CallbackAsked>),
    /// Rates of all threads.
    pub buckets: Arc<Buckets>,
    /// Tenants who must wait.
    pub crowd: Crowd,
    /// The journal's time, in milliseconds since 1970.
    pub time: Mark,
    /// Threads that share the node's bounds.
    pub threads: usize,
    /// How long a connection may be without a request, and how long it lives, in seconds.
    pub idle_seconds: u32,
    pub connection_seconds: u32,
    /// Who is believed about its clients' addresses.
    pub trusted_proxies: TrustedProxies,
    /// Stop accepting; finish what is under way.
    pub drain: Switch,
    /// Leave everything as it is.
    pub abandon: Switch,
}

/// The ends of this thread's lanes. They outlive a run of the thread, so a restarted one knows which answers are not
/// for its own requests.
#[derive(Debug)]
pub struct Ends {
    arrivals: RefCell<Sender<Arrival>>,
    acks: RefCell<Receiver<Ack>>,
    bell: Arc<Bell>,
    acked: Arc<Notify>,
    accepted: RefCell<mpsc::Receiver<Accepted>>,
    /// Units that were offered and not yet answered.
    under_way: RefCell<UnderWay>,
    recorder: RefCell<Recorder>,
}

impl Ends {
    /// `acked` is what the bell of the acks lane notifies.
    #[must_use]
    pub fn new(
        arrivals: Sender<Arrival>,
        acks: Receiver<Ack>,
        bell: Arc<Bell>,
        acked: Arc<Notify>,
        accepted: mpsc::Receiver<Accepted>,
        recorder: Recorder,
    ) -> Rc<Self> {
        let (arrivals, acks) = (RefCell::new(arrivals), RefCell::new(acks));
        let (accepted, recorder) = (RefCell::new(accepted), RefCell::new(recorder));
        Rc::new(Self { arrivals, acks, bell, acked, accepted, under_way: RefCell::default(), recorder })
    }
}

/// Everything that one thread's requests share.
pub struct Ingress {
    updates: Updates<Vec<Source>>,
    sources: RefCell<Rc<LookedUp>>,
    callbacks: (Current<Vec<CallbackSource>>, mpsc::Sender<CallbackAsked>),
    /// For what has not been verified and what nobody takes.
    pub memory: Rc<MemoryBudget>,
    pub admission: Admission,
    ends: Rc<Ends>,
    waiting: Rc<RefCell<Waiting>>,
    leases: RefCell<Leases>,
    crowd: Crowd,
    threads: usize,
    guard: RefCell<Guard>,
    /// The last sweep, and for how long the thread had run then.
    swept: Cell<(Instant, Duration)>,
    seconds: Rc<Cell<u32>>,
    /// For the `date` of answers.
    date: RefCell<String>,
    /// Connections that have something to write.
    due: RefCell<Vec<SharedOutbox>>,
    time: Mark,
    unix_seconds: Cell<Now>,
    sample: Cell<u32>,
    chooser: Chooser,
    acked_now: Cell<u64>,
    acked_per_second: Cell<u64>,
    draining: Cell<bool>,
    /// What a read of a socket brought, while it is looked at.
    pub scratch: RefCell<Box<[u8]>>,
}

/// The time between two sweeps that counts for deadlines, at most.
const SWEEP_COUNTS: Duration = Duration::from_secs(2);
/// Every so many requests are measured stage by stage.
const SAMPLE: u32 = 16;

impl Ingress {
    #[must_use]
    pub fn new(plan: &Plan, ends: Rc<Ends>) -> Self {
        let seconds = Rc::default();
        let memory = MemoryBudget::new(limits::UNVERIFIED_BYTES_MAX / plan.threads);
        Self {
            updates: plan.sources.updates(),
            sources: RefCell::new(Rc::new(LookedUp(plan.sources.get()))),
            callbacks: plan.callbacks.clone(),
            admission: Admission::new(
                plan.connections_max / plan.threads,
                (plan.idle_seconds, plan.connection_seconds),
                plan.trusted_proxies.clone(),
                Rc::clone(&memory),
                Rc::clone(&seconds),
            ),
            memory,
            ends,
            waiting: Rc::default(),
            leases: RefCell::new(Leases::new(Arc::clone(&plan.buckets))),
            crowd: plan.crowd.clone(),
            threads: plan.threads,
            guard: RefCell::new(Guard::new(plan.threads)),
            swept: Cell::new((clock::now(), Duration::ZERO)),
            seconds,
            date: RefCell::new(http_date()),
            due: RefCell::default(),
            time: plan.time.clone(),
            unix_seconds: Cell::new(now(&plan.time)),
            sample: Cell::new(0),
            chooser: Chooser::new(),
            acked_now: Cell::new(0),
            acked_per_second: Cell::new(0),
            draining: Cell::new(false),
            scratch: RefCell::new(vec![0; limits::H1_BUFFER_BYTES].into()),
        }
    }

    /// Coarse seconds since the thread began.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        self.seconds.get()
    }

    /// The `date` of answers.
    #[must_use]
    pub fn date(&self) -> Ref<'_, str> {
        Ref::map(self.date.borrow(), String::as_str)
    }

    /// Coarse time, for the age of signatures.
    #[must_use]
    pub fn unix_seconds(&self) -> Now {
        self.unix_seconds.get()
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// The source of this name, as it is configured now.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<SourceInUse> {
        self.sources_now().find(name)
    }

    /// The same source, as it is configured now; one that reads bodies in another mode is another source.
    #[must_use]
    pub fn same_source(&self, source: SourceInUse) -> Option<SourceInUse> {
        let now = self.sources_now();
        if Rc::ptr_eq(&now, &source.sources) {
            return Some(source);
        }
        now.find(&source.name).filter(|now| now.fixed.binary == source.fixed.binary)
    }

    fn sources_now(&self) -> Rc<LookedUp> {
        if let Some(changed) = self.updates.take() {
            self.sources.replace(Rc::new(LookedUp(changed)));
        }
        Rc::clone(&self.sources.borrow())
    }

    pub fn count(&self, counter: Counter, by: u64) {
        self.ends.recorder.borrow_mut().count(counter, by);
    }

    pub fn record(&self, stage: Measured, took: Duration) {
        self.ends.recorder.borrow_mut().record(stage, took);
    }

    /// Counts a request; whether it is measured stage by stage.
    pub fn samples(&self) -> bool {
        self.sample.set(self.sample.get().wrapping_add(1));
        self.is_sampled()
    }

    fn is_sampled(&self) -> bool {
        self.sample.get().is_multiple_of(SAMPLE)
    }

    /// Which trace a request belongs to; `None` where none is recorded.
    pub fn choose(&self, headers: &HeaderMap) -> Option<Choice> {
        let recorder = self.ends.recorder.borrow();
        recorder.tracing().map(|(_, sampling)| self.chooser.choose(sampling, headers))
    }

    /// When a body of so many bytes, all of which have come, may be checked.
    pub fn turn(&self, client: IpAddr, source: &str, bytes: u64) -> Turn {
        // What never waits needs no look at the clock.
        if bytes <= SMALL_BODY_BYTES {
            return Turn::Now;
        }
        self.guard.borrow_mut().turn(client, source, bytes, clock::nanos())
    }

    /// A signature did not hold.
    pub fn guard_bad(&self, client: IpAddr, source: &str) {
        self.guard.borrow_mut().bad(client, source, clock::nanos());
    }

    /// Channels that may call back, as they are configured now. Few do, so each looks anew.
    #[must_use]
    pub fn callbacks(&self) -> Arc<Vec<CallbackSource>> {
        self.callbacks.0.get()
    }

    /// Hands a callback to the line.
    ///
    /// # Errors
    /// When as many wait already as may.
    pub fn call_back(&self, asked: CallbackAsked) -> Result<(), Refused> {
        let retry_after = self.retry_after();
        self.callbacks
            .1
            .try_send(asked)
            .map_err(|_| Refused::Busy { why: "as many callbacks wait already as may", retry_after })
    }

    /// Offers a unit to the journal; whoever offered it must take the next turn at once.
    ///
    /// # Errors
    /// When the lane is full, or as many units are under way as answers fit.
    pub fn offer(&self, signals: Signals) -> Result<(), Refused> {
        crate::fault::point("K6");
        let bytes = signals.as_slice().iter().map(|signal| signal.body().len()).sum();
        let has_room = self.ends.under_way.borrow().has_room(self.threads);
        let arrival = Arrival::Signals(signals, self.is_sampled().then(clock::nanos));
        if !has_room || self.ends.arrivals.borrow_mut().push(arrival).is_err() {
            return Err(Refused::Busy { why: "the line is full", retry_after: self.retry_after() });
        }
        self.ends.under_way.borrow_mut().offered(bytes);
        self.ends.arrivals.borrow().ring();
        Ok(())
    }

    /// Waits for the journal's answer to what was just offered.
    pub async fn wait(&self, promised: Promised) -> Told {
        match Wait::new(&self.waiting, self.seconds()).await {
            Ok(ack) => promised.tell(&ack, self.retry_after()),
            Err(Overdue) => Told::Refused(self.overdue()),
        }
    }

    /// Has the journal's answer to what was just offered go to the connection's outbox.
    pub fn await_in(&self, outbox: &SharedOutbox, promised: Promised) {
        let slot = outbox.borrow_mut().promise();
        let held = Held { outbox: Rc::clone(outbox), slot, promised };
        self.waiting.borrow_mut().hold(held, self.seconds());
    }

    fn overdue(&self) -> Refused {
        Refused::Busy {
            why: "the journal is slow; the signal may have been taken: send it again with the same id",
            retry_after: self.retry_after(),
        }
    }

    fn tell(&self, held: Held, ack: Option<&Ack>) {
        let Held { outbox, slot, mut promised } = held;
        let (begun, traced) = (promised.begun, promised.traced.take());
        let told = match ack {
            Some(ack) => promised.tell(ack, self.retry_after()),
            None => Told::Refused(self.overdue()),
        };
        self.count_told(&told, begun, traced);
        let due = outbox.borrow_mut().tell(slot, told, &self.date());
        if due {
            self.due.borrow_mut().push(outbox);
        }
    }

    /// Counts how a unit ended.
    pub fn count_told(&self, told: &Told, begun: Instant, traced: Option<Box<Traced>>) {
        let ended = clock::now();
        let mut recorder = self.ends.recorder.borrow_mut();
        match told {
            Told::Refused(refused) => recorder.count(refused.counter(), 1),
            Told::Accepted { .. } => {
                let (taken, known) = told.taken();
                recorder.count(Counter::Accepted, taken);
                recorder.count(Counter::Duplicate, known);
            }
        }
        recorder.record(Measured::Whole, ended - begun);
        if let Some(tracer) = recorder.tracer() {
            match traced {
                Some(traced) => traced.tell(&told.answered(), (begun, ended), tracer),
                None if tracer.is_slow(ended - begun) => {
                    traced::tell_of_slow(&told.answered(), (begun, ended), tracer);
                }
                None => {}
            }
        }
    }

    /// Writes to every connection that was told something.
    fn write(&self) {
        for outbox in self.due.borrow_mut().drain(..) {
            outbox.borrow_mut().write();
        }
    }

    /// Seconds until our backlog should be gone, from the measured rate; ±20 % so that senders do not come back as
    /// one.
    #[must_use]
    pub fn retry_after(&self) -> u32 {
        let backlog = self.waiting.borrow().len() as u64;
        let seconds = (backlog / self.acked_per_second.get().max(1)).clamp(1, 60);
        let jitter = u64::from(self.sample.get().wrapping_mul(2_654_435_761) >> 16) % 41;
        u32::try_from((seconds * (80 + jitter)).div_ceil(100)).unwrap_or(60).clamp(1, 60)
    }

    /// Once a second: coarse clocks, overdue connections and requests, measurements.
    fn sweep(&self) {
        let now = clock::now();
        let (last, ran) = self.swept.get();
        // Nobody was slow while the process was stopped.
        let ran = ran + now.saturating_duration_since(last).min(SWEEP_COUNTS);
        self.swept.set((now, ran));
        self.seconds.set(u32::try_from(ran.as_secs()).unwrap_or(u32::MAX));
        self.unix_seconds.set(self::now(&self.time));
        self.acked_per_second.set(self.acked_now.replace(0));
        *self.date.borrow_mut() = http_date();
        let limit = self.seconds().saturating_sub(limits::JOURNAL_WAIT_SECONDS);
        let given_up = self.waiting.borrow_mut().give_up(limit);
        for held in given_up {
            self.tell(held, None);
        }
        self.write();
        self.admission.sweep();
        self.ends.recorder.borrow_mut().flush_if_due(now);
    }

    fn drain(&self) {
        self.draining.set(true);
        self.admission.close_all();
    }

    fn is_done(&self) -> bool {
        self.waiting.borrow().is_empty() && self.admission.is_empty()
    }
}

impl std::fmt::Debug for Ingress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingress").finish_non_exhaustive()
    }
}

fn now(time: &Mark) -> Now {
    Now { wall: clock::wall().0 / 1000, journal: time.read() / 1000 }
}

fn http_date() -> String {
    let wall = clock::wall().0.min(clock::WALL_MILLIS_MAX);
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_millis(wall))
}

/// Runs one ingress thread until the line has drained.
///
/// # Errors
/// When the runtime or the listener cannot be set up.
pub fn run(plan: &Plan, ends: &Rc<Ends>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(async {
        let drain = plan.drain.clone();
        let ingress = Rc::new(Ingress::new(plan, Rc::clone(ends)));
        let mut tasks = JoinSet::new();
        tasks.spawn_local(pump::pump(Rc::clone(&ingress)));
        let accepting = tasks.spawn_local(accept(Rc::clone(&ingress)));
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0u32;
        let mut drained_ticks = 0u32;
        loop {
            tick.tick().await;
            if let Some(Err(ended)) = tasks.try_join_next()
                && ended.is_panic()
            {
                // Without one of them nobody is served or answered.
                std::panic::resume_unwind(ended.into_panic());
            }
            ticks = ticks.wrapping_add(1);
            if ticks.is_multiple_of(10) {
                ingress.sweep();
            }
            if plan.abandon.is_on() {
                return Ok(());
            }
            crate::fault::stumble("ingress", u64::from(ticks));
            if drain.is_on() {
                if !ingress.is_draining() {
                    accepting.abort();
                    ingress.drain();
                }
                drained_ticks += 1;
                if ingress.is_done() || drained_ticks > limits::DRAIN_SECONDS * 10 {
                    ends.recorder.borrow_mut().flush();
                    return Ok(());
                }
            }
        }
    })
}

async fn accept(ingress: Rc<Ingress>) {
    let ends = Rc::clone(&ingress.ends);
    while let Some(Accepted { socket, peer, seat }) =
        poll_fn(|cx| ends.accepted.borrow_mut().poll_recv(cx)).await
    {
        let Ok(socket) = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket)) else {
            continue;
        };
        let Some(watch) = ingress.admission.admit(peer) else { continue };
        // Without it small answers wait for the client's delayed acknowledgement; failing is no reason to refuse the
        // connection.
        let _best_effort = socket.set_nodelay(true);
        let ingress = Rc::clone(&ingress);
        tokio::task::spawn_local(async move {
            connection::serve(socket, Rc::clone(&watch), Rc::clone(&ingress)).await;
            ingress.admission.leave(&watch);
            drop(seat);
        });
    }
}
