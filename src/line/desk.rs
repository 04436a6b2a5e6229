//! What the operator plane sees of the line, and how its orders reach the journal. An order is answered when its event
//! is durable and whoever it concerns has passed it.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;

use super::actions;
use super::health::Health;
use super::settings::Rulebook;
use super::sharing::Elsewhere;
use super::supervisor::Restarts;
use super::wiring::{Gauge, OperatorEnds, lanes};
use crate::andon::log::Reader;
use crate::case::{Case, CaseFilter, CaseId, Found, Status};
use crate::clock;
use crate::event::{Command, Order, Replay, RulesText, Seq, Subject, UnixMillis, Verb};
use crate::jidoka::action::Watch;
use crate::jidoka::query::{self as shard, Page};
use crate::jidoka::rules::Compiled;
use crate::jidoka::store::{Cases, Followups, StoreError};
use crate::kaizen::{Collector, Gauges};
use crate::kanban::stage::{self as journal, shard_of};
use crate::operator::{Again, Answered, Filter, Line, NO_CASE, Refused, Reply, Said, Unavailable};
use crate::receipt::{ReceiptId, ReceiptType, StateName};
use crate::ring::{Full, Mark, Sender};
use crate::signal::{Fingerprint, Provenance, Signal};
use crate::view::{DryRun, GovernorView, NodeStatus, Ordered, RulesView, SignalStatus, StageHealth};

/// What is known of the line outside its threads.
pub struct Known {
    pub reader: Reader,
    pub followups: Followups,
    pub cases: Cases,
    /// Names of the sources, to find a signal by its id.
    pub sources: Vec<Box<str>>,
    pub gauges: Arc<[Gauge]>,
    pub health: Health,
    pub states: Vec<[Mark; 6]>,
    /// How often the line started again.
    pub restarts: Arc<Mutex<Restarts>>,
    pub rulebook: Arc<Rulebook>,
    pub compiled: Arc<Compiled>,
    pub elsewhere: Elsewhere,
}

/// Cheap to clone: one desk for the whole plane.
#[derive(Clone)]
pub struct Desk(Rc<Inner>);

struct Inner {
    known: Known,
    journal: RefCell<Sender<journal::Query>>,
    orders: RefCell<Sender<journal::Ordered>>,
    shards: Vec<RefCell<Sender<shard::Query>>>,
    targets: Vec<Rc<Watch>>,
    collector: Rc<RefCell<Collector>>,
    /// Cases that are on their way through the line again, by the event that sent them; the store does not know yet.
    replaying: RefCell<HashMap<CaseId, Seq>>,
    reload_failures: RefCell<u64>,
}

/// A stage that does not answer an operator by then is busy or gone.
pub const ANSWER: Duration = Duration::from_secs(5);
/// How often is looked whether an order has had its effect.
pub const LOOK: Duration = Duration::from_millis(2);

/// Why a case is not ordered on.
const REPLAYED: &str = "it is being replayed";

pub async fn answered<T>(answer: oneshot::Receiver<T>) -> Result<T, Unavailable> {
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) | Err(_) => Err(Unavailable),
    }
}

pub fn send<T>(lane: &RefCell<Sender<T>>, value: T) -> Result<(), Unavailable> {
    let mut lane = lane.borrow_mut();
    lane.push(value).map_err(|Full(_)| Unavailable)?;
    lane.ring();
    Ok(())
}

/// What is on the store's disk is read apart: a long search must not keep actions waiting.
async fn read<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Unavailable> {
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) | Err(_) => Err(Unavailable),
    }
}

impl Desk {
    #[must_use]
    pub fn new(
        known: Known,
        ends: OperatorEnds,
        targets: Vec<Rc<Watch>>,
        collector: Rc<RefCell<Collector>>,
    ) -> Self {
        Self(Rc::new(Inner {
            known,
            journal: RefCell::new(ends.journal),
            orders: RefCell::new(ends.orders),
            shards: ends.shards.into_iter().map(RefCell::new).collect(),
            targets,
            collector,
            replaying: RefCell::default(),
            reload_failures: RefCell::default(),
        }))
    }
}

