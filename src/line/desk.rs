//! What the operator plane sees of the line, and how its orders reach the journal. An order is answered when its event
//! is durable and whoever it concerns has stepped it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedMutexGuard, oneshot};

use super::actions::{self, Watches};
use super::alert_orders::{self, AlertLine};
use super::answer::{answered, in_time};
use super::board::BoardWatch;
use super::bodies::Bodies;
use super::channels::{self, ChannelWatches};
use super::health::Health;
use super::live::{self, Configuration, Live, Prepared};
use super::measured;
use super::resolved::{self, CaseVersion};
use super::sharing::{Elsewhere, Here};
use super::story;
use super::supervisor::Restarts;
use super::unwritable::UnwritableNote;
use super::wiring::{Gauge, OperatorEnds, read_lanes};
use crate::alert::{Alarm, AlertDigits, AlertPage, AlertsWanted, Callback, MeantAlert};
use crate::andon::channel::{SentFile, SentPath};
use crate::andon::log::{LogError, LoggedReceipt, Reader, SearchPage};
use crate::board_view::BoardView;
use crate::case::{Case, CaseFilter, CaseId, Cause, Found, Status};
use crate::clock;
use crate::config::ExpectedSource;
use crate::event::{Command, Order, Reconfigured, Replay, RulesText, Seq, Subject, UnixMillis, Verb};
use crate::halt::{Halt, HaltOrder, HaltScope};
use crate::improvement::{Look, NodeLook};
use crate::jidoka::alerts::{AlertsAsked, AlertsSeen, NoticeLane};
use crate::jidoka::query::{Among, Page, Query, Question};
use crate::jidoka::rules::{Compiled, RulesSource};
use crate::jidoka::store::{Cases, Followups, StoreError};
use crate::jidoka::tap::{Taps, TooMany};
use crate::kaizen::{Collector, Counter, Format, Metric, Readings, Show};
use crate::kanban::stage as journal;
use crate::limits::{
    DISCARD_PAGE, DISCARDED_AT_ONCE, GOVERNORS_LISTED_MAX, HALTED_LISTED_MAX, REACH_GOVERNORS_MAX,
    SEARCH_REST, TAP_PAGE, TAPS_MAX, TAPS_OF_ONE,
};
use crate::logging;
use crate::net::backoff::random;
use crate::operator::{Again, AlertOrder, Filter, Line, OperatorCommand, Refused, Reply, Resolved, Said};
use crate::place::ConfigError;
use crate::printable::with_noun;
use crate::receipt::filter::ReceiptFilter;
use crate::receipt::{ReceiptId, ReceiptType, StateName};
use crate::ring::{Full, Mark, Sender, Tide};
use crate::signal::{Fingerprint, Provenance, Signal};
use crate::tapped::TapAsked;
use crate::view::{
    AlertOrdered, AlertView, ConfigView, DiscardedView, DryRun, GovernorView, HaltView, HaltsView, LogLevels,
    NodeStatus, Ordered, PeerView, ReachView, ReceiptPage, Reloaded, RulesView, SettingChange, SignalStatus,
    SilenceView, StageHealth, Story, TapView,
};

/// What is known of the line outside its threads.
pub struct Known {
    pub live: Live,
    pub configuration: Arc<dyn Configuration>,
    /// What does not change while the node runs.
    pub node: NodeLook,
    pub gauges: Arc<[Gauge]>,
    pub health: Health,
    /// How often the line started again.
    pub restarts: Arc<Mutex<Restarts>>,
    /// Whom to ask for what is not known here.
    pub peers: Arc<[PeerView]>,
    /// Signals that were accepted.
    pub bodies: Bodies,
    /// What the last process left that could not write.
    pub unwritable: UnwritableNote,
    /// Where is kept what channels have sent.
    pub sent: SentPath,
    /// An edge decides on nothing.
    pub decided: Option<Decided>,
}

/// What is known where signals are decided.
pub struct Decided {
    pub reader: Reader,
    pub followups: Followups,
    pub cases: Cases,
    pub states: Vec<[Mark; 6]>,
    pub compiled: Arc<Compiled>,
    pub elsewhere: Elsewhere,
    /// Events up to here are in the store.
    pub settled: Tide,
    /// Viewers that look at what is decided.
    pub taps: Taps,
    /// What people are to be told.
    pub notices: NoticeLane,
}

/// Cheap to clone: one desk for the whole plane.
#[derive(Clone)]
pub struct Desk(Rc<Inner>);

struct Inner {
    known: Known,
    journal: RefCell<Sender<journal::Query>>,
    orders: RefCell<Sender<journal::Ordered>>,
    shards: Vec<RefCell<Sender<Query>>>,
    targets: Watches,
    channels: ChannelWatches,
    /// Alerts as they were seen last.
    alerts: RefCell<AlertsSeen>,
    collector: Rc<RefCell<Collector>>,
    /// Cases that are on their way through the line again, by the event that sent them; the store does not know yet.
    replaying: RefCell<HashMap<CaseId, Seq>>,
    reload_failures: RefCell<u64>,
    reloads: Reloads,
    /// Held by the one who reads the configuration anew.
    reloading: Arc<tokio::sync::Mutex<()>>,
    /// Held by the one who searches the log.
    searching: Arc<tokio::sync::Mutex<()>>,
    board: RefCell<BoardWatch>,
}

/// Readings of the configuration, by how they ended.
struct Reloads {
    changed: metrics::Counter,
    unchanged: metrics::Counter,
    refused: metrics::Counter,
}

impl Default for Reloads {
    fn default() -> Self {
        let of = |result| Metric::Reloads.counter(&[result]);
        Self { changed: of("changed"), unchanged: of("unchanged"), refused: of("refused") }
    }
}

/// Why a configuration is not read.
const BUSY: &str = "the configuration is being read already: ask again when that has ended";
/// Why rules were not changed.
const RULES_CHANGED: &str =
    "nothing changed: each time other rules came to hold before those of this order; order it again";
/// How often rules are made anew, when others came first.
const RULES_TRIES: usize = 3;
/// Why a case is not ordered on.
const REPLAYED: &str = "it is being replayed";
const NO_CASE: &str =
    "there is no dead letter of this id; closed ones are kept for `dead_letters.retention_days`";
const NO_SIGNAL: &str =
    "no signal of this tenant and id is remembered; one of a binary source cannot be looked up by its id";
const NO_GOVERNOR: &str = "there is no governor of this tenant and SKU";

fn send<T>(lane: &RefCell<Sender<T>>, value: T) -> Result<(), Refused> {
    let mut lane = lane.borrow_mut();
    lane.push(value).map_err(|Full(_)| Refused::Unavailable)?;
    lane.ring();
    Ok(())
}

/// What is on the store's disk is read apart: a long search must not keep actions waiting.
async fn read<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Refused> {
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) | Err(_) => Err(Refused::Unavailable),
    }
}

/// The log is read apart, too, and not waited for longer than an answer may take: its disk may hang.
async fn read_log<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    in_time(tokio::task::spawn_blocking(read)).await?.map_err(|_| Refused::Unavailable)?
}

/// Brings a change of rules or configuration to its end, also when the operator has long been told that there was no answer.
/// Until then no other one begins.
async fn to_its_end<T: 'static>(
    one: OwnedMutexGuard<()>,
    change: impl Future<Output = Result<T, Refused>> + 'static,
) -> Result<T, Refused> {
    let changing = tokio::task::spawn_local(async move {
        let _one = one;
        change.await
    });
    in_time(changing).await?.map_err(|_| Refused::Unavailable)?
}