impl Inner {
    /// Offers an order to the journal, which tells its number; on an error nothing was ordered.
    fn offer(&self, order: Order) -> Result<oneshot::Receiver<Seq>, Unavailable> {
        if !self.known.health.ready.is_on() || self.known.health.journal.drain.is_on() {
            return Err(Unavailable);
        }
        let (tell, answer) = oneshot::channel();
        send(&self.orders, journal::Ordered { order, answer: tell })?;
        Ok(answer)
    }

    /// Brings an order on a case into the journal, and waits until its governor has passed it. From the offer on a second
    /// order is refused, whether this one is answered in time or not.
    async fn order_on(
        self: &Rc<Self>,
        id: CaseId,
        (subject, term): (Subject, u64),
        order: Order,
    ) -> Result<Result<Seq, Refused>, Unavailable> {
        // Whoever has looked at the case may have waited for its governor since.
        if self.replaying.borrow().contains_key(&id) {
            return Ok(Err(Refused::Conflict(REPLAYED.into())));
        }
        let answer = self.offer(order)?;
        // What the store has passed, it knows of.
        let settled = self.known.health.journal.settled.read();
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
        let noted = tokio::time::timeout(ANSWER, noted).await;
        let Ok(Ok(Ok(seq))) = noted else { return Err(Unavailable) };
        self.passed(subject.clone(), seq).await?;
        Ok(self.known.elsewhere.wait_for(&subject, term, seq).await?.map(|()| seq))
    }

    async fn governor(&self, subject: Subject) -> Result<Option<GovernorView>, Unavailable> {
        let (tell, answer) = oneshot::channel();
        self.ask_shard(&subject.tenant.clone(), shard::Query::One { subject, answer: tell })?;
        answered(answer).await
    }

    fn ask_shard(&self, tenant: &str, query: shard::Query) -> Result<(), Unavailable> {
        let lane = self.shards.get(shard_of(tenant, self.shards.len())).ok_or(Unavailable)?;
        send(lane, query)
    }

    /// The governor, once it has passed `seq`.
    async fn passed(&self, subject: Subject, seq: Seq) -> Result<GovernorView, Unavailable> {
        let until = clock::now() + ANSWER;
        loop {
            match self.governor(subject.clone()).await? {
                Some(view) if view.last_seq >= seq.0 => return Ok(view),
                _ if clock::now() >= until => return Err(Unavailable),
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    async fn command(
        &self,
        subject: Subject,
        verb: Verb,
        said: Said,
    ) -> Result<Result<(Ordered, GovernorView), Refused>, Unavailable> {
        let term = match self.known.elsewhere.load(&subject).await? {
            Ok(term) => term,
            Err(refused) => return Ok(Err(refused)),
        };
        // What must hold for the next signal may come before it: a governor that was quiet for an hour is forgotten. Anything
        // else would make a governor of a slip of the pen.
        let comes_first = match verb {
            Verb::Entitle | Verb::Revoke | Verb::Halt => true,
            Verb::Resume | Verb::Quota(_) | Verb::Discard(_) => false,
        };
        if !comes_first && self.governor(subject.clone()).await?.is_none() {
            return Ok(Err(Refused::Missing("there is no governor of this tenant and SKU")));
        }
        let Said { actor, reason } = said;
        let command = Command { subject: subject.clone(), verb, actor, reason };
        let seq = answered(self.offer(Order::Command(Box::new(command)))?).await?;
        let view = self.passed(subject.clone(), seq).await?;
        let counts = self.known.elsewhere.wait_for(&subject, term, seq).await?;
        Ok(counts.map(|()| (ordered(seq, 0), view)))
    }

    /// Waits until the store has passed everything that was in the journal when the line began: what was ordered before
    /// is then known of every case.
    async fn caught_up(&self) -> Result<(), Unavailable> {
        let Known { health, .. } = &self.known;
        let until = clock::now() + ANSWER;
        while !health.ready.is_on() || health.journal.settled.read() < health.began.read() {
            if clock::now() >= until {
                return Err(Unavailable);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// A case that may be ordered on, and its signal.
    async fn open_case(&self, id: CaseId) -> Result<Result<(Case, Signal), Refused>, Unavailable> {
        self.caught_up().await?;
        let cases = self.known.cases.clone();
        let found = read(move || Ok(cases.find(id)?.zip(cases.signal(id)?))).await?;
        let Some((case, signal)) = found else {
            return Ok(Err(Refused::Missing(NO_CASE)));
        };
        let mut replaying = self.replaying.borrow_mut();
        if replaying.get(&id).is_some_and(|seq| case.changed_by >= seq.0) {
            replaying.remove(&id);
        }
        if replaying.contains_key(&id) {
            return Ok(Err(Refused::Conflict(REPLAYED.into())));
        }
        if case.status != Status::Open {
            return Ok(Err(Refused::Conflict(format!("it is {} already", case.status.into_str()))));
        }
        Ok(Ok((case, signal)))
    }

    async fn dry_run(&self, id: CaseId) -> Result<Result<DryRun, Refused>, Unavailable> {
        let (case, signal) = match self.open_case(id).await? {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        let (tell, answer) = oneshot::channel();
        let tenant = signal.tenant().to_owned();
        let (actor, reason) = ("dry run".into(), "nothing is changed".into());
        let replay = Box::new(Replay { case: id.0, signal, actor, reason, resend: case.resend() });
        let now = UnixMillis(self.known.health.journal.clock.time.read());
        self.ask_shard(&tenant, shard::Query::DryRun { replay, now, answer: tell })?;
        answered(answer).await.map(Ok)
    }

    async fn replay(
        self: &Rc<Self>,
        id: CaseId,
        (said, how): (Said, Again),
    ) -> Result<Result<Ordered, Refused>, Unavailable> {
        let (case, signal) = match self.open_case(id).await? {
            Ok((case, _)) if how == Again::Resend && case.action.is_none() => {
                return Ok(Err(Refused::Conflict("no action of it failed: replay it".into())));
            }
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        let subject = Subject::from(&signal);
        let term = match self.known.elsewhere.load(&subject).await? {
            Ok(term) => term,
            Err(refused) => return Ok(Err(refused)),
        };
        let Said { actor, reason } = said;
        let replay = Replay { case: id.0, signal, actor, reason, resend: case.resend() };
        let seq = self.order_on(id, (subject, term), Order::Replay(Box::new(replay))).await?;
        Ok(seq.map(|seq| ordered(seq, 1)))
    }

    async fn discard(
        self: &Rc<Self>,
        id: CaseId,
        said: Said,
    ) -> Result<Result<Ordered, Refused>, Unavailable> {
        let (case, _) = match self.open_case(id).await? {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        let Ok(subject) = Subject::read(&case.tenant, &case.sku) else { return Err(Unavailable) };
        let term = match self.known.elsewhere.load(&subject).await? {
            Ok(term) => term,
            Err(refused) => return Ok(Err(refused)),
        };
        let Said { actor, reason } = said;
        let command = Command { subject: subject.clone(), verb: Verb::Discard(id.0), actor, reason };
        let seq = self.order_on(id, (subject, term), Order::Command(Box::new(command))).await?;
        Ok(seq.map(|seq| ordered(seq, 0)))
    }

    async fn reload(&self, said: Said) -> Result<Result<Option<(Ordered, RulesView)>, Refused>, Unavailable> {
        let rulebook = Arc::clone(&self.known.rulebook);
        let compiled = Arc::clone(&self.known.compiled);
        // Read, checked and compiled apart; the shards find it done.
        let read = tokio::task::spawn_blocking(move || {
            let text = rulebook.reread()?.to_text();
            compiled.of(&text)?;
            Ok::<_, crate::place::ConfigError>(text)
        });
        let text = match read.await.map_err(|_| Unavailable)? {
            Ok(text) => text,
            Err(error) => {
                *self.reload_failures.borrow_mut() += 1;
                let hint = error.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
                return Ok(Err(Refused::Wrong(format!("{error}{hint}"))));
            }
        };
        let (_, holding) = self.known.compiled.holding().ok_or(Unavailable)?;
        if holding.source.to_text() == text {
            return Ok(Ok(None));
        }
        let Said { actor, reason } = said;
        let rules = match RulesText::new(text, actor, reason) {
            Ok(rules) => Arc::new(rules),
            Err(illegal) => return Ok(Err(Refused::Wrong(illegal.to_string()))),
        };
        let seq = answered(self.offer(Order::Rules(rules))?).await?;
        let until = clock::now() + ANSWER;
        loop {
            match self.known.compiled.holding() {
                Some((since, rules)) if since >= seq => {
                    return Ok(Ok(Some((ordered(seq, 0), rules.view(since)))));
                }
                _ if clock::now() >= until => return Err(Unavailable),
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

fn ordered(seq: Seq, ordinal: u8) -> Ordered {
    Ordered { seq: seq.0, receipt_id: ReceiptId { seq, ordinal }.to_string() }
}

/// What the log knows of one signal.
fn status(reader: &Reader, followups: &Followups, seq: Seq) -> Result<SignalStatus, Unavailable> {
    let mut receipts = Vec::new();
    let mut dead = false;
    let later = followups.of(seq).map_err(|_| Unavailable)?;
    for event in std::iter::once(seq).chain(later) {
        for found in reader.receipts_of(event).map_err(|_| Unavailable)? {
            let fields = found.stored.fields();
            if fields.signal_seq == Some(seq) {
                // After a replay the newest final receipt counts.
                if fields.id.ordinal == 0 && fields.origin.is_some() {
                    dead = fields.kind == ReceiptType::DeadletterSignal;
                }
                receipts.push(found.id.to_string());
            }
        }
    }
    let status = match (receipts.is_empty(), dead) {
        (true, _) => "accepted",
        (false, true) => "dead_lettered",
        (false, false) => "decided",
    };
    Ok(SignalStatus { status, seq: seq.0, receipts })
}

impl Line for Desk {
    fn signal(&self, tenant: &str, id: &str) -> Reply<Option<SignalStatus>> {
        let inner = Rc::clone(&self.0);
        // At a processor the sources are those of its edges.
        let known = Provenance::known();
        let seen = known.iter().map(|known| &*known.source);
        let sources: HashSet<&str> = inner.known.sources.iter().map(|source| &**source).chain(seen).collect();
        let identities = sources.into_iter().map(|source| Fingerprint::of_id(source, tenant, id)).collect();
        Box::pin(async move {
            let (tell, answer) = oneshot::channel();
            send(&inner.journal, journal::Query { identities, answer: tell })?;
            match answered(answer).await? {
                None => Ok(None),
                Some(seq) => status(&inner.known.reader, &inner.known.followups, seq).map(Some),
            }
        })
    }

    fn receipt(&self, id: ReceiptId) -> Reply<Option<Vec<u8>>> {
        let found = self.0.known.reader.receipt(id);
        let found = found.map(|found| found.map(|found| found.json)).map_err(|_| Unavailable);
        Box::pin(std::future::ready(found))
    }

    fn governor(&self, subject: Subject) -> Reply<Option<GovernorView>> {
        let inner = Rc::clone(&self.0);
        Box::pin(async move {
            // Another processor's is none of this one's.
            if inner.known.elsewhere.load(&subject).await?.is_err() {
                return Ok(None);
            }
            inner.governor(subject).await
        })
    }

    fn governors(&self, filter: Filter) -> Reply<Vec<GovernorView>> {
        let inner = Rc::clone(&self.0);
        let page = Page {
            tenant: filter.tenant.map(Into::into),
            after: filter.after.map(|(tenant, sku)| (tenant.into(), sku.into())),
            limit: filter.limit,
        };
        Box::pin(async move {
            let mut answers = Vec::new();
            for lane in &inner.shards {
                let (tell, answer) = oneshot::channel();
                send(lane, shard::Query::Many { page: page.clone(), answer: tell })?;
                answers.push(answer);
            }
            let mut governors = Vec::new();
            for answer in answers {
                governors.extend(answered(answer).await?);
            }
            governors.sort_unstable_by(|a, b| (&a.tenant, &a.sku).cmp(&(&b.tenant, &b.sku)));
            governors.truncate(page.limit);
            Ok(governors)
        })
    }

    fn command(&self, subject: Subject, verb: Verb, said: Said) -> Answered<(Ordered, GovernorView)> {
        let inner = Rc::clone(&self.0);
        Box::pin(async move { inner.command(subject, verb, said).await })
    }

    fn dead_letters(&self, filter: CaseFilter, after: Seq, limit: usize) -> Reply<Found> {
        let cases = self.0.known.cases.clone();
        Box::pin(read(move || cases.search(&filter, after, limit)))
    }

    fn dead_letter(&self, id: CaseId) -> Reply<Option<(Case, bytes::Bytes)>> {
        let cases = self.0.known.cases.clone();
        Box::pin(read(move || Ok(cases.find(id)?.zip(cases.signal(id)?.map(|signal| signal.body().clone())))))
    }

    fn dry_run(&self, id: CaseId) -> Answered<DryRun> {
        let inner = Rc::clone(&self.0);
        Box::pin(async move { inner.dry_run(id).await })
    }

    fn replay(&self, id: CaseId, said: Said, how: Again) -> Answered<Ordered> {
        let inner = Rc::clone(&self.0);
        Box::pin(async move { inner.replay(id, (said, how)).await })
    }

    fn discard(&self, id: CaseId, said: Said) -> Answered<Ordered> {
        let inner = Rc::clone(&self.0);
        Box::pin(async move { inner.discard(id, said).await })
    }

    fn rules(&self) -> Reply<RulesView> {
        let holding = self.0.known.compiled.holding();
        let view = holding.map(|(since, rules)| rules.view(since)).ok_or(Unavailable);
        Box::pin(std::future::ready(view))
    }

    fn reload(&self, said: Said) -> Answered<Option<(Ordered, RulesView)>> {
        let inner = Rc::clone(&self.0);
        Box::pin(async move { inner.reload(said).await })
    }

    fn status(&self) -> NodeStatus {
        self.0.known.health.node()
    }

    fn health(&self) -> Vec<StageHealth> {
        self.0.known.health.stages()
    }

    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    fn metrics(&self) -> String {
        let Known { gauges: depths, health, states, restarts, compiled, cases, .. } = &self.0.known;
        let mut gauges = Gauges::default();
        lanes(depths, restarts, &mut gauges);
        for state in StateName::ALL {
            let count: u64 = states.iter().map(|states| states[state as usize].read()).sum();
            gauges.set("gemba_governors", "Governors by state", &[("state", state.into_str())], count as f64);
        }
        cases.gauges(&mut gauges);
        health.gauges(&mut gauges);
        if let Some((since, _)) = compiled.holding() {
            gauges.set("gemba_rules_since_seq", "The event from which the rules hold", &[], since.0 as f64);
        }
        gauges.set(
            "gemba_policy_reload_failures",
            "Reloads that changed nothing, because a pack was wrong",
            &[],
            *self.0.reload_failures.borrow() as f64,
        );
        actions::gauges(&self.0.targets, &mut gauges);
        self.0.collector.borrow().render(&gauges)
    }
}