impl Desk {
    #[must_use]
    pub fn new(
        known: Known,
        ends: OperatorEnds,
        targets: Watches,
        collector: Rc<RefCell<Collector>>,
    ) -> Self {
        Self(Rc::new(Inner {
            known,
            journal: RefCell::new(ends.journal),
            orders: RefCell::new(ends.orders),
            shards: ends.shards.into_iter().map(RefCell::new).collect(),
            targets,
            channels: ChannelWatches::default(),
            alerts: RefCell::default(),
            collector,
            replaying: RefCell::default(),
            reload_failures: RefCell::default(),
            reloads: Reloads::default(),
            reloading: Arc::default(),
            searching: Arc::default(),
            board: RefCell::default(),
        }))
    }

    /// An answer that this desk makes.
    fn reply<T, F>(&self, make: impl FnOnce(Rc<Inner>) -> F) -> Reply<T>
    where
        F: Future<Output = Result<T, Refused>> + 'static,
    {
        Box::pin(make(Rc::clone(&self.0)))
    }
}

impl Inner {
    fn decided(&self) -> Result<&Decided, Refused> {
        let elsewhere = || {
            Refused::NotOwned(
                "this node is an edge, which decides nothing: ask the processor of this tenant".into(),
            )
        };
        self.known.decided.as_ref().ok_or_else(elsewhere)
    }

    /// Offers an order to the journal, which tells its number; on an error nothing was ordered.
    fn offer(&self, order: Order) -> Result<oneshot::Receiver<Seq>, Refused> {
        if !self.known.health.ready.is_on() || self.known.health.journal.drain.is_on() {
            return Err(Refused::Unavailable);
        }
        let (tell, answer) = oneshot::channel();
        send(&self.orders, journal::Ordered { order, answer: tell })?;
        Ok(answer)
    }

    /// Brings an order on a case into the journal, and waits until its governor has stepped it. From the offer on a second
    /// order is refused, whether this one is answered in time or not.
    async fn order_on(
        self: &Rc<Self>,
        id: CaseId,
        (subject, here): (Subject, Here),
        order: Order,
    ) -> Result<Seq, Refused> {
        let decided = self.decided()?;
        // Whoever has looked at the case may have waited for its governor since.
        if self.replaying.borrow().contains_key(&id) {
            return Err(Refused::Conflict(REPLAYED.into()));
        }
        let answer = self.offer(order)?;
        // What the store has passed, it knows of.
        let settled = decided.settled.read();
        self.replaying.borrow_mut().retain(|_, seq| seq.0 > settled);
        self.replaying.borrow_mut().insert(id, Seq(u64::MAX));
        let inner = Rc::clone(self);
        // Apart, since the number may come when the operator has long been told that there was no answer.
        let noted = tokio::task::spawn_local(async move {
            let seq = answer.await;
            let mut replaying = inner.replaying.borrow_mut();
            match seq {
                Ok(seq) => replaying.insert(id, seq),
                Err(_) => replaying.remove(&id),
            };
            seq
        });
        let Ok(Ok(seq)) = in_time(noted).await? else { return Err(Refused::Unavailable) };
        self.ask(&subject.tenant, seq, |answer| Question::Passed { answer }).await?;
        decided.elsewhere.counts(&subject, here, seq).await?;
        Ok(seq)
    }

    /// A shard that is still replaying would answer as of an earlier time.
    fn behind_the_start(&self, after: Seq) -> Result<Seq, Refused> {
        let health = &self.known.health;
        if !health.ready.is_on() {
            return Err(Refused::Unavailable);
        }
        Ok(after.max(Seq(health.began.read())))
    }

    /// Asks the shard of a tenant something that it answers once it has stepped the event `after`.
    async fn ask<T>(
        &self,
        tenant: &str,
        after: Seq,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, Refused> {
        let after = self.behind_the_start(after)?;
        let shard = journal::shard_of(tenant, self.shards.len());
        let lane = self.shards.get(shard).ok_or(Refused::Unavailable)?;
        let (tell, answer) = oneshot::channel();
        send(lane, Query { after, question: question(tell) })?;
        answered(answer).await
    }

    /// Asks every shard.
    async fn ask_all<T>(
        &self,
        after: Seq,
        question: impl Fn(oneshot::Sender<T>) -> Question,
    ) -> Result<Vec<T>, Refused> {
        let mut all = Vec::new();
        for answer in self.question_all(after, question)? {
            all.push(answered(answer).await?);
        }
        Ok(all)
    }

    /// Sends a question to every shard.
    fn question_all<T>(
        &self,
        after: Seq,
        question: impl Fn(oneshot::Sender<T>) -> Question,
    ) -> Result<Vec<oneshot::Receiver<T>>, Refused> {
        let after = self.behind_the_start(after)?;
        let ask = |lane| {
            let (tell, answer) = oneshot::channel();
            send(lane, Query { after, question: question(tell) })?;
            Ok(answer)
        };
        self.shards.iter().map(ask).collect()
    }

    async fn governor(&self, subject: &Subject, after: Seq) -> Result<Option<GovernorView>, Refused> {
        let question = |answer| Question::One { subject: subject.clone(), answer };
        self.ask(&subject.tenant, after, question).await
    }

    async fn command(
        &self,
        subject: Subject,
        verb: Verb,
        said: Said,
    ) -> Result<(Ordered, GovernorView), Refused> {
        let elsewhere = &self.decided()?.elsewhere;
        let here = elsewhere.load(&subject).await?;
        if !is_of_a_new_one(&verb) && self.governor(&subject, here.after).await?.is_none() {
            return Err(Refused::Missing(NO_GOVERNOR));
        }
        let Said { actor, reason } = said;
        let command = Command { subject: subject.clone(), verb, actor, reason };
        let seq = answered(self.offer(Order::Command(Box::new(command)))?).await?;
        let view = self.governor(&subject, seq).await?;
        elsewhere.counts(&subject, here, seq).await?;
        Ok((ordered(seq, 0), view.ok_or(Refused::Unavailable)?))
    }

    /// A case that may be ordered on, and its signal.
    async fn open_case(&self, id: CaseId) -> Result<(Case, Signal), Refused> {
        let Decided { cases, settled, .. } = self.decided()?;
        if !self.known.health.ready.is_on() {
            return Err(Refused::Unavailable);
        }
        // What was ordered before the line began is known of every case only when the store has passed it.
        in_time(settled.reaches(self.known.health.began.read())).await?;
        // What was ordered on this one since is known of it then, too, however it ended.
        let ordered = self.replaying.borrow().get(&id).copied().filter(|seq| seq.0 < u64::MAX);
        if let Some(seq) = ordered
            && in_time(settled.reaches(seq.0)).await.is_ok()
        {
            self.replaying.borrow_mut().retain(|other, last| *other != id || *last != seq);
        }
        let cases = cases.clone();
        let found = read(move || Ok(cases.find(id)?.zip(cases.signal(id)?))).await?;
        let (case, signal) = found.ok_or(Refused::Missing(NO_CASE))?;
        let mut replaying = self.replaying.borrow_mut();
        if replaying.get(&id).is_some_and(|seq| case.changed_by >= seq.0) {
            replaying.remove(&id);
        }
        if replaying.contains_key(&id) {
            return Err(Refused::Conflict(REPLAYED.into()));
        }
        if case.status != Status::Open {
            return Err(Refused::Conflict(format!("it is {} already", case.status.into_str())));
        }
        Ok((case, signal))
    }

    async fn dry_run(&self, id: CaseId) -> Result<DryRun, Refused> {
        let (case, signal) = self.open_case(id).await?;
        let subject = Subject::from(&signal);
        let here = self.decided()?.elsewhere.load(&subject).await?;
        let (actor, reason) = ("dry run".into(), "nothing is changed".into());
        let replay = Box::new(Replay { case: id.0, signal, actor, reason, resend: case.resend() });
        let now = UnixMillis(self.known.health.journal.clock.time.read());
        let question = |answer| Question::DryRun { replay, now, answer };
        let would = self.ask(&subject.tenant, here.after, question).await?;
        would.map_err(|panicked| Refused::Conflict(panicked.to_string()))
    }

    async fn replay(self: &Rc<Self>, id: CaseId, said: Said, how: Again) -> Result<Ordered, Refused> {
        let (case, signal) = self.open_case(id).await?;
        can_replay(&case, how)?;
        let subject = Subject::from(&signal);
        let here = self.decided()?.elsewhere.load(&subject).await?;
        let Said { actor, reason } = said;
        let replay = Replay { case: id.0, signal, actor, reason, resend: case.resend() };
        let seq = self.order_on(id, (subject, here), Order::Replay(Box::new(replay))).await?;
        Ok(ordered(seq, 1))
    }

    async fn discard(self: &Rc<Self>, id: CaseId, said: Said) -> Result<Ordered, Refused> {
        let (case, _) = self.open_case(id).await?;
        let Ok(subject) = Subject::read(&case.tenant, &case.sku) else { return Err(Refused::Unavailable) };
        let here = self.decided()?.elsewhere.load(&subject).await?;
        let Said { actor, reason } = said;
        let command = Command { subject: subject.clone(), verb: Verb::Discard(id.0), actor, reason };
        let seq = self.order_on(id, (subject, here), Order::Command(Box::new(command))).await?;
        Ok(ordered(seq, 0))
    }

    /// Has a halt begin or end. It is part of the rules: durable, and every shard goes by it, when this is answered.
    async fn order_halt(
        self: &Rc<Self>,
        scope: HaltScope,
        begins: bool,
        said: Said,
    ) -> Result<Ordered, Refused> {
        self.decided()?;
        let one = in_time(Arc::clone(&self.reloading).lock_owned()).await?;
        let by = HaltOrder { actor: said.actor.clone(), reason: said.reason.clone() };
        let since = UnixMillis(self.known.health.journal.clock.time.read());
        let halt = Halt { scope, by, since };
        let inner = Rc::clone(self);
        to_its_end(one, async move {
            let changed = |holding: &RulesSource| {
                let (holding, halt) = (holding.clone(), halt.clone());
                let changed = if begins { holding.halting(halt) } else { holding.resuming(halt.scope) };
                changed.map_err(|no| Refused::Conflict(no.to_string()))
            };
            let seq = inner.change_rules(said, changed).await?.ok_or(Refused::Unavailable)?;
            Ok(ordered(seq, 0))
        })
        .await
    }

    /// What a halt holds up, or would.
    async fn reach(&self, scope: HaltScope) -> Result<ReachView, Refused> {
        let compiled = &self.decided()?.compiled;
        let (_, holding) = compiled.holding().ok_or(Refused::Unavailable)?;
        let (tenant, among) = match &scope {
            HaltScope::Line => (None, Among::All),
            HaltScope::Tenant(tenant) => (Some(tenant.clone()), Among::All),
            HaltScope::Target(target) => (None, Among::ActingOn(target.clone())),
        };
        let mut view = ReachView::default();
        let mut after = None;
        while view.governors < REACH_GOVERNORS_MAX as u64 {
            let (tenant, among, limit) = (tenant.clone(), among.clone(), GOVERNORS_LISTED_MAX);
            let found = self.governors(Page { tenant, among, after: after.take(), limit }).await?;
            for governor in &found {
                view.governors += 1;
                let (deliveries, in_flight) = match &scope {
                    HaltScope::Line | HaltScope::Tenant(_) => {
                        (governor.deliveries as u64, u64::from(governor.in_flight_action.is_some()))
                    }
                    HaltScope::Target(target) => {
                        let out = governor.out.get(target).copied().unwrap_or_default();
                        if holding.background.contains_key(target) { (out, 0) } else { (0, out) }
                    }
                };
                view.deliveries += deliveries;
                view.in_flight += in_flight;
                if scope.kind() != "target" {
                    view.waiting += governor.mailbox_depth as u64;
                }
            }
            let Some(last) = found.last().filter(|_| found.len() == GOVERNORS_LISTED_MAX) else { break };
            after = Some((last.tenant.clone(), last.sku.clone()));
        }
        view.more = after.is_some();
        view.known = match &scope {
            HaltScope::Line => true,
            HaltScope::Tenant(_) => view.governors > 0,
            HaltScope::Target(target) => {
                view.rules = holding.rules_acting_by(target);
                holding.source.has_action(target)
            }
        };
        view.halt = holding.source.halts.iter().find(|halt| halt.scope == scope).map(HaltView::from);
        Ok(view)
    }

    /// Everything that operators halted.
    async fn halts(&self) -> Result<HaltsView, Refused> {
        let Decided { compiled, states, .. } = self.decided()?;
        let halts = compiled.halts().iter().map(HaltView::from).collect();
        let halted: u64 = states.iter().map(|states| states[StateName::Halted as usize].read()).sum();
        let mut governors = Vec::new();
        // Where none is, none is looked for.
        if halted > 0 {
            let page = Page { among: Among::Halted, limit: HALTED_LISTED_MAX + 1, ..Page::default() };
            governors = self.governors(page).await?;
        }
        let more = governors.len() > HALTED_LISTED_MAX;
        governors.truncate(HALTED_LISTED_MAX);
        Ok(HaltsView { halts, governors, more })
    }

    async fn governors(&self, page: Page) -> Result<Vec<GovernorView>, Refused> {
        let question = |answer| Question::Many { page: page.clone(), answer };
        let mut governors: Vec<GovernorView> =
            self.ask_all(Seq(0), question).await?.into_iter().flatten().collect();
        governors.sort_unstable_by(|a, b| (&a.tenant, &a.sku).cmp(&(&b.tenant, &b.sku)));
        governors.truncate(page.limit);
        Ok(governors)
    }

    /// The open dead letters that the filter takes, if there are `expected` of them.
    async fn fitting(&self, filter: CaseFilter, expected: u64) -> Result<Vec<CaseVersion>, Refused> {
        let cases = self.decided()?.cases.clone();
        let filter = CaseFilter { status: Some(Status::Open), ..filter };
        let other = |count: &str| {
            Refused::Conflict(format!(
                "{count} open dead letters fit, and {expected} were expected: nothing is done"
            ))
        };
        let (mut fitting, mut next) = (Vec::new(), Some(CaseId(Seq(0))));
        // Page by page, and no longer than it can still be right: so no more than `expected` are kept.
        while let Some(CaseId(after)) = next {
            let (cases, filter) = (cases.clone(), filter.clone());
            let found = read(move || cases.search(&filter, after, DISCARD_PAGE)).await?;
            if let Some(count) = found.count.filter(|count| after == Seq(0) && *count != expected) {
                return Err(other(&count.to_string()));
            }
            fitting.extend(found.page.iter().map(version));
            if fitting.len() as u64 > expected {
                return Err(other(&format!("{} or more", fitting.len())));
            }
            next = found.next;
        }
        if fitting.len() as u64 == expected { Ok(fitting) } else { Err(other(&fitting.len().to_string())) }
    }

    /// Discards every open dead letter that the filter takes, if there are `expected` of them, and if they are those that were `seen`.
    async fn discard_all(
        self: &Rc<Self>,
        filter: CaseFilter,
        expected: u64,
        said: Said,
        seen: Option<Resolved>,
    ) -> Result<DiscardedView, Refused> {
        let cases = self.fitting(filter, expected).await?;
        resolved::cases(&cases).is_as_seen(seen.as_ref())?;
        let mut view = DiscardedView::default();
        for some in cases.chunks(DISCARDED_AT_ONCE) {
            let orders = some.iter().map(|case| {
                let (inner, id, said) = (Rc::clone(self), case.id, said.clone());
                tokio::task::spawn_local(async move { inner.discard(id, said).await })
            });
            for order in orders.collect::<Vec<_>>() {
                match order.await {
                    Ok(Ok(_)) => view.discarded += 1,
                    Ok(Err(_)) | Err(_) => view.left += 1,
                }
            }
        }
        Ok(view)
    }

    async fn reload_policy(
        self: &Rc<Self>,
        said: Said,
        seen: Option<Resolved>,
    ) -> Result<Option<(Ordered, RulesView)>, Refused> {
        self.decided()?;
        // A reload of the whole configuration beside it would order rules of its own.
        let one = Arc::clone(&self.reloading).try_lock_owned();
        let one = one.map_err(|_| Refused::Conflict(BUSY.into()))?;
        let inner = Rc::clone(self);
        to_its_end(one, async move { inner.read_policy(said, seen).await }).await
    }

    async fn read_policy(
        &self,
        said: Said,
        seen: Option<Resolved>,
    ) -> Result<Option<(Ordered, RulesView)>, Refused> {
        let decided = self.decided()?;
        let (rulebook, compiled) = (self.known.live.rulebook.get(), Arc::clone(&decided.compiled));
        // Read and checked apart.
        let read = tokio::task::spawn_blocking(move || {
            let source = rulebook.look()?;
            compiled.of(&source.clone().under(compiled.halts()).to_text())?;
            let resolved = resolved::rules(&source, &rulebook.configured());
            Ok::<_, crate::place::ConfigError>((source, resolved))
        });
        let (source, resolved) = match read.await.map_err(|_| Refused::Unavailable)? {
            Ok(read) => read,
            Err(error) => {
                *self.reload_failures.borrow_mut() += 1;
                return Err(unfit_rules(&error));
            }
        };
        resolved.is_as_seen(seen.as_ref())?;
        self.known.live.rulebook.get().configure(source.clone());
        let Some(seq) = self.configure_rules(source, said).await? else { return Ok(None) };
        let (since, rules) = decided.compiled.holding().ok_or(Refused::Unavailable)?;
        Ok(Some((ordered(seq, 0), rules.view(since))))
    }

    /// Has configured rules hold, under the halts that do.
    async fn configure_rules(&self, rules: RulesSource, said: Said) -> Result<Option<Seq>, Refused> {
        self.change_rules(said, |holding| Ok(rules.clone().under(holding.halts.clone()))).await
    }

    /// Has the rules hold that are made from those that hold, unless they are the same. They name what they were made from,
    /// and where other rules came first they are void, and made anew. Whoever changes rules holds `reloading` until this
    /// ends, which is when every shard has stepped them.
    async fn change_rules(
        &self,
        said: Said,
        made_from: impl Fn(&RulesSource) -> Result<RulesSource, Refused>,
    ) -> Result<Option<Seq>, Refused> {
        for _ in 0..RULES_TRIES {
            self.stepped(Seq(0)).await?;
            let compiled = Arc::clone(&self.decided()?.compiled);
            let (since, holding) = compiled.holding().ok_or(Refused::Unavailable)?;
            let made = made_from(&holding.source)?;
            if made == holding.source {
                return Ok(None);
            }
            // Compiled apart; the shards find it done.
            let compiling = tokio::task::spawn_blocking(move || {
                let text = made.to_text();
                compiled.of(&text).map(|_| text)
            });
            let text = compiling.await.map_err(|_| Refused::Unavailable)?;
            let text = text.map_err(|error| Refused::Conflict(error.to_string()))?;
            let Said { actor, reason } = said.clone();
            let rules = RulesText::new(text, actor, reason);
            let rules = rules.map_err(|illegal| Refused::Wrong(illegal.to_string()))?.made_from(since);
            let seq = self.offer(Order::Rules(Arc::new(rules)))?.await.map_err(|_| Refused::Unavailable)?;
            self.stepped(seq).await?;
            if !self.decided()?.compiled.is_void(seq) {
                return Ok(Some(seq));
            }
        }
        Err(Refused::Conflict(RULES_CHANGED.into()))
    }

    /// Waits until every shard has stepped the event `seq`, however long the journal takes for it.
    async fn stepped(&self, seq: Seq) -> Result<(), Refused> {
        for answer in self.question_all(seq, |answer| Question::Passed { answer })? {
            answer.await.map_err(|_| Refused::Unavailable)?;
        }
        Ok(())
    }

    /// Reads the configuration anew: all of it holds, or nothing changes.
    async fn reload(
        self: &Rc<Self>,
        said: Said,
        if_match: Option<String>,
        seen: Option<Resolved>,
    ) -> Result<Reloaded, Refused> {
        let one = Arc::clone(&self.reloading).try_lock_owned();
        let one = one.map_err(|_| Refused::Conflict(BUSY.into()))?;
        self.read_and_hold(one, said, if_match, seen).await
    }

    /// Checks an order that waits for a second person as far as can be, and takes down what it comes to.
    async fn resolve(self: &Rc<Self>, command: OperatorCommand) -> Result<Resolved, Refused> {
        match command {
            OperatorCommand::Govern(subject, verb) => self.resolve_verb(subject, verb).await,
            OperatorCommand::Halt(scope) => {
                self.can_halt(scope.clone(), true)?;
                let ReachView { governors, waiting, deliveries, in_flight, more, .. } =
                    self.reach(scope).await?;
                let governors = with_noun(governors, "governor", "governors");
                let governors = if more { format!("{governors} or more") } else { governors };
                let waiting = with_noun(waiting, "waiting signal", "waiting signals");
                let actions = with_noun(deliveries + in_flight, "action", "actions");
                Ok(resolved::told_of(&format!("{governors}, {waiting}, {actions} on the way"), &()))
            }
            OperatorCommand::Resume(scope) => {
                self.can_halt(scope.clone(), false)?;
                let halts = self.decided()?.compiled.halts();
                let halt = halts.iter().find(|halt| halt.scope == scope).ok_or(Refused::Unavailable)?;
                Ok(resolved::told_of(&told_halt(&HaltView::from(halt)), halt))
            }
            OperatorCommand::Replay(id, how) => {
                let (case, _) = self.open_case(id).await?;
                can_replay(&case, how)?;
                Ok(resolve_case(&case))
            }
            OperatorCommand::Discard(id) => {
                let (case, _) = self.open_case(id).await?;
                Ok(resolve_case(&case))
            }
            OperatorCommand::DiscardAll(filter, expected) => {
                Ok(resolved::cases(&self.fitting(filter, expected).await?))
            }
            OperatorCommand::Alert(order) => alert_orders::resolve(&Desk(Rc::clone(self)), &order).await,
            OperatorCommand::ReloadPolicy => {
                let compiled = Arc::clone(&self.decided()?.compiled);
                let rulebook = self.known.live.rulebook.get();
                let read = tokio::task::spawn_blocking(move || {
                    let source = rulebook.look()?;
                    compiled.of(&source.clone().under(compiled.halts()).to_text())?;
                    let resolved = resolved::rules(&source, &rulebook.configured());
                    Ok::<_, ConfigError>(resolved.unless(!has_hold(&compiled, source)))
                });
                let read = read.await.map_err(|_| Refused::Unavailable)?;
                read.map_err(|error| unfit_rules(&error))
            }
            OperatorCommand::Reload { if_match } => {
                self.is_meant(if_match.as_deref())?;
                let (configuration, compiled) = self.read_from();
                let read = tokio::task::spawn_blocking(move || {
                    let prepared = right(configuration.look()?, compiled.as_deref())?;
                    let rules = prepared.rulebook().configured();
                    let is_other = compiled.is_some_and(|compiled| !has_hold(&compiled, rules));
                    Ok::<_, Vec<ConfigError>>(resolved::configuration(&*prepared).unless(is_other))
                });
                read.await.map_err(|_| Refused::Unavailable)?.map_err(Refused::Invalid)
            }
            OperatorCommand::LogLevels(change) => {
                let before = logging::levels();
                let after = before.changed(&change);
                let after =
                    after.map_err(|wrong| Refused::Wrong(format!("{}; {}", wrong.what, wrong.hint)))?;
                let (old, new) = (before.to_string(), after.to_string());
                let told = resolved::told_of(&format!("levels: {old} -> {new}"), &(&old, &new));
                Ok(Resolved { changes_nothing: before == after, ..told })
            }
        }
    }

    /// What an order to one governor comes to.
    async fn resolve_verb(&self, subject: Subject, verb: Verb) -> Result<Resolved, Refused> {
        let here = self.decided()?.elsewhere.load(&subject).await?;
        let governor = self.governor(&subject, here.after).await?;
        let halt = governor.iter().flat_map(|governor| &governor.halts);
        let halt = halt.filter(|halt| halt.scope == HALTED_ALONE).cloned().collect::<Vec<_>>();
        let Some(governor) = governor else {
            return if is_of_a_new_one(&verb) {
                Ok(resolved::told_of("no governor yet", &halt))
            } else {
                Err(Refused::Missing(NO_GOVERNOR))
            };
        };
        let waiting = with_noun(governor.mailbox_depth as u64, "waiting signal", "waiting signals");
        Ok(match verb {
            Verb::Quota(remaining) => {
                let left = governor.quota_remaining;
                resolved::told_of(&format!("actions left in this window: {left} -> {remaining}"), &())
            }
            Verb::Resume => {
                // One that its breaker halted has no halt of an operator.
                let halted = halt.first().map_or_else(|| governor.state.to_owned(), told_halt);
                resolved::told_of(&format!("{halted}; {waiting}"), &(governor.state, &halt))
            }
            Verb::Halt | Verb::Entitle | Verb::Revoke | Verb::Discard(_) => {
                resolved::told_of(&format!("{}, {waiting}", governor.state), &())
            }
        })
    }

    /// Whether a halt can begin or end now.
    fn can_halt(&self, scope: HaltScope, begins: bool) -> Result<(), Refused> {
        let (_, holding) = self.decided()?.compiled.holding().ok_or(Refused::Unavailable)?;
        let source = holding.source.clone();
        let changed = if begins {
            let (by, since) = (HaltOrder { actor: "".into(), reason: "".into() }, UnixMillis(0));
            source.halting(Halt { scope, by, since })
        } else {
            source.resuming(scope)
        };
        changed.map(drop).map_err(|no| Refused::Conflict(no.to_string()))
    }

    /// What a configuration is read by, and what its rules are compiled by.
    fn read_from(&self) -> (Arc<dyn Configuration>, Option<Arc<Compiled>>) {
        let compiled = self.known.decided.as_ref().map(|decided| Arc::clone(&decided.compiled));
        (Arc::clone(&self.known.configuration), compiled)
    }

    /// Whether the configuration that holds is the one that an order is about.
    fn is_meant(&self, if_match: Option<&str>) -> Result<(), Refused> {
        let tag = self.known.configuration.tag();
        let is_it = |wanted: &str| wanted.split(',').map(str::trim).any(|one| one == "*" || one == tag);
        if if_match.is_none_or(is_it) { Ok(()) } else { Err(Refused::Stale(tag)) }
    }

    /// The same as soon as nobody else does: a file that changed, and a signal, are not sent again.
    async fn reload_next(self: &Rc<Self>, said: Said) -> Result<Reloaded, Refused> {
        let one = Arc::clone(&self.reloading).lock_owned().await;
        self.read_and_hold(one, said, None, None).await
    }

    async fn read_and_hold(
        self: &Rc<Self>,
        one: OwnedMutexGuard<()>,
        said: Said,
        if_match: Option<String>,
        seen: Option<Resolved>,
    ) -> Result<Reloaded, Refused> {
        self.is_meant(if_match.as_deref())?;
        let (configuration, compiled) = self.read_from();
        // Apart: files may be slow, and rules take long to compile.
        let read = tokio::task::spawn_blocking(move || right(configuration.read()?, compiled.as_deref()));
        let prepared = match read.await.map_err(|_| Refused::Unavailable)? {
            Ok(prepared) => prepared,
            Err(errors) => {
                self.reloads.refused.increment(1);
                for ConfigError { place, what, hint } in &errors {
                    tracing::warn!(
                        target: "gemba::config",
                        actor = %said.actor,
                        %place,
                        reason = what,
                        hint,
                        "a configuration is refused: what held holds on"
                    );
                }
                return Err(Refused::Invalid(errors));
            }
        };
        resolved::configuration(&*prepared).is_as_seen(seen.as_ref())?;
        let inner = Rc::clone(self);
        to_its_end(one, async move { inner.hold(prepared, said).await }).await
    }

    /// Makes a change of the configuration durable, with its receipt, where there is one and this node decides.
    async fn order_change(
        &self,
        changes: &[SettingChange],
        needs_restart: &[String],
        Said { actor, reason }: Said,
    ) -> Result<Option<Ordered>, Refused> {
        if changes.is_empty() || self.known.decided.is_none() {
            return Ok(None);
        }
        let change = Reconfigured::new(live::facts(changes, needs_restart), actor, reason);
        let change = Arc::new(change.map_err(|illegal| Refused::Wrong(illegal.to_string()))?);
        let seq = self.offer(Order::Reconfigured(change))?.await.map_err(|_| Refused::Unavailable)?;
        Ok(Some(ordered(seq, 0)))
    }

    /// Has a configuration hold that is right. That it does is durable first: what has no receipt does not happen.
    async fn hold(&self, prepared: Box<dyn Prepared>, said: Said) -> Result<Reloaded, Refused> {
        let (changes, needs_restart) = (prepared.changes().to_vec(), prepared.waits().to_vec());
        let changed = !changes.is_empty();
        let rules = prepared.rulebook().configured();
        let ordered = self.order_change(&changes, &needs_restart, said.clone()).await?;
        prepared.commit();
        let counter = if changed { &self.reloads.changed } else { &self.reloads.unchanged };
        counter.increment(1);
        let rules_seq = self.follow(ordered.as_ref(), rules, said.clone()).await.inspect_err(|_| {
            tracing::warn!(
                target: "gemba::config",
                actor = %said.actor,
                hint = "use `gemba reload` again",
                "the configuration holds, but perhaps not its rules: the line does not answer"
            );
        })?;
        tracing::info!(
            target: "gemba::config",
            actor = %said.actor,
            reason = %said.reason,
            changes = changes.iter().map(|change| change.key.as_str()).collect::<Vec<_>>().join(", "),
            needs_restart = needs_restart.join(", "),
            receipt_id = ordered.as_ref().map(|ordered| ordered.receipt_id.as_str()),
            "the configuration was read anew"
        );
        let etag = self.known.configuration.tag();
        let rules_seq = rules_seq.map(|seq| seq.0);
        Ok(Reloaded { changed, changes, needs_restart, etag, ordered, rules_seq })
    }

    fn tap(&self, asked: TapAsked, by: &str) -> Result<TapView, Refused> {
        let taps = &self.decided()?.taps;
        let rules = self.known.live.tap.get();
        if !rules.is_allowed {
            return Err(Refused::Forbidden(
                "viewers may not look at signals here: to allow it, set `tap.allowed = true` and reload",
            ));
        }
        let now = clock::now();
        let number = match asked {
            TapAsked::Next(number) => number,
            TapAsked::Begin(filter) => {
                let number = random();
                let busy = |TooMany| {
                    Refused::Conflict(format!(
                        "as many viewers look already as may, or as many of this token: {TAPS_MAX} and {TAPS_OF_ONE}; one that leaves makes room"
                    ))
                };
                taps.begin(number, by, filter, now).map_err(busy)?;
                number
            }
        };
        let taken = taps.take(number, by, TAP_PAGE, now);
        let taken = taken
            .ok_or(Refused::Missing("there is no such look, or nobody asked for it in time: begin anew"))?;
        let signals = taken.iter().map(|tapped| tapped.view(&rules.mask)).collect();
        Ok(TapView { look: format!("{number:016x}"), signals })
    }

    /// Has the rules of a configuration hold, and waits until every governor goes by it; from which event on, if others held before.
    async fn follow(
        &self,
        ordered: Option<&Ordered>,
        rules: RulesSource,
        said: Said,
    ) -> Result<Option<Seq>, Refused> {
        if self.known.decided.is_none() {
            return Ok(None);
        }
        let seq = self.configure_rules(rules, said).await?;
        if let Some(ordered) = ordered {
            self.stepped(Seq(ordered.seq)).await?;
        }
        Ok(seq)
    }
}

/// Whether an order may come before the governor: what must hold for the next signal, since a governor that was quiet for an hour is
/// forgotten. Anything else would make a governor of a slip of the pen.
fn is_of_a_new_one(verb: &Verb) -> bool {
    match verb {
        Verb::Entitle | Verb::Revoke | Verb::Halt => true,
        Verb::Resume | Verb::Quota(_) | Verb::Discard(_) => false,
    }
}

/// The scope of a halt of one governor.
const HALTED_ALONE: &str = "governor";

fn told_halt(halt: &HaltView) -> String {
    format!("the halt by {} since {}: {}", halt.who, resolved::utc(halt.since_ms), halt.reason)
}

fn can_replay(case: &Case, how: Again) -> Result<(), Refused> {
    if how == Again::Resend && case.action.is_none() {
        return Err(Refused::Conflict("no action of it failed: replay it".into()));
    }
    Ok(())
}

fn version(case: &Case) -> CaseVersion {
    CaseVersion { id: CaseId(Seq(case.seq)), changed_by: case.changed_by }
}

fn resolve_case(case: &Case) -> Resolved {
    let reason = case.last.as_ref().unwrap_or(&case.first);
    let Case { tenant, sku, r#type, .. } = case;
    let what = format!("{type} of {tenant}/{sku}, {}: {}", reason.cause.into_str(), reason.detail);
    Resolved { concerns: resolved::told_of(&what, &()).concerns, ..resolved::cases(&[version(case)]) }
}

/// A configuration that was read, if its rules compile.
fn right(
    prepared: Box<dyn Prepared>,
    compiled: Option<&Compiled>,
) -> Result<Box<dyn Prepared>, Vec<ConfigError>> {
    if let Some(compiled) = compiled {
        let rules = prepared.rulebook().configured().under(compiled.halts());
        compiled.of(&rules.to_text()).map_err(|error| vec![error])?;
    }
    Ok(prepared)
}

/// Whether these are the rules that hold, beside what is halted.
fn has_hold(compiled: &Compiled, rules: RulesSource) -> bool {
    let holding = compiled.holding();
    holding.is_some_and(|(_, holding)| rules.under(holding.source.halts.clone()) == holding.source)
}

/// Packs that are not as they should be.
fn unfit_rules(error: &ConfigError) -> Refused {
    let hint = error.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
    Refused::Wrong(format!("{error}{hint}"))
}

fn ordered(seq: Seq, ordinal: u8) -> Ordered {
    Ordered { seq: seq.0, receipt_id: ReceiptId { seq, ordinal }.to_string() }
}

/// A receipt that cannot be read is unavailable, not missing.
fn unreadable(error: &LogError) -> Refused {
    tracing::error!(target: "gemba::andon", %error, "a receipt cannot be read");
    Refused::Unavailable
}

/// Every receipt that is about the signal `seq`, in the order of their events.
fn receipts_about(reader: &Reader, followups: &Followups, seq: Seq) -> Result<Vec<LoggedReceipt>, Refused> {
    let later = followups.of(seq).map_err(|_| Refused::Unavailable)?;
    let mut receipts = Vec::new();
    for event in std::iter::once(seq).chain(later) {
        let found = reader.receipts_of(event).map_err(|error| unreadable(&error))?;
        receipts.extend(found.into_iter().filter(|found| found.gist.signal_seq == Some(seq)));
    }
    Ok(receipts)
}

/// What the log knows of one signal.
fn status(
    reader: &Reader,
    followups: &Followups,
    source: Box<str>,
    seq: Seq,
) -> Result<SignalStatus, Refused> {
    let receipts = receipts_about(reader, followups, seq)?;
    // After a replay the newest final receipt counts.
    let last = receipts.iter().rfind(|found| found.gist.id.ordinal == 0 && found.of_signal);
    let dead = last.is_some_and(|last| last.gist.kind == ReceiptType::DeadletterSignal);
    let receipts: Vec<String> = receipts.iter().map(|found| found.gist.id.to_string()).collect();
    let status = match (receipts.is_empty(), dead) {
        (true, _) => "accepted",
        (false, true) => "dead_lettered",
        (false, false) => "decided",
    };
    Ok(SignalStatus { status, source, seq: seq.0, receipts })
}

impl Line for Desk {
    fn signal(&self, tenant: &str, id: &str, source: Option<&str>) -> Reply<SignalStatus> {
        // At a processor the sources are those of its edges.
        let known = Provenance::known();
        let seen = known.iter().map(|known| &known.source);
        let sources: BTreeSet<Box<str>> = match source {
            Some(source) => [source.into()].into(),
            None => self.0.known.live.source_names().into_iter().chain(seen.cloned()).collect(),
        };
        let identities = sources.iter().map(|source| Fingerprint::of_id(source, tenant, id)).collect();
        self.reply(|inner| async move {
            let (tell, answer) = oneshot::channel();
            send(&inner.journal, journal::Query { identities, answer: tell })?;
            let found = sources.into_iter().zip(answered(answer).await?);
            let mut found = found.filter_map(|(source, seq)| Some((source, seq?)));
            let (source, seq) = found.next().ok_or(Refused::Missing(NO_SIGNAL))?;
            let others: Vec<Box<str>> = found.map(|(source, _)| source).collect();
            if !others.is_empty() {
                return Err(Refused::Conflict(format!(
                    "several sources have a signal of this tenant and id: {source}, {}; name one with `source`",
                    others.join(", ")
                )));
            }
            let Some(decided) = &inner.known.decided else {
                return Ok(SignalStatus { status: "accepted", source, seq: seq.0, receipts: Vec::new() });
            };
            let (reader, followups) = (decided.reader.clone(), decided.followups.clone());
            read_log(move || status(&reader, &followups, source, seq)).await
        })
    }

    fn story(&self, tenant: &str, id: &str, source: Option<&str>) -> Reply<Story> {
        let (tenant, id): (Box<str>, Box<str>) = (tenant.into(), id.into());
        let status = self.signal(&tenant, &id, source);
        self.reply(|inner| async move {
            let status = status.await?;
            let Known { bodies, health, decided, .. } = &inner.known;
            let cases = decided.as_ref().map(|decided| decided.cases.clone());
            let kept = bodies.find(Seq(status.seq), health.durable(), cases).await;
            let sources = inner.known.live.sources.get();
            let scheme = sources.iter().find(|source| source.name == status.source);
            let scheme = scheme.map(|source| source.keyring.scheme().into());
            let Some(decided) = decided else {
                let story = story::told((tenant, id), status, &[], (kept, scheme), None);
                return Ok(Story { peers: inner.known.peers.to_vec(), ..story });
            };
            let (reader, followups) = (decided.reader.clone(), decided.followups.clone());
            let rules = decided.compiled.holding().map(|(_, rules)| rules);
            // Apart: there may be many receipts, and packs are read for them.
            read_log(move || {
                let receipts = receipts_about(&reader, &followups, Seq(status.seq))?;
                Ok(story::told((tenant, id), status, &receipts, (kept, scheme), rules.as_deref()))
            })
            .await
        })
    }

    fn peers(&self) -> Arc<[PeerView]> {
        Arc::clone(&self.0.known.peers)
    }

    fn receipts(&self, filter: ReceiptFilter, after: Option<u64>, limit: usize) -> Reply<ReceiptPage> {
        self.reply(|inner| async move {
            let reader = inner.decided()?.reader.clone();
            let turn = in_time(Arc::clone(&inner.searching).lock_owned()).await?;
            // Apart: it may read much of the disk. Whoever asked may have gone: the next one waits all the same.
            let searched = tokio::task::spawn_blocking(move || {
                let begun = clock::now();
                (reader.search(&filter, after, limit), clock::now() - begun)
            });
            let (tell, answer) = oneshot::channel();
            tokio::task::spawn_local(async move {
                let Ok((found, took)) = searched.await else { return };
                // Nobody may wait for it any more.
                let _gone = tell.send(found);
                tokio::time::sleep(took * SEARCH_REST).await;
                drop(turn);
            });
            let found = in_time(answer).await?.map_err(|_| Refused::Unavailable)?;
            let SearchPage { found, next } = found.map_err(|error| unreadable(&error))?;
            Ok(ReceiptPage { receipts: found.into_iter().map(|found| found.json).collect(), next })
        })
    }

    fn receipt(&self, id: ReceiptId) -> Reply<Vec<u8>> {
        self.reply(|inner| async move {
            let reader = inner.decided()?.reader.clone();
            let found = read_log(move || reader.receipt(id).map_err(|error| unreadable(&error))).await?;
            found.map(|found| found.json).ok_or(Refused::Missing("no receipt of this id is in the log"))
        })
    }

    fn governor(&self, subject: Subject) -> Reply<GovernorView> {
        self.reply(|inner| async move {
            let here = inner.decided()?.elsewhere.load(&subject).await?;
            inner.governor(&subject, here.after).await?.ok_or(Refused::Missing(NO_GOVERNOR))
        })
    }

    fn governors(&self, filter: Filter) -> Reply<Vec<GovernorView>> {
        let page = Page {
            tenant: filter.tenant.map(Into::into),
            among: if filter.halted { Among::Halted } else { Among::All },
            after: filter.after.map(|(tenant, sku)| (tenant.into(), sku.into())),
            limit: filter.limit,
        };
        self.reply(|inner| async move {
            inner.decided()?;
            inner.governors(page).await
        })
    }

    fn command(&self, subject: Subject, verb: Verb, said: Said) -> Reply<(Ordered, GovernorView)> {
        self.reply(|inner| async move { inner.command(subject, verb, said).await })
    }

    fn halts(&self) -> Reply<HaltsView> {
        self.reply(|inner| async move { inner.halts().await })
    }

    fn reach(&self, scope: HaltScope) -> Reply<ReachView> {
        self.reply(|inner| async move { inner.reach(scope).await })
    }

    fn order_halt(&self, scope: HaltScope, begins: bool, said: Said) -> Reply<Ordered> {
        self.reply(|inner| async move { inner.order_halt(scope, begins, said).await })
    }

    fn dead_letters(&self, filter: CaseFilter, after: Seq, limit: usize) -> Reply<Found> {
        self.reply(|inner| async move {
            let cases = inner.decided()?.cases.clone();
            read(move || cases.search(&filter, after, limit)).await
        })
    }

    fn dead_letter(&self, id: CaseId) -> Reply<(Case, bytes::Bytes)> {
        self.reply(|inner| async move {
            let cases = inner.decided()?.cases.clone();
            let found = read(move || Ok(cases.find(id)?.zip(cases.signal(id)?))).await?;
            let (case, signal) = found.ok_or(Refused::Missing(NO_CASE))?;
            Ok((case, signal.body().clone()))
        })
    }

    fn dry_run(&self, id: CaseId) -> Reply<DryRun> {
        self.reply(|inner| async move { inner.dry_run(id).await })
    }

    fn replay(&self, id: CaseId, said: Said, how: Again) -> Reply<Ordered> {
        self.reply(|inner| async move { inner.replay(id, said, how).await })
    }

    fn discard(&self, id: CaseId, said: Said) -> Reply<Ordered> {
        self.reply(|inner| async move { inner.discard(id, said).await })
    }

    fn discard_all(
        &self,
        filter: CaseFilter,
        expected: u64,
        said: Said,
        seen: Option<Resolved>,
    ) -> Reply<DiscardedView> {
        self.reply(|inner| async move {
            // Apart: what was begun is brought to its end when the operator has long been told that there was no answer.
            let discarding =
                tokio::task::spawn_local(
                    async move { inner.discard_all(filter, expected, said, seen).await },
                );
            in_time(discarding).await?.map_err(|_| Refused::Unavailable)?
        })
    }

    fn alerts(&self, wanted: AlertsWanted) -> Reply<AlertPage> {
        let desk = self.clone();
        let asked = AlertsAsked { list: wanted, ..AlertsAsked::default() };
        Box::pin(async move { Ok(desk.ask_alerts(Seq(0), asked).await?.list) })
    }

    fn alert(&self, called: AlertDigits) -> Reply<AlertView> {
        let desk = self.clone();
        Box::pin(async move { alert_orders::alert(&desk, called, Seq(0)).await })
    }

    fn silences(&self) -> Reply<Vec<SilenceView>> {
        let desk = self.clone();
        Box::pin(async move { Ok(desk.ask_alerts(Seq(0), AlertsAsked::default()).await?.silences) })
    }

    fn order_alert(&self, order: AlertOrder, said: Said, seen: Option<Resolved>) -> Reply<AlertOrdered> {
        let desk = self.clone();
        Box::pin(async move { alert_orders::order(&desk, order, said, seen).await })
    }

    fn rules(&self) -> Reply<RulesView> {
        self.reply(|inner| async move {
            let compiled = &inner.decided()?.compiled;
            inner.ask_all(Seq(0), |answer| Question::Passed { answer }).await?;
            let (since, rules) = compiled.holding().ok_or(Refused::Unavailable)?;
            Ok(rules.view(since))
        })
    }

    fn reload_policy(&self, said: Said, seen: Option<Resolved>) -> Reply<Option<(Ordered, RulesView)>> {
        self.reply(|inner| async move { inner.reload_policy(said, seen).await })
    }

    fn configuration(&self) -> ConfigView {
        self.0.known.configuration.view()
    }

    fn reload(&self, said: Said, if_match: Option<String>, seen: Option<Resolved>) -> Reply<Reloaded> {
        self.reply(|inner| async move { inner.reload(said, if_match, seen).await })
    }

    fn resolve(&self, command: OperatorCommand) -> Reply<Resolved> {
        self.reply(|inner| async move { inner.resolve(command).await })
    }

    fn tap(&self, asked: TapAsked, by: &str) -> Result<TapView, Refused> {
        self.0.tap(asked, by)
    }

    fn status(&self) -> NodeStatus {
        let halts = self.halts().iter().map(HaltView::from).collect();
        NodeStatus { halts, ..self.0.known.health.node() }
    }

    fn health(&self) -> Vec<StageHealth> {
        self.0.known.health.stages()
    }

    fn kaizen(&self) -> Look {
        let Known { node, decided, live, .. } = &self.0.known;
        let configuration = live.telemetry.get().configuration.clone();
        let node = NodeLook { configuration, ..node.clone() };
        let rules = decided.as_ref().and_then(|decided| decided.compiled.holding());
        let rules = rules.as_ref().map(|(since, rules)| (*since, &**rules));
        measured::look(&node, rules, &self.0.targets.borrow(), &self.0.collector.borrow())
    }

    fn board(&self) -> BoardView {
        let (Known { node, health, .. }, readings) = (&self.0.known, self.readings());
        let seen = self.0.alerts.borrow();
        let halts = self.halts().iter().map(HaltView::from).collect();
        self.0.board.borrow_mut().look((node, health), &self.0.collector.borrow(), &readings, (&seen, halts))
    }

    fn metrics(&self, format: Format) -> String {
        self.0.collector.borrow().page(&self.readings(), format)
    }

    fn tenants_metrics(&self, format: Format) -> Result<String, Refused> {
        self.0.decided()?;
        Ok(self.0.collector.borrow().tenants_page(format))
    }

    fn log_levels(&self) -> String {
        logging::levels().to_string()
    }

    fn change_log_levels(&self, change: &str, said: Said) -> Reply<LogLevels> {
        let change = change.to_owned();
        self.reply(|inner| async move {
            // A reload beside it would set levels, too.
            let one = Arc::clone(&inner.reloading).try_lock_owned();
            let one = one.map_err(|_| Refused::Conflict(BUSY.into()))?;
            let before = logging::levels();
            let after = before.changed(&change);
            let after =
                after.map_err(|wrong| Refused::Wrong(format!("{}; {}", wrong.what, wrong.hint)))?;
            to_its_end(one, async move {
                let (key, old, new) = ("logging.level".into(), before.to_string(), after.to_string());
                let changes: &[_] = &[SettingChange { key, old: old.into(), new: new.clone().into() }];
                let changes = if before == after { &[] } else { changes };
                let ordered = inner.order_change(changes, &[], said.clone()).await?;
                logging::set_levels(after);
                let Said { actor, reason } = said;
                tracing::info!(target: "gemba::operator", %actor, reason = %reason, change, "levels of the log were changed");
                Ok(LogLevels { level: new, ordered })
            })
            .await
        })
    }
}

impl AlertLine for Desk {
    fn notices(&self) -> Result<NoticeLane, Refused> {
        Ok(self.0.decided()?.notices.clone())
    }

    fn journal_time(&self) -> UnixMillis {
        UnixMillis(self.0.known.health.journal.clock.time.read())
    }

    async fn alarm(&self, alarm: Arc<Alarm>) -> Result<Seq, Refused> {
        answered(self.0.offer(Order::Alarm(alarm))?).await
    }

    async fn ask_alerts(&self, after: Seq, asked: AlertsAsked) -> Result<AlertsSeen, Refused> {
        self.0.decided()?;
        let after = self.0.behind_the_start(after)?;
        let lane = self.0.shards.get(journal::ALERTS_SHARD).ok_or(Refused::Unavailable)?;
        let (tell, answer) = oneshot::channel();
        send(lane, Query { after, question: Question::Alerts { asked, answer: tell } })?;
        answered(answer).await
    }
}

impl Desk {
    /// Alerts that a callback means and that it has not changed, once the event `after` is.
    pub async fn meant_by(&self, callback: &Arc<Callback>, after: Seq) -> Result<Vec<MeantAlert>, Refused> {
        self.0.decided()?;
        let after = self.0.behind_the_start(after)?;
        let lane = self.0.shards.get(journal::ALERTS_SHARD).ok_or(Refused::Unavailable)?;
        let (tell, answer) = oneshot::channel();
        let question = Question::Meant { callback: Arc::clone(callback), answer: tell };
        send(lane, Query { after, question })?;
        answered(answer).await
    }

    /// Offers an alarm to the journal, which tells its number; on an error it was not ordered.
    pub fn offer_alarm(&self, alarm: impl Into<Arc<Alarm>>) -> Result<oneshot::Receiver<Seq>, Refused> {
        self.0.offer(Order::Alarm(alarm.into()))
    }

    /// Where those who tell people show how they do.
    pub fn channel_watches(&self) -> ChannelWatches {
        Rc::clone(&self.0.channels)
    }

    /// Alerts as they are now, for those who need not have the newest.
    pub fn saw_alerts(&self, seen: AlertsSeen) {
        *self.0.alerts.borrow_mut() = seen;
    }

    /// Dead letters since the start.
    pub fn dead_letters_so_far(&self) -> u64 {
        let collector = self.0.collector.borrow();
        Cause::ALL.into_iter().map(|cause| collector.counted(Counter::dead(cause))).sum()
    }

    /// Sources whose silence is an alert.
    pub fn expected_sources(&self) -> Arc<Vec<ExpectedSource>> {
        self.0.known.live.expected_sources.get()
    }

    /// What channels have sent, as the last process left it.
    pub fn sent(&self) -> SentFile {
        SentFile::read(self.0.known.sent.clone())
    }

    /// What the last process left that could not write.
    pub fn unwritable(&self) -> &UnwritableNote {
        &self.0.known.unwritable
    }

    /// How the parts of the node do.
    pub fn health(&self) -> &Health {
        &self.0.known.health
    }

    /// Halts of more than one governor that hold.
    pub fn halts(&self) -> Vec<Halt> {
        self.0.known.decided.as_ref().map(|decided| decided.compiled.halts()).unwrap_or_default()
    }

    /// What may be seen of the targets.
    pub fn targets(&self) -> Watches {
        Rc::clone(&self.0.targets)
    }

    /// How often the line started again.
    pub fn restarts(&self) -> u64 {
        self.0.known.restarts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).total()
    }

    /// Reads the configuration anew, as soon as nobody else does.
    pub async fn reload_next(&self, said: Said) -> Result<Reloaded, Refused> {
        self.0.reload_next(said).await
    }

    /// Whether a file of the configuration is another one than when it was read. Looked at apart: a directory may be slow.
    pub async fn has_changed_files(&self) -> bool {
        let configuration = Arc::clone(&self.0.known.configuration);
        tokio::task::spawn_blocking(move || configuration.has_changed()).await.unwrap_or(false)
    }

    /// Ends looks at signals that nobody asks for any more.
    pub fn end_forgotten_looks(&self) {
        if let Some(decided) = &self.0.known.decided {
            decided.taps.end_forgotten(clock::now());
        }
    }

    /// Shows all metrics, with what is read for them now.
    pub fn show(&self, to: &mut impl Show) {
        self.0.collector.borrow().show(&self.readings(), to);
    }

    fn readings(&self) -> Readings {
        let Known { gauges: depths, health, restarts, decided, .. } = &self.0.known;
        let mut readings = Readings::default();
        read_lanes(depths, restarts, &mut readings);
        health.read(&mut readings);
        if let Some(Decided { states, cases, compiled, .. }) = decided {
            for state in StateName::ALL {
                let count: u64 = states.iter().map(|states| states[state as usize].read()).sum();
                readings.count(Metric::Governors, &[state.into_str()], count);
            }
            cases.read(&mut readings);
            let halts = compiled.halts();
            for scope in ["tenant", "target", "line"] {
                let count = halts.iter().filter(|halt| halt.scope.kind() == scope).count();
                readings.count(Metric::Halts, &[scope], count as u64);
            }
            if let Some((since, _)) = compiled.holding() {
                readings.count(Metric::RulesSince, &[], since.0);
            }
            readings.count(Metric::ReloadFailures, &[], *self.0.reload_failures.borrow());
        }
        actions::read(&self.0.targets.borrow(), &mut readings);
        channels::read(&self.0.channels.borrow(), &self.0.alerts.borrow(), &mut readings);
        readings
    }
}
