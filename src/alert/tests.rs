//! The machine against what people must be able to rely on: whoever was told that something fires is told when it is over, nobody is
//! told twice of one thing, and a restart changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::list::AlertPosition;
use super::notice::NoticeReason;
use super::*;
use crate::ids::{Seq, Subject, UnixMillis};
use crate::receipt::ReceiptType::{AlertNotified, AlertOpened, AlertResolved};
use crate::receipt::{Draft, ReceiptType};

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;

/// A node's alerts with a clock, and channels that take everything as soon as they are asked.
struct World {
    alerts: Alerts,
    rows: BTreeMap<String, Vec<u8>>,
    routes: Routes,
    seq: u64,
    now: u64,
    drafts: Vec<Draft>,
    sent: Vec<Notice>,
    /// Notices without an outcome yet.
    open: Vec<Notice>,
    /// What channels took.
    taken: Vec<Notice>,
    /// Ends that a channel did not take for a whole day.
    lost: Vec<(AlertId, Box<str>)>,
    /// Beginnings that failed in the end, and that a channel may have heard before a crash.
    may: Vec<(AlertId, Box<str>)>,
    /// Digests that a channel told.
    opened: BTreeSet<(Box<str>, GroupKey)>,
    /// Channels answer at once.
    answers: bool,
    /// What the journal brought.
    journal: Vec<(Seq, UnixMillis, Alarm)>,
}

fn routes(change: impl FnOnce(&mut RoutesSource)) -> Routes {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut source = RoutesSource {
        channels: names(&["pager", "chat", "log"]),
        critical: names(&["pager", "chat"]),
        warning: names(&["chat"]),
        info: names(&["log"]),
        ..RoutesSource::default()
    };
    change(&mut source);
    Routes::compile(source).unwrap()
}

impl World {
    fn new(routes: Routes) -> Self {
        Self {
            alerts: Alerts::new("example.com/gemba/", "n-1"),
            rows: BTreeMap::new(),
            routes,
            seq: 0,
            now: 1_800_000_000_000,
            drafts: Vec::new(),
            sent: Vec::new(),
            open: Vec::new(),
            taken: Vec::new(),
            lost: Vec::new(),
            may: Vec::new(),
            opened: BTreeSet::new(),
            answers: true,
            journal: Vec::new(),
        }
    }

    fn step(&mut self, alarm: &Alarm) {
        self.seq += 1;
        let alarm = Alarm::from_json(&alarm.to_json()).unwrap();
        self.journal.push((Seq(self.seq), UnixMillis(self.now), alarm.clone()));
        let mut effects = AlertEffects::default();
        self.alerts.step((Seq(self.seq), UnixMillis(self.now)), &alarm, &self.routes, &mut effects);
        let mut ordinals: Vec<u8> = effects.drafts.iter().map(|draft| draft.gist.id.ordinal).collect();
        ordinals.dedup();
        assert_eq!(ordinals.len(), effects.drafts.len(), "each receipt has its own name");
        self.drafts.extend(effects.drafts);
        self.take_down();
        for notice in effects.notices {
            self.sent.push(notice.clone());
            self.open.push(notice);
        }
        if self.answers {
            self.answer(None);
        }
    }

    /// The partition of this tenant is another node's from here on, or taken anew.
    fn look_elsewhere(&mut self, tenant: &str) {
        self.seq += 1;
        self.alerts.look_elsewhere((Seq(self.seq), UnixMillis(self.now)), |other| other == tenant);
        self.take_down();
    }

    fn take_down(&mut self) {
        for (key, row) in self.alerts.drain_changed() {
            match row {
                Some(row) => drop(self.rows.insert(key, row)),
                None => drop(self.rows.remove(&key)),
            }
        }
    }

    /// Every open notice has its outcome.
    fn answer(&mut self, failed: Option<&str>) {
        while let Some(notice) = (!self.open.is_empty()).then(|| self.open.remove(0)) {
            if failed.is_none() {
                self.taken.push(notice.clone());
            } else if notice.tells == NoticeKind::Resolved {
                self.lost.push((notice.id.group, notice.id.channel.clone()));
            }
            if failed.is_some() && notice.maybe_twice {
                self.may.push((notice.id.group, notice.id.channel.clone()));
            }
            let (failed, maybe) = (failed.map(Into::into), notice.maybe_twice && failed.is_some());
            self.step(&Alarm::Notified {
                notice: notice.id,
                failed,
                reference: None,
                tries: 1,
                replaced: false,
                maybe,
                digest: None,
            });
        }
    }

    /// A channel tells all that fires by one digest, which stands open there.
    fn answer_as_one(&mut self, channel: &str) {
        // Of each group what was asked first.
        let mut groups = BTreeSet::new();
        let is_meant = |notice: &Notice| {
            let is_first = &*notice.id.channel == channel && groups.insert(notice.id.group);
            is_first && notice.tells == NoticeKind::Firing
        };
        let (meant, others) = self.open.drain(..).partition(is_meant);
        self.open = others;
        let meant: Vec<Notice> = meant;
        let key = GroupKey { group: AlertId([7; 16]), since: self.seq };
        for notice in meant {
            self.taken.push(notice.clone());
            self.opened.insert((channel.into(), key));
            self.step(&Alarm::Notified {
                notice: notice.id,
                failed: None,
                reference: None,
                tries: 1,
                replaced: false,
                maybe: false,
                digest: Some(DigestTold { key, opens: true }),
            });
        }
    }

    /// Digests that stand open at a channel.
    fn open_digests(&self) -> BTreeSet<(Box<str>, GroupKey)> {
        let ends = self.taken.iter().filter(|notice| notice.tells == NoticeKind::Resolved);
        let closed = ends.flat_map(|end| end.closes.iter().map(|key| (end.id.channel.clone(), *key)));
        let closed: BTreeSet<_> = closed.collect();
        self.opened.difference(&closed).cloned().collect()
    }

    /// Time passes, and what is due is done when it is.
    fn pass(&mut self, millis: u64) {
        let until = self.now + millis;
        for _ in 0..10_000 {
            match self.alerts.due() {
                Some(due) if due.0 <= until => {
                    self.now = self.now.max(due.0);
                    self.step(&Alarm::Tick);
                }
                Some(_) | None => break,
            }
        }
        self.now = until;
    }

    /// A crash: what is not in the rows is gone, and notices without an outcome are asked for again.
    fn restart(&mut self) {
        let mut alerts = Alerts::new("example.com/gemba/", "n-1");
        for (key, row) in &self.rows {
            alerts.restore(key, row).unwrap();
        }
        // An alarm that changed nothing is not taken down.
        assert!(alerts.last() <= self.alerts.last());
        assert_eq!(alerts.due(), self.alerts.due());
        assert_eq!(
            alerts.views(usize::MAX).collect::<Vec<_>>(),
            self.alerts.views(usize::MAX).collect::<Vec<_>>()
        );
        self.alerts = alerts;
        self.open = self.alerts.pending(&self.routes);
        assert!(self.open.iter().all(|notice| notice.maybe_twice));
        if self.answers {
            self.answer(None);
        }
    }

    /// The journal is read again over an older store: the same receipts, and the same state in the end.
    fn read_again_from(&self, mut rows: BTreeMap<String, Vec<u8>>) {
        let mut alerts = Alerts::new("example.com/gemba/", "n-1");
        for (key, row) in &rows {
            alerts.restore(key, row).unwrap();
        }
        let (from, mut effects) = (alerts.last(), AlertEffects::default());
        for (seq, time, alarm) in &self.journal {
            alerts.step((*seq, *time), alarm, &self.routes, &mut effects);
        }
        let left = self.drafts.iter().filter(|draft| draft.gist.id.seq > from);
        let text = |draft: &Draft| format!("{draft:?}");
        assert!(left.map(text).eq(effects.drafts.iter().map(text)), "a replay leaves the same receipts");
        for (key, row) in alerts.drain_changed() {
            match row {
                Some(row) => drop(rows.insert(key, row)),
                None => drop(rows.remove(&key)),
            }
        }
        let text = |rows: &BTreeMap<String, Vec<u8>>, key: &str| {
            rows.get(key).map(|row| String::from_utf8_lossy(row).into_owned())
        };
        // An alarm that changes nothing is not taken down: the number of the last one may be behind.
        for key in rows.keys().chain(self.rows.keys()).filter(|key| *key != "last") {
            assert_eq!(text(&rows, key), text(&self.rows, key), "a replay ends in the same state: {key}");
        }
    }

    fn told(&self) -> Vec<(&str, NoticeReason)> {
        self.sent.iter().map(|notice| (&*notice.id.channel, notice.reason)).collect()
    }

    fn receipts(&self) -> Vec<ReceiptType> {
        self.drafts.iter().map(|draft| draft.gist.kind).collect()
    }

    fn id(&self) -> AlertId {
        self.alerts.views(usize::MAX).next().unwrap().id.parse().unwrap()
    }
}

fn cause(kind: CauseKind, tenant: &str, name: &str) -> AlertCause {
    let subject = (!tenant.is_empty()).then(|| Subject::read(tenant, "vm").unwrap());
    AlertCause { kind, subject, name: name.into(), told_by: None }
}

fn raise(cause: AlertCause, importance: Importance) -> Alarm {
    let message = format!("{} {}", cause.kind.into_str(), cause.name).into();
    let labels = AlertLabels::default();
    Alarm::Raise(Box::new(Raise { cause, importance, message, member: None, labels, minutes: 0 }))
}

fn rule(tenant: &str) -> AlertCause {
    cause(CauseKind::Rule, tenant, "cost/budget")
}

/// A rule that a signal of this number fired.
fn fired(tenant: &str, signal: u64) -> Alarm {
    let Alarm::Raise(raised) = raise(rule(tenant), Importance::Critical) else { unreachable!() };
    let signal = Some((signal, format!("s-{signal}").into(), "00".repeat(32).into()));
    let labels = AlertLabels { signal, ..AlertLabels::default() };
    Alarm::Raise(Box::new(Raise { labels, ..*raised }))
}

/// Numbers of a source that did not come.
fn gap(message: &str) -> Alarm {
    let Alarm::Raise(raised) = raise(cause(CauseKind::SequenceGap, "", "erp"), Importance::Warning) else {
        unreachable!()
    };
    Alarm::Raise(Box::new(Raise { message: message.into(), ..*raised }))
}

/// All alerts go to the chat, and to the pager after this time without an acknowledgement.
fn escalating(minutes: u32) -> Routes {
    routes(|routes| {
        routes.routes.push(RouteSource {
            when: "true".into(),
            channels: vec!["chat".into()],
            escalate_after_minutes: minutes,
            escalate_to: vec!["pager".into()],
            ..RouteSource::default()
        });
    })
}

fn acknowledge(alert: AlertId) -> Alarm {
    Alarm::Acknowledge { alert, by: "ann".into(), reason: "on it".into() }
}

fn silence(world: &World, when: &str, minutes: u64) -> Alarm {
    let until = UnixMillis(world.now + minutes * MINUTE);
    Alarm::Silence(Box::new(SilenceOrder {
        when: when.into(),
        until,
        by: "ann".into(),
        reason: "known".into(),
    }))
}

#[test]
fn one_thing_is_told_once_repeated_and_ended() {
    let mut world = World::new(routes(|_| {}));
    world.step(&raise(rule("acme"), Importance::Critical));
    assert_eq!(world.sent.len(), 0, "the group waits");
    world.pass(5 * SECOND);
    assert_eq!(world.told(), [("chat", NoticeReason::First), ("pager", NoticeReason::First)]);
    for _ in 0..5 {
        world.step(&raise(rule("acme"), Importance::Critical));
        world.pass(MINUTE);
    }
    assert_eq!(world.sent.len(), 2, "it holds still");
    world.restart();
    world.pass(4 * 60 * MINUTE);
    assert_eq!(world.told()[2..], [("chat", NoticeReason::Repeat), ("pager", NoticeReason::Repeat)]);
    world.step(&Alarm::End(rule("acme")));
    world.pass(MINUTE);
    assert_eq!(world.told()[4..], [("chat", NoticeReason::Resolved), ("pager", NoticeReason::Resolved)]);
    world.pass(24 * 60 * MINUTE);
    assert_eq!((world.sent.len(), world.rows.len()), (6, 1), "nothing is left but the last number");
    let expected = [vec![AlertOpened], vec![AlertNotified; 4], vec![AlertResolved], vec![AlertNotified; 2]];
    assert_eq!(world.receipts(), expected.concat());
}

#[test]
fn a_critical_alert_is_listed_first_however_many_newer_ones_there_are() {
    let mut world = World::new(routes(|_| {}));
    world.step(&raise(rule("acme"), Importance::Critical));
    for number in 0..30 {
        world.now += SECOND;
        let tenant = format!("t{number}");
        world.step(&raise(cause(CauseKind::GovernorBreaker, &tenant, ""), Importance::Info));
    }
    world.step(&Alarm::End(cause(CauseKind::GovernorBreaker, "t29", "")));
    let wanted = |limit| AlertsWanted { limit, ..AlertsWanted::default() };
    let list = |wanted: &AlertsWanted| {
        let page = world.alerts.list(wanted);
        let tenants: Vec<String> =
            page.alerts.iter().map(|alert| alert.tenant.clone().unwrap().into()).collect();
        (tenants, page.count, page.next)
    };
    let (first, count, next) = list(&wanted(2));
    assert_eq!((first, count), (vec!["acme".to_owned(), "t28".to_owned()], 31));
    let (second, ..) = list(&AlertsWanted { after: next, ..wanted(2) });
    assert_eq!(second, ["t27", "t26"]);
    // The one that it goes on from may be gone.
    let after =
        next.map(|next| AlertPosition { since: std::cmp::Reverse(UnixMillis(next.since.0.0 - 1)), ..next });
    assert_eq!(list(&AlertsWanted { after, ..wanted(1) }).0, ["t27"]);
    let one = [
        AlertsWanted { importance: Some(Importance::Critical), ..wanted(1) },
        AlertsWanted { tenant: Some("acme".into()), ..wanted(1) },
    ];
    for wanted in one {
        assert_eq!(list(&wanted), (vec!["acme".to_owned()], 1, None));
    }
    let (ended, count, _) = list(&AlertsWanted { state: Some("resolved".into()), ..wanted(5) });
    assert_eq!((ended, count), (vec!["t29".to_owned()], 1));
    let (all, _, next) = list(&wanted(usize::MAX));
    assert_eq!(
        (all.len(), all.last().map(String::as_str), next),
        (31, Some("t29"), None),
        "what ended is last"
    );
}

#[test]
fn a_halt_of_a_tenant_is_an_alert_of_that_tenant() {
    let mut world = World::new(routes(|routes| {
        routes.routes.push(RouteSource {
            when: "alert.tenant == 'acme'".into(),
            channels: vec!["pager".into()],
            ..RouteSource::default()
        });
    }));
    for name in ["tenant acme", "target acme", "the line"] {
        world.step(&raise(AlertCause::of_node(CauseKind::Halt, name), Importance::Info));
    }
    world.pass(MINUTE);
    let of = |tenant: Option<&str>| {
        let views = world.alerts.views(usize::MAX).filter(|alert| alert.tenant.as_deref() == tenant);
        views.map(|alert| alert.name).collect::<Vec<_>>()
    };
    assert_eq!((of(Some("acme")), of(None).len()), (vec!["tenant acme".into()], 2));
    let mut paged = world.sent.iter().filter(|notice| &*notice.id.channel == "pager");
    assert_eq!(paged.next().map(|notice| notice.alerts[0].tenant.as_deref()), Some(Some("acme")));
    assert!(paged.next().is_none());
}

#[test]
fn first_digits_call_every_alert_that_has_them() {
    let mut world = World::new(routes(|_| {}));
    for number in 0..20_000 {
        let tenant = format!("t{number}");
        world.step(&raise(cause(CauseKind::GovernorBreaker, &tenant, ""), Importance::Critical));
    }
    let ids: Vec<String> = world.alerts.views(usize::MAX).map(|alert| alert.id).collect();
    let mut first: Vec<&str> = ids.iter().map(|id| &id[..6]).collect();
    first.sort_unstable();
    let alike = first.windows(2).find(|two| two[0] == two[1]).unwrap()[0];
    let found = world.alerts.called(alike.parse().unwrap(), 1);
    assert_eq!((found.alerts.len(), found.count), (1, 2));
    let found = world.alerts.called(ids[19_000][..12].parse().unwrap(), 5);
    assert_eq!((found.count, &found.alerts[0].id), (1, &ids[19_000]));
}

#[test]
fn ten_thousand_of_a_kind_are_one_page() {
    let mut world = World::new(routes(|routes| routes.warning = vec!["chat".into(), "pager".into()]));
    for number in 0..10_000 {
        world.step(&raise(cause(CauseKind::GovernorBreaker, &format!("t{number}"), ""), Importance::Warning));
    }
    world.pass(5 * SECOND);
    assert_eq!(world.told(), [("chat", NoticeReason::First), ("pager", NoticeReason::First)]);
    let notice = &world.sent[0];
    assert_eq!((notice.firing, notice.alerts.len()), (10_000, 20));
    assert!(notice.summary.starts_with("10000 alerts of 10000 tenants: "), "{}", notice.summary);
    for number in 0..10_000 {
        world.step(&Alarm::End(cause(CauseKind::GovernorBreaker, &format!("t{number}"), "")));
    }
    world.pass(2 * MINUTE);
    let told = world.told();
    assert_eq!(told[told.len() - 2..], [("chat", NoticeReason::Resolved), ("pager", NoticeReason::Resolved)]);
    assert!(world.alerts.views(usize::MAX).count() <= 1_000, "those that ended are few");
}

#[test]
fn governors_behind_a_target_are_members_of_its_alert() {
    let mut world = World::new(routes(|_| {}));
    let behind = |tenant: &str| {
        let labels = AlertLabels { target: Some("page".into()), ..AlertLabels::default() };
        let Alarm::Raise(raise) = raise(cause(CauseKind::GovernorBreaker, tenant, ""), Importance::Warning)
        else {
            unreachable!()
        };
        Alarm::Raise(Box::new(Raise { labels, ..*raise }))
    };
    world.step(&behind("t0"));
    world.step(&raise(cause(CauseKind::TargetBreaker, "", "page"), Importance::Critical));
    for number in 1..400 {
        world.step(&behind(&format!("t{number}")));
    }
    world.pass(5 * SECOND);
    assert_eq!(world.told(), [("chat", NoticeReason::First), ("pager", NoticeReason::First)]);
    assert_eq!(world.sent[0].alerts[0].members, 400);
    let named =
        world.alerts.views(usize::MAX).find(|alert| alert.kind == "target_breaker").unwrap().named_members;
    assert_eq!(named.len(), crate::limits::ALERT_MEMBERS_MAX);
    // Most of them are well again with their target; one is not, and is told of by itself.
    for number in 1..400 {
        world.step(&Alarm::End(cause(CauseKind::GovernorBreaker, &format!("t{number}"), "")));
    }
    world.step(&Alarm::End(cause(CauseKind::TargetBreaker, "", "page")));
    world.pass(2 * MINUTE);
    let told = world.told();
    assert!(told.contains(&("pager", NoticeReason::Resolved)), "{told:?}");
    let last = world.sent.iter().rfind(|notice| notice.kind == CauseKind::GovernorBreaker).unwrap();
    assert_eq!((last.firing, last.reason), (1, NoticeReason::First));
}

#[test]
fn a_silence_holds_back_triggers_and_never_ends() {
    let mut world = World::new(routes(|_| {}));
    world.step(&raise(rule("acme"), Importance::Critical));
    world.pass(5 * SECOND);
    world.step(&silence(&world, "alert.tenant == 'acme'", 60));
    world.step(&Alarm::End(rule("acme")));
    world.pass(MINUTE);
    assert_eq!(world.told()[2..], [("chat", NoticeReason::Resolved), ("pager", NoticeReason::Resolved)]);
    world.step(&raise(rule("acme"), Importance::Critical));
    world.step(&raise(rule("globex"), Importance::Critical));
    world.pass(MINUTE);
    assert_eq!(world.sent[4].alerts.len(), 1, "only the other tenant's");
    let views: Vec<_> = world.alerts.views(usize::MAX).collect();
    assert!(views.iter().any(|alert| alert.silenced && alert.state == "open"));
    assert_eq!(world.alerts.silences()[0].alerts, 1);
    world.pass(60 * MINUTE);
    assert!(world.alerts.silences().is_empty(), "it ended");
    let last = world.sent.last().unwrap();
    assert_eq!((last.firing, last.reason), (2, NoticeReason::Changed), "what it held back is told");
}

#[test]
fn what_a_silence_held_back_and_ended_is_told_to_nobody() {
    let mut world = World::new(routes(|_| {}));
    world.step(&silence(&world, "true", 60));
    world.step(&raise(rule("acme"), Importance::Critical));
    world.pass(MINUTE);
    let silenced = world.drafts.iter().filter(|draft| draft.gist.kind == ReceiptType::AlertSilenced).count();
    assert_eq!(silenced, 2, "one of the order, one that says what it held back");
    world.step(&Alarm::End(rule("acme")));
    world.pass(120 * MINUTE);
    assert_eq!(world.told(), []);
}

/// A group is looked at once in a while, however many of its alerts are silenced and however many alarms come.
#[test]
fn a_silenced_group_is_not_looked_at_with_each_alarm() {
    let mut world = World::new(routes(|routes| routes.group_wait_seconds = 0));
    world.step(&raise(rule("t0"), Importance::Critical));
    world.step(&silence(&world, "true", 60));
    world.pass(2 * MINUTE);
    let look = |world: &World| world.alerts.due().unwrap();
    for number in 1..100 {
        world.step(&raise(rule(&format!("t{number}")), Importance::Critical));
        assert!(look(&world) > UnixMillis(world.now), "the next look has time");
    }
    world.pass(SECOND);
    world.step(&Alarm::End(rule("t5")));
    assert!(look(&world) > UnixMillis(world.now));
}

/// A first message that is gone has a new one: later notices name that.
#[test]
fn the_newest_message_of_a_group_is_its_reference() {
    let mut world = World::new(routes(|_| {}));
    world.answers = false;
    world.step(&raise(rule("acme"), Importance::Warning));
    world.pass(5 * SECOND);
    for reference in ["C1:1:old", "C2:2:new"] {
        let notice = world.open.remove(0).id;
        let (failed, reference) = (None, Some(reference.into()));
        world.step(&Alarm::Notified {
            notice,
            failed,
            reference,
            tries: 1,
            replaced: false,
            maybe: false,
            digest: None,
        });
        world.step(&raise(rule(&format!("t{}", world.sent.len())), Importance::Warning));
        world.pass(MINUTE);
    }
    assert_eq!(world.open[0].reference.as_deref(), Some("C2:2:new"));
}

/// A channel that does not take the end is asked again, later each time, for a day; then the group is over.
#[test]
fn an_end_that_is_refused_is_told_again() {
    let mut world = World::new(routes(|_| {}));
    world.step(&raise(rule("acme"), Importance::Warning));
    world.pass(5 * SECOND);
    world.answers = false;
    world.step(&Alarm::End(rule("acme")));
    world.pass(MINUTE);
    world.answer(Some("it answered 403"));
    // That the channel fails is an alert of its own, which others hear of.
    let ends =
        |world: &World| world.told().iter().filter(|told| **told == ("chat", NoticeReason::Resolved)).count();
    assert_eq!(ends(&world), 1);
    world.restart();
    world.pass(MINUTE);
    assert_eq!(ends(&world), 2);
    world.answers = true;
    world.answer(None);
    world.pass(25 * 60 * MINUTE);
    assert_eq!(ends(&world), 2, "it was told");

    let mut world = World::new(routes(|_| {}));
    world.step(&raise(rule("acme"), Importance::Warning));
    world.pass(5 * SECOND);
    world.answers = false;
    world.step(&Alarm::End(rule("acme")));
    for _ in 0..26 * 60 {
        world.pass(MINUTE);
        world.answer(Some("it answered 403"));
    }
    assert!((8..20).contains(&ends(&world)), "{}", ends(&world));
    let group = format!("group/{}", world.sent[0].id.group);
    assert!(!world.rows.contains_key(&group), "it is over: {:?}", world.rows.keys());
}

/// A channel that took no beginning is asked again, later each time, for a day. Those that took it hear nothing twice.
#[test]
fn a_beginning_that_is_refused_is_told_again() {
    // That the channel fails is an alert of its own, which others hear of.
    let told = |world: &World, channel: &str| {
        let group = world.sent[0].id.group;
        let of_it =
            world.sent.iter().filter(|notice| notice.id.group == group && &*notice.id.channel == channel);
        of_it.filter(|notice| notice.reason == NoticeReason::First).count()
    };
    let only_pager = |world: &mut World| {
        let (pager, others) = world.open.drain(..).partition(|notice| &*notice.id.channel == "pager");
        world.open = others;
        world.answer(None);
        world.open = pager;
        world.answer(Some("its channel had no more room"));
    };
    let begun = || {
        let mut world = World::new(routes(|_| {}));
        world.answers = false;
        world.step(&raise(rule("acme"), Importance::Critical));
        world.pass(5 * SECOND);
        only_pager(&mut world);
        assert_eq!((told(&world, "pager"), told(&world, "chat")), (1, 1));
        world
    };
    let mut world = begun();
    world.restart();
    world.pass(MINUTE);
    assert_eq!((told(&world, "pager"), told(&world, "chat")), (2, 1), "within a minute, not four hours");
    world.answer(None);
    world.pass(3 * 60 * MINUTE);
    assert_eq!(told(&world, "pager"), 2, "it was told");

    // Nobody is called for what somebody takes care of, or for what is over.
    for settled in [acknowledge(world.id()), Alarm::End(rule("acme"))] {
        let mut world = begun();
        world.step(&settled);
        world.answer(None);
        world.pass(3 * 60 * MINUTE);
        assert_eq!(told(&world, "pager"), 1, "{settled:?}");
    }

    // A silence holds it back, and no longer.
    let mut world = begun();
    world.step(&silence(&world, "true", 30));
    world.pass(29 * MINUTE);
    assert_eq!(told(&world, "pager"), 1);
    world.pass(35 * MINUTE);
    assert_eq!(told(&world, "pager"), 2);

    let mut world = begun();
    for _ in 0..26 * 60 {
        world.pass(MINUTE);
        only_pager(&mut world);
    }
    assert!((8..20).contains(&told(&world, "pager")), "{}", told(&world, "pager"));
    world.step(&Alarm::End(rule("acme")));
    world.answer(None);
    world.pass(MINUTE);
    let group = format!("group/{}", world.sent[0].id.group);
    assert!(!world.rows.contains_key(&group), "it is over: {:?}", world.rows.keys());
}

#[test]
fn what_was_asked_for_is_told_as_it_was_whatever_was_silenced_since() {
    let mut world = World::new(routes(|_| {}));
    world.answers = false;
    world.step(&raise(rule("acme"), Importance::Critical));
    world.pass(5 * SECOND);
    world.step(&silence(&world, "true", 1));
    world.restart();
    let page = |world: &World| {
        world
            .open
            .iter()
            .map(|notice| (notice.summary.clone(), notice.alerts.len(), notice.importance))
            .collect::<Vec<_>>()
    };
    assert_eq!(page(&world), vec![("rule cost/budget".into(), 1, Importance::Critical); 2]);
    world.answers = true;
    world.answer(None);
    world.step(&acknowledge(world.id()));
    let last = world.sent.last().unwrap();
    assert_eq!(
        (last.tells, last.alerts.len()),
        (NoticeKind::Acknowledged, 1),
        "who was told hears who takes care"
    );
    assert_eq!(last.acknowledged, Some(("ann".into(), "on it".into())));
}

/// More alerts end between a notification and its end than are kept.
#[test]
fn an_end_names_what_is_over_whatever_ended_meanwhile() {
    let mut world = World::new(routes(|routes| routes.complete = vec!["pager".into()]));
    world.step(&raise(rule("victim"), Importance::Critical));
    world.pass(5 * SECOND);
    for number in 0..1_200 {
        let noise = || cause(CauseKind::Rule, &format!("t{number}"), "cost/noise");
        world.step(&raise(noise(), Importance::Info));
        if number == 0 {
            world.step(&Alarm::End(rule("victim")));
        }
        world.step(&Alarm::End(noise()));
    }
    world.pass(2 * MINUTE);
    let end = world
        .sent
        .iter()
        .find(|notice| notice.tells == NoticeKind::Resolved && &*notice.id.channel == "pager");
    let end = end.unwrap();
    assert_eq!((&*end.summary, end.resolved, end.importance), ("rule cost/budget", 1, Importance::Critical));
    assert_eq!(end.alerts.iter().map(|alert| alert.tenant.as_deref()).collect::<Vec<_>>(), [Some("victim")]);
    assert!(world.alerts.views(usize::MAX).count() <= crate::limits::ALERTS_ENDED_MAX);
    // Raised anew where nobody is told of it: what was told is over.
    world.step(&raise(rule("acme"), Importance::Critical));
    world.pass(2 * MINUTE);
    world.step(&Alarm::End(rule("acme")));
    world.step(&silence(&world, "true", 60));
    world.step(&raise(rule("acme"), Importance::Critical));
    world.pass(2 * MINUTE);
    let end = world.sent.last().unwrap();
    assert_eq!((end.tells, &*end.summary, end.alerts.len()), (NoticeKind::Resolved, "rule cost/budget", 1));
    assert!(end.alerts[0].ended.is_some());
}

#[test]
fn a_channel_that_groups_itself_is_told_of_every_alert() {
    let mut world = World::new(routes(|routes| routes.complete = vec!["pager".into()]));
    for number in 0..60 {
        world.step(&raise(rule(&format!("t{number}")), Importance::Critical));
    }
    world.pass(5 * SECOND);
    let listed = |world: &World| world.sent.iter().map(|notice| notice.alerts.len()).collect::<Vec<_>>();
    assert_eq!(listed(&world), [20, 60], "the chat and the pager");
    for number in 0..60 {
        world.step(&Alarm::End(rule(&format!("t{number}"))));
    }
    world.answers = false;
    world.pass(2 * MINUTE);
    world.restart();
    assert_eq!(world.open.iter().map(|notice| notice.alerts.len()).collect::<Vec<_>>(), [20, 60]);
    assert!(world.open.iter().flat_map(|notice| &notice.alerts).all(|alert| alert.ended.is_some()));
}

/// Who is called of a governor whose target fails: a time that came while the target's alert stood for it is made up for.
#[test]
fn times_that_came_behind_a_target_are_made_up_for() {
    let mut world = World::new(escalating(1));
    let labels = AlertLabels { target: Some("page".into()), ..AlertLabels::default() };
    let Alarm::Raise(raised) = raise(cause(CauseKind::GovernorBreaker, "acme", ""), Importance::Warning)
    else {
        unreachable!()
    };
    world.step(&Alarm::Raise(Box::new(Raise { labels, ..*raised })));
    world.pass(30 * SECOND);
    let target = || cause(CauseKind::TargetBreaker, "", "page");
    world.step(&raise(target(), Importance::Critical));
    world.step(&acknowledge(AlertId::of("example.com/gemba/", "n-1", &target())));
    world.pass(2 * MINUTE);
    assert!(!world.told().contains(&("pager", NoticeReason::Escalation)), "{:?}", world.told());
    world.restart();
    world.step(&Alarm::End(target()));
    world.pass(SECOND);
    assert!(world.told().contains(&("pager", NoticeReason::Escalation)), "{:?}", world.told());
}

/// One alert of a group is taken care of, the other was silenced and told to nobody: when that is over, it has its own time.
#[test]
fn what_nobody_was_told_of_is_not_escalated() {
    let mut world = World::new(escalating(60));
    world.step(&silence(&world, "alert.tenant == 'globex'", 5));
    world.step(&raise(rule("acme"), Importance::Critical));
    world.step(&raise(rule("globex"), Importance::Critical));
    world.pass(5 * SECOND);
    world.step(&acknowledge(AlertId::of("example.com/gemba/", "n-1", &rule("acme"))));
    world.pass(10 * MINUTE);
    assert!(!world.told().contains(&("pager", NoticeReason::Escalation)), "{:?}", world.told());
    world.pass(60 * MINUTE);
    assert!(world.told().contains(&("pager", NoticeReason::Escalation)), "{:?}", world.told());
}

/// The receipts of a notification are about what it told, and each signal that led to it finds one.
#[test]
fn receipts_say_of_whom_people_were_told() {
    let mut world = World::new(routes(|_| {}));
    world.answers = false;
    for (tenant, signal) in [("acme", 1), ("globex", 2)] {
        world.step(&fired(tenant, signal));
    }
    world.pass(5 * SECOND);
    world.step(&fired("initech", 3));
    world.step(&Alarm::End(rule("initech")));
    world.answer(None);
    let notified = world.drafts.iter().filter(|draft| draft.gist.kind == AlertNotified);
    let mut signals: Vec<u64> = notified.map(|draft| draft.gist.signal_seq.unwrap().0).collect();
    signals.sort_unstable();
    assert_eq!(signals, [1, 1, 2, 2], "two channels told of two alerts, and nobody of the third");
}

#[test]
fn one_tenant_leaves_room_for_others_and_each_severity_for_worse() {
    let mut world = World::new(routes(|_| {}));
    world.answers = false;
    let rule = |tenant: &str, number: usize| cause(CauseKind::Rule, tenant, &format!("p/r{number}"));
    for number in 0..crate::limits::ALERTS_MAX {
        world.step(&raise(rule("mallory", number), Importance::Info));
    }
    let half = crate::limits::ALERTS_MAX * 6 / 10 / 2;
    assert_eq!(world.alerts.views(usize::MAX).count(), half, "as many as one tenant may have");
    assert!(world.receipts().contains(&ReceiptType::AlertFailed), "what is refused has a receipt");
    for tenant in 0..crate::limits::ALERTS_MAX {
        world.step(&raise(rule(&format!("t{tenant}"), 0), Importance::Info));
    }
    assert_eq!(world.alerts.views(usize::MAX).count(), crate::limits::ALERTS_MAX * 6 / 10);
    let before = world.alerts.refused();
    world.step(&raise(rule("acme", 1), Importance::Critical));
    world.step(&raise(rule("acme", 2), Importance::Warning));
    assert_eq!(world.alerts.refused(), before, "what is worse has room");
    world.step(&raise(rule("mallory", usize::MAX), Importance::Critical));
    assert_eq!(world.alerts.refused(), before, "and so has a tenant, of what is worse");
    for number in 0..half {
        world.step(&Alarm::End(rule("mallory", number)));
    }
    world.step(&raise(rule("initech", 0), Importance::Info));
    assert_eq!(world.alerts.refused(), before, "room that is free is taken");
}

/// One who sends for many tenants leaves room for other senders; what found no place has one as soon as it is free, if it still holds.
#[test]
fn one_source_leaves_room_for_others_and_what_holds_gets_its_place() {
    let mut world = World::new(routes(|_| {}));
    world.answers = false;
    let by = |cause: AlertCause, source: &str| {
        let Alarm::Raise(raised) = raise(cause, Importance::Critical) else { unreachable!() };
        let labels = AlertLabels { source: Some(source.into()), resolves: true, ..AlertLabels::default() };
        Alarm::Raise(Box::new(Raise { labels, ..*raised }))
    };
    let (most, kept) = (crate::limits::ALERTS_MAX, crate::limits::ALERTS_REFUSED_KEPT_MAX);
    let share = most / 4 * 3;
    for number in 0..share + kept {
        world.step(&by(rule(&format!("t{number}")), "mallory"));
    }
    assert_eq!(world.alerts.views(usize::MAX).count(), share);
    // One that waits, and is opened by another sender's signal, waits no more: closed, it stays closed.
    let closed = format!("t{}", share + 5);
    world.step(&by(rule(&closed), "erp"));
    let alert = AlertId::of("example.com/gemba/", "n-1", &rule(&closed));
    world.step(&Alarm::Resolve { alert, by: "ann".into(), reason: "known".into(), cause: None });
    for number in 0..most - share + 70 {
        world.step(&by(rule(&format!("u{number}")), &format!("s{}", number % 7)));
    }
    let open = world.alerts.views(usize::MAX).filter(|alert| alert.ended_ms.is_none());
    assert_eq!(open.count(), most);
    for tenant in ["late", "over"] {
        world.step(&by(rule(tenant), "erp"));
    }
    let waiting = |world: &World| world.rows.keys().filter(|key| key.starts_with("without/")).count();
    assert_eq!(waiting(&world), kept);
    world.step(&Alarm::End(rule("over")));
    let is_open = |world: &World, tenant: &str| {
        let id = AlertId::of("example.com/gemba/", "n-1", &rule(tenant)).to_string();
        world.alerts.views(usize::MAX).any(|alert| alert.id == id && alert.ended_ms.is_none())
    };
    assert!(!is_open(&world, "late"));
    world.restart();
    for number in 0..kept + 8 {
        world.step(&Alarm::End(rule(&format!("t{number}"))));
    }
    assert!(is_open(&world, "late") && !is_open(&world, "over"));
    assert!(!is_open(&world, &closed));
    assert_eq!(waiting(&world), 0);
}

#[test]
fn what_is_news_of_an_open_alert_is_told() {
    let mut world = World::new(routes(|_| {}));
    world.step(&gap("2 is missing"));
    world.pass(5 * SECOND);
    world.step(&acknowledge(world.id()));
    world.step(&gap("2 is missing"));
    world.pass(60 * MINUTE);
    assert_eq!(world.sent.len(), 2, "{:?}", world.told());
    world.step(&gap("9 to 19 are missing"));
    world.pass(2 * MINUTE);
    let last = world.sent.last().unwrap();
    assert_eq!((last.reason, &*last.summary), (NoticeReason::First, "9 to 19 are missing"));
}

/// PagerDuty pages nobody for what joins an incident that is acknowledged.
#[test]
fn what_is_new_does_not_join_what_somebody_takes_care_of() {
    let mut world = World::new(routes(|_| {}));
    world.step(&raise(rule("acme"), Importance::Critical));
    world.pass(5 * SECOND);
    world.step(&acknowledge(world.id()));
    world.pass(5 * MINUTE);
    let first = world.sent[0].id.group;
    world.step(&raise(rule("initech"), Importance::Critical));
    world.pass(5 * SECOND);
    let last = world.sent.last().unwrap();
    assert_eq!((last.reason, last.id.group != first), (NoticeReason::First, true));
    world.step(&Alarm::End(rule("acme")));
    world.step(&Alarm::End(rule("initech")));
    world.pass(2 * MINUTE);
    let ends: BTreeSet<_> = world
        .sent
        .iter()
        .filter(|notice| notice.tells == NoticeKind::Resolved)
        .map(|notice| (notice.id.group, &*notice.id.channel))
        .collect();
    assert_eq!(ends.len(), 4, "two groups end at two channels: {ends:?}");
    // However many there are, each calls.
    let sent = world.sent.len();
    let number = crate::limits::GROUPS_ALIKE_MAX + 6;
    for number in 0..number {
        world.step(&raise(rule(&format!("t{number}")), Importance::Critical));
        world.pass(5 * SECOND);
        world.step(&acknowledge(AlertId::of("example.com/gemba/", "n-1", &rule(&format!("t{number}")))));
    }
    let firsts = world.sent[sent..].iter().filter(|notice| notice.reason == NoticeReason::First);
    let groups: BTreeSet<_> = firsts.map(|notice| notice.id.group).collect();
    assert_eq!(groups.len() as u64, number);
}

/// Nobody is called for what somebody took care of before the call; and a press says nothing of what stood in no notification.
#[test]
fn what_is_acknowledged_before_the_call_calls_nobody() {
    let mut world = World::new(routes(|_| {}));
    world.step(&raise(rule("acme"), Importance::Critical));
    world.step(&acknowledge(world.id()));
    world.pass(24 * 60 * MINUTE);
    world.step(&Alarm::End(rule("acme")));
    world.pass(MINUTE);
    assert!(world.sent.is_empty(), "{:?}", world.told());

    world.step(&raise(rule("acme"), Importance::Critical));
    world.pass(5 * SECOND);
    let told = world.sent[0].id.clone();
    world.step(&raise(rule("initech"), Importance::Critical));
    let group = GroupNamed::Key(GroupKey { group: told.group, since: told.since });
    let press = Callback {
        channels: ["pager".into()].into(),
        group,
        verb: CallbackVerb::Acknowledge,
        by: "pagerduty pager/jane".into(),
        reason: "seen".into(),
        pressed: UnixMillis(world.now),
    };
    let meant = world.alerts.meant_by(&press);
    assert_eq!(meant.iter().map(|meant| &meant.cause).collect::<Vec<_>>(), [&rule("acme")]);
    world.sent.clear();
    world.step(&acknowledge(meant[0].alert));
    world.pass(2 * MINUTE);
    let others: Vec<_> = world.sent.iter().filter(|notice| notice.id.group != told.group).collect();
    assert_eq!(others.iter().map(|notice| notice.reason).collect::<Vec<_>>(), [NoticeReason::First; 2]);
    let own = world.sent.iter().filter(|notice| notice.id.group == told.group);
    assert!(own.map(|notice| notice.tells).eq([NoticeKind::Acknowledged; 2]), "{:?}", world.told());
    world.restart();
    for tenant in ["acme", "initech"] {
        world.step(&Alarm::End(rule(tenant)));
    }
    world.pass(5 * MINUTE);
    let ends = world.sent.iter().filter(|notice| notice.tells == NoticeKind::Resolved).count();
    assert_eq!(ends, 4);
}

/// As long as its end is told, an incident that is acknowledged takes nothing new.
#[test]
fn what_begins_while_an_end_is_on_its_way_is_a_group_of_its_own() {
    let mut world = World::new(routes(|_| {}));
    world.step(&raise(rule("acme"), Importance::Critical));
    world.pass(5 * SECOND);
    world.step(&acknowledge(world.id()));
    world.step(&Alarm::End(rule("acme")));
    world.step(&raise(rule("initech"), Importance::Critical));
    world.pass(2 * MINUTE);
    let first = world.sent[0].id.group;
    let fires = world.sent.iter().filter(|notice| notice.tells == NoticeKind::Firing);
    let of_it = fires.filter(|notice| notice.id.group == first).count();
    assert_eq!(of_it, 2, "two channels, once: {:?}", world.told());
}

/// News of what somebody takes care of call anew, by an incident of its own; the old one is over.
#[test]
fn news_of_what_is_acknowledged_is_a_group_of_its_own() {
    let mut world = World::new(routes(|_| {}));
    world.step(&gap("2 is missing"));
    world.pass(5 * SECOND);
    let first = world.sent[0].id.clone();
    let pressed = world.now;
    world.step(&acknowledge(world.id()));
    world.pass(60 * MINUTE);
    world.sent.clear();
    world.step(&gap("9 is missing"));
    world.pass(2 * MINUTE);
    let told: Vec<_> =
        world.sent.iter().map(|notice| (notice.id.group == first.group, notice.tells)).collect();
    assert!(
        told.contains(&(false, NoticeKind::Firing)) && told.contains(&(true, NoticeKind::Resolved)),
        "{told:?}"
    );
    assert_eq!(told.len(), 2, "{told:?}");
    // A copy of what was pressed before says nothing of it.
    let now = world.sent.iter().find(|notice| notice.tells == NoticeKind::Firing).unwrap().id.clone();
    for (group, since) in [(first.group, first.since), (now.group, now.since)] {
        let press = Callback {
            channels: ["chat".into()].into(),
            group: GroupNamed::Key(GroupKey { group, since }),
            verb: CallbackVerb::Acknowledge,
            by: "slack chat/jane".into(),
            reason: "seen".into(),
            pressed: UnixMillis(pressed),
        };
        assert!(world.alerts.meant_by(&press).is_empty());
    }
}

/// Silenced news of an open alert are no end.
#[test]
fn silenced_news_end_nothing() {
    let mut world = World::new(routes(|_| {}));
    world.step(&gap("2 is missing"));
    world.pass(5 * SECOND);
    world.step(&silence(&world, "true", 30));
    world.step(&gap("9 is missing"));
    world.pass(20 * MINUTE);
    assert_eq!(world.sent.len(), 1, "{:?}", world.told());
    world.pass(20 * MINUTE);
    let last = world.sent.last().unwrap();
    assert_eq!((last.tells, &*last.summary), (NoticeKind::Firing, "9 is missing"));
}

/// What is acknowledged neither ends the repeats of what is silenced beside it, nor the telling of an end.
#[test]
fn an_acknowledgement_takes_nothing_from_a_silenced_neighbour() {
    let mut world = World::new(routes(|_| {}));
    for tenant in ["acme", "initech"] {
        world.step(&raise(rule(tenant), Importance::Critical));
    }
    world.pass(5 * SECOND);
    world.step(&acknowledge(AlertId::of("example.com/gemba/", "n-1", &rule("acme"))));
    world.step(&silence(&world, "alert.tenant == 'initech'", 5 * 60));
    world.pass(4 * 60 * MINUTE + 30 * MINUTE);
    let repeats =
        |world: &World| world.told().iter().filter(|told| **told == ("pager", NoticeReason::Repeat)).count();
    assert_eq!(repeats(&world), 0);
    world.pass(40 * MINUTE);
    assert_eq!(repeats(&world), 1, "{:?}", world.told());
}

/// A channel that was taken out does not fail; the end that is owed to it is told once it is there again.
#[test]
fn a_channel_that_is_not_configured_does_not_fail() {
    let mut world = World::new(routes(|_| {}));
    world.step(&raise(rule("acme"), Importance::Warning));
    world.pass(5 * SECOND);
    world.routes = routes(|routes| {
        routes.channels.retain(|name| name != "chat");
        routes.warning = vec!["pager".into()];
    });
    world.answers = false;
    world.step(&Alarm::End(rule("acme")));
    world.pass(MINUTE);
    world.answer(Some("no channel `chat` is configured"));
    assert!(world.alerts.views(usize::MAX).all(|alert| alert.kind != "channel_failing"));
}

/// The beginning was under way while the end failed: the end is told all the same.
#[test]
fn an_end_that_failed_before_its_beginning_arrived_is_told() {
    let mut world = World::new(routes(|_| {}));
    world.answers = false;
    world.step(&raise(rule("acme"), Importance::Warning));
    world.pass(5 * SECOND);
    let beginning = std::mem::take(&mut world.open);
    world.step(&Alarm::End(rule("acme")));
    world.pass(MINUTE);
    world.answer(Some("no channel `chat` is configured"));
    world.lost.clear();
    world.open = beginning;
    world.answers = true;
    world.answer(None);
    world.pass(5 * MINUTE);
    assert_eq!(
        world.taken.last().map(|notice| notice.tells),
        Some(NoticeKind::Resolved),
        "{:?}",
        world.told()
    );
}

/// A wall clock that is far ahead, and is believed: nothing is early for it. Replayed, restarted and restored alike.
#[test]
fn a_clock_that_steps_ends_no_silence_and_escalates_nothing() {
    let mut world = World::new(escalating(15));
    world.step(&raise(rule("acme"), Importance::Critical));
    world.pass(5 * SECOND);
    world.step(&silence(&world, "alert.tenant == 'initech'", 30));
    world.step(&raise(rule("initech"), Importance::Critical));
    world.pass(MINUTE);
    world.sent.clear();
    let day = 24 * 60 * MINUTE;
    world.now += day;
    world.step(&Alarm::Stepped { millis: day });
    world.restart();
    world.pass(13 * MINUTE);
    assert!(world.sent.is_empty(), "{:?}", world.told());
    world.pass(2 * MINUTE);
    assert_eq!(world.told(), [("pager", NoticeReason::Escalation)]);
    world.pass(13 * MINUTE);
    assert_eq!(world.alerts.silences().len(), 1);
    world.pass(3 * MINUTE);
    assert_eq!(world.alerts.silences().len(), 0);
    world.read_again_from(BTreeMap::new());
}

/// Who tells that a channel fails is none that fails as well.
#[test]
fn a_channel_that_fails_is_not_told_of_by_another_one_that_fails() {
    let mut world = World::new(routes(|routes| {
        routes.channels = ["file", "x", "y", "z"].map(str::to_owned).into();
        (routes.critical, routes.warning, routes.info) =
            (vec!["x".into()], vec!["y".into()], vec!["z".into()]);
    }));
    world.answers = false;
    world.step(&raise(rule("acme"), Importance::Critical));
    for _ in 0..8 {
        world.pass(10 * SECOND);
        let (well, fails) =
            world.open.drain(..).partition(|notice| matches!(&*notice.id.channel, "z" | "file"));
        world.open = well;
        world.answer(None);
        world.open = fails;
        world.answer(Some("it answered 403"));
    }
    let of = |channel: &str| {
        world
            .taken
            .iter()
            .any(|notice| &*notice.id.channel == channel && notice.kind == CauseKind::ChannelFailing)
    };
    assert!(of("z") && !of("file"), "{:?}", world.told());
}

/// The channels of an open alert were taken out of the configuration: who is called for such an alert now, is called.
#[test]
fn a_channel_that_is_gone_leaves_nobody_without_a_call() {
    let mut world = World::new(routes(|_| {}));
    world.step(&raise(rule("acme"), Importance::Warning));
    world.pass(5 * SECOND);
    world.routes = routes(|routes| {
        routes.channels = vec!["pager".into(), "log".into()];
        routes.warning = vec!["pager".into()];
    });
    world.pass(5 * 60 * MINUTE);
    assert_eq!(world.told()[1..], [("pager", NoticeReason::Repeat)]);
    world.step(&Alarm::End(rule("acme")));
    world.pass(2 * MINUTE);
    assert_eq!(world.told()[2..], [("chat", NoticeReason::Resolved), ("pager", NoticeReason::Resolved)]);
}

/// A processor starts again: its partitions are taken anew, and its governors tell of what holds.
#[test]
fn what_its_governor_tells_again_in_time_calls_nobody_again() {
    let mut world = World::new(routes(|_| {}));
    let breaker = || raise(cause(CauseKind::GovernorBreaker, "acme", ""), Importance::Critical);
    world.step(&breaker());
    world.pass(5 * SECOND);
    let told = world.told().len();
    world.look_elsewhere("acme");
    world.restart();
    world.pass(MINUTE);
    world.step(&breaker());
    world.pass(30 * MINUTE);
    assert_eq!(
        (world.told().len(), world.alerts.called(world.id().into(), 1).alerts[0].ends_ms),
        (told, None)
    );
    world.step(&Alarm::End(cause(CauseKind::GovernorBreaker, "acme", "")));
    world.pass(MINUTE);
    assert_eq!(world.told()[told..], [("chat", NoticeReason::Resolved)]);
}

/// A partition that went to another node takes with it what its governors tell; what nobody tells of again stays.
#[test]
fn what_another_node_tells_of_ends_here() {
    let mut world = World::new(routes(|_| {}));
    let mut resolving = rule("acme");
    resolving.name = "cost/resolves".into();
    let Alarm::Raise(raised) = raise(resolving, Importance::Critical) else { unreachable!() };
    let labels = AlertLabels { resolves: true, ..AlertLabels::default() };
    world.step(&Alarm::Raise(Box::new(Raise { labels, ..*raised })));
    world.step(&raise(cause(CauseKind::Halt, "acme", ""), Importance::Critical));
    world.step(&raise(cause(CauseKind::Halt, "globex", ""), Importance::Critical));
    world.step(&raise(rule("acme"), Importance::Critical));
    world.step(&raise(cause(CauseKind::DiskLow, "", ""), Importance::Critical));
    world.pass(5 * SECOND);
    world.look_elsewhere("acme");
    world.restart();
    world.pass(9 * MINUTE);
    let open = |world: &World| {
        let open = world.alerts.views(usize::MAX).filter(|alert| alert.state != "resolved");
        let mut open: Vec<_> =
            open.map(|alert| format!("{} {:?} {}", alert.kind, alert.tenant, alert.name)).collect();
        open.sort();
        open
    };
    assert_eq!(open(&world).len(), 5);
    world.pass(2 * MINUTE);
    let stay = ["disk_low None ", "halt Some(\"globex\") ", "rule Some(\"acme\") cost/budget"];
    assert_eq!(open(&world), stay);
    let ended = world.drafts.iter().filter(|draft| draft.gist.kind == AlertResolved);
    let reasons: Vec<_> = ended.map(|draft| draft.reason.as_deref().unwrap()).collect();
    assert_eq!(reasons, ["another node decides on its governor, and tells of it"; 2]);
    assert!(
        world.told().contains(&("pager", NoticeReason::Resolved)),
        "who was told hears of it: {:?}",
        world.told()
    );
}

#[test]
fn who_is_not_acknowledged_goes_further() {
    let escalating = routes(|routes| {
        routes.routes.push(RouteSource {
            when: "alert.tenant.startsWith('ac')".into(),
            channels: vec!["chat".into()],
            escalate_after_minutes: 15,
            escalate_to: vec!["pager".into()],
            ..RouteSource::default()
        });
    });
    let mut world = World::new(escalating);
    world.step(&raise(rule("acme"), Importance::Warning));
    world.pass(5 * SECOND);
    world.restart();
    world.pass(14 * MINUTE);
    assert_eq!(world.told(), [("chat", NoticeReason::First)]);
    world.restart();
    world.pass(MINUTE);
    world.restart();
    assert_eq!(world.told()[1..], [("pager", NoticeReason::Escalation)]);
    assert!(world.receipts().contains(&ReceiptType::AlertEscalated));
    world.step(&acknowledge(world.id()));
    assert_eq!(
        world.told()[2..],
        [("chat", NoticeReason::Acknowledged), ("pager", NoticeReason::Acknowledged)]
    );
    world.pass(24 * 60 * MINUTE);
    assert_eq!(world.sent.len(), 4, "nobody is called again");
    world.step(&Alarm::End(rule("acme")));
    world.pass(MINUTE);
    assert_eq!(world.told()[4..], [("chat", NoticeReason::Resolved), ("pager", NoticeReason::Resolved)]);
}

#[test]
fn times_that_came_in_a_silence_are_made_up_for() {
    let mut world = World::new(escalating(1));
    world.step(&raise(rule("acme"), Importance::Warning));
    world.pass(5 * SECOND);
    world.step(&silence(&world, "true", 2));
    world.pass(MINUTE + 30 * SECOND);
    assert_eq!(world.told(), [("chat", NoticeReason::First)]);
    world.pass(MINUTE);
    assert!(world.told().contains(&("pager", NoticeReason::Escalation)), "{:?}", world.told());
}

#[test]
fn a_silenced_neighbour_keeps_nobodys_end() {
    let mut world = World::new(routes(|routes| routes.group_by = vec![GroupBy::Kind]));
    world.step(&raise(rule("acme"), Importance::Warning));
    world.pass(5 * SECOND);
    world.step(&silence(&world, "alert.tenant == 'globex'", 600));
    world.step(&raise(rule("globex"), Importance::Warning));
    world.pass(2 * MINUTE);
    world.step(&Alarm::End(rule("acme")));
    world.pass(2 * MINUTE);
    assert_eq!(world.told(), [("chat", NoticeReason::First), ("chat", NoticeReason::Resolved)]);
    world.pass(600 * MINUTE);
    assert_eq!(
        world.told()[2..3],
        [("chat", NoticeReason::Changed)],
        "the other one, when its silence is over"
    );
}

#[test]
fn acknowledging_again_and_again_loses_no_end() {
    let mut world = World::new(routes(|_| {}));
    world.answers = false;
    world.step(&raise(rule("acme"), Importance::Warning));
    world.pass(5 * SECOND);
    for _ in 0..20 {
        world.step(&acknowledge(world.id()));
    }
    assert_eq!(world.sent.len(), 2, "the second acknowledgement is no news");
    world.answer(None);
    world.step(&Alarm::End(rule("acme")));
    world.pass(MINUTE);
    assert_eq!(world.told()[2..], [("chat", NoticeReason::Resolved)]);
}

#[test]
fn an_acknowledgement_in_time_calls_nobody_else() {
    let mut world = World::new(escalating(15));
    world.step(&raise(rule("acme"), Importance::Warning));
    world.pass(MINUTE);
    world.step(&acknowledge(world.id()));
    world.pass(60 * MINUTE);
    assert!(world.told().iter().all(|(channel, _)| *channel == "chat"), "{:?}", world.told());
}

#[test]
fn a_callback_means_the_open_alerts_of_a_group_that_its_channel_was_told_of() {
    let mut world = World::new(routes(|_| {}));
    for tenant in ["acme", "zeta"] {
        world.step(&raise(rule(tenant), Importance::Critical));
    }
    world.pass(MINUTE);
    let NoticeId { group, since, .. } = world.taken[0].id.clone();
    let key = GroupKey { group, since };
    let callback = |named, channels: &[&str], verb, pressed| {
        let channels: std::sync::Arc<[Box<str>]> = channels.iter().map(|name| (*name).into()).collect();
        let (by, reason, pressed) = ("pagerduty pager/ann".into(), "seen".into(), UnixMillis(pressed));
        Callback { channels, group: named, verb, by, reason, pressed }
    };
    let (named, now) = (GroupNamed::Key(key), world.now);
    let acknowledge = |named, channels: &[&str]| callback(named, channels, CallbackVerb::Acknowledge, now);
    assert_eq!(world.alerts.meant_by(&acknowledge(named, &["pager"])).len(), 2);
    assert_eq!(world.alerts.meant_by(&acknowledge(GroupNamed::Tag(key.tag()), &["x", "chat"])).len(), 2);

    // Another channel's, another group's, one of the same name that began at a different time.
    let other = GroupKey { group: AlertId([7; 16]), ..key };
    let earlier = GroupKey { since: since - 1, ..key };
    for (named, channels) in [
        (named, &["log"][..]),
        (named, &[]),
        (GroupNamed::Key(other), &["pager"]),
        (GroupNamed::Key(earlier), &["pager"]),
        (GroupNamed::Tag(other.tag()), &["pager"]),
        (GroupNamed::Tag(earlier.tag()), &["pager"]),
    ] {
        assert!(world.alerts.meant_by(&acknowledge(named, channels)).is_empty(), "{named:?} {channels:?}");
    }

    // What was pressed long before an alert began says nothing of it.
    world.pass(10 * MINUTE);
    world.step(&raise(rule("young"), Importance::Critical));
    world.pass(2 * MINUTE);
    let meant = world.alerts.meant_by(&acknowledge(named, &["pager"]));
    assert_eq!(meant.len(), 2);
    for MeantAlert { alert: id, .. } in &meant {
        let (by, reason) = ("pagerduty pager/ann".into(), "seen".into());
        world.step(&Alarm::Acknowledge { alert: *id, by, reason });
    }
    assert!(world.alerts.meant_by(&acknowledge(named, &["pager"])).is_empty(), "a repeat changes nothing");
    let resolve = |pressed| callback(named, &["pager"], CallbackVerb::Resolve, pressed);
    assert_eq!(world.alerts.meant_by(&resolve(now)).len(), 2, "acknowledged ones can be resolved");
    assert_eq!(world.alerts.meant_by(&resolve(world.now)).len(), 3);
    for MeantAlert { alert: id, .. } in world.alerts.meant_by(&resolve(world.now)) {
        world.step(&Alarm::Resolve { alert: id, by: "x".into(), reason: "y".into(), cause: None });
    }
    assert!(world.alerts.meant_by(&resolve(world.now)).is_empty());
    for number in 0..200 {
        world.step(&raise(rule(&format!("many-{number}")), Importance::Critical));
    }
    world.pass(10 * MINUTE);
    let NoticeId { group, since, .. } = world.taken.last().unwrap().id.clone();
    let named = GroupNamed::Key(GroupKey { group, since });
    let all = callback(named, &["pager"], CallbackVerb::Acknowledge, world.now);
    assert_eq!(world.alerts.meant_by(&all).len(), crate::limits::CALLBACK_ALERTS_AT_ONCE, "a part at a time");
}

/// What several groups were told by in one is over with the last of them, and means all of them.
#[test]
fn a_digest_ends_with_its_last_group_and_its_callback_means_all_of_them() {
    let mut world = World::new(routes(|_| {}));
    world.answers = false;
    let targets = ["a", "b", "c"].map(|name| cause(CauseKind::TargetBreaker, "", name));
    for target in &targets {
        world.step(&raise(target.clone(), Importance::Warning));
    }
    world.pass(5 * SECOND);
    world.answer_as_one("chat");
    let key = world.opened.iter().next().unwrap().1;
    let callback = |named, channel: &str| {
        let (by, reason, pressed) = ("slack chat/ann".into(), "seen".into(), UnixMillis(world.now));
        let channels = [channel.into()].into();
        Callback { channels, group: named, verb: CallbackVerb::Acknowledge, by, reason, pressed }
    };
    for (named, channel, alerts) in [
        (GroupNamed::Key(key), "chat", 3),
        (GroupNamed::Tag(key.tag()), "chat", 3),
        (GroupNamed::Key(key), "pager", 0),
        (GroupNamed::Key(GroupKey { since: key.since + 1, ..key }), "chat", 0),
    ] {
        assert_eq!(world.alerts.meant_by(&callback(named, channel)).len(), alerts, "{named:?} {channel}");
    }
    world.answers = true;
    world.step(&Alarm::End(targets[0].clone()));
    world.step(&Alarm::End(targets[1].clone()));
    world.pass(5 * MINUTE);
    assert_eq!(world.open_digests().len(), 1, "one of them fires");
    world.restart();
    world.step(&Alarm::End(targets[2].clone()));
    world.pass(5 * MINUTE);
    assert_eq!(world.open_digests().len(), 0);
    assert!(!world.rows.keys().any(|key| key.starts_with("group/")), "{:?}", world.rows.keys());
}

#[test]
fn a_route_that_changes_leaves_what_is_open_to_the_old_one() {
    let mut world = World::new(routes(|_| {}));
    world.step(&raise(rule("acme"), Importance::Warning));
    world.pass(5 * SECOND);
    world.routes = routes(|routes| routes.warning = vec!["pager".into()]);
    world.step(&raise(rule("globex"), Importance::Warning));
    world.pass(MINUTE);
    assert_eq!(world.told()[1..], [("pager", NoticeReason::First)], "a new one goes by the new route");
    world.step(&Alarm::End(rule("globex")));
    world.pass(MINUTE);
    assert_eq!(world.told()[2..], [("pager", NoticeReason::Resolved)]);
    world.sent.truncate(1);
    world.step(&Alarm::End(rule("acme")));
    world.pass(MINUTE);
    assert_eq!(world.told(), [("chat", NoticeReason::First), ("chat", NoticeReason::Resolved)]);
    world.step(&raise(rule("acme"), Importance::Warning));
    world.pass(5 * SECOND);
    assert_eq!(world.told()[2..], [("pager", NoticeReason::First)]);
}

#[test]
fn a_channel_that_fails_is_told_of_by_another_one() {
    let mut world = World::new(routes(|routes| routes.warning = vec!["pager".into()]));
    world.answers = false;
    world.step(&raise(rule("acme"), Importance::Warning));
    world.pass(5 * SECOND);
    world.answer(Some("it answered 403"));
    world.pass(5 * SECOND);
    let told: Vec<_> = world.told();
    assert_eq!(told, [("pager", NoticeReason::First), ("chat", NoticeReason::First)], "not by itself");
    assert!(world.sent[1].summary.contains("it answered 403"), "{}", world.sent[1].summary);
    // It was not told, so it is not told of the end either.
    world.answer(None);
    world.step(&Alarm::End(rule("acme")));
    world.pass(2 * MINUTE);
    let ends = world.sent.iter().filter(|notice| notice.tells == NoticeKind::Resolved);
    assert!(ends.map(|notice| &*notice.id.channel).all(|channel| channel == "chat"));
}

#[test]
fn quiet_hours_keep_what_can_wait() {
    let mut world = World::new(routes(|routes| {
        routes.routes.push(RouteSource {
            when: "true".into(),
            channels: vec!["chat".into()],
            quiet_hours: QuietHours::read("00:00-23:59"),
            ..RouteSource::default()
        });
    }));
    world.step(&raise(rule("acme"), Importance::Warning));
    world.step(&raise(cause(CauseKind::Rule, "acme", "cost/stop"), Importance::Critical));
    world.pass(MINUTE);
    assert_eq!(world.sent.len(), 1);
    assert_eq!(world.sent[0].importance, Importance::Critical, "what cannot wait does not");
    world.pass(24 * 60 * MINUTE);
    let warned = world.sent.iter().filter(|notice| notice.importance == Importance::Warning);
    assert_eq!(warned.count(), 1, "in the one minute that is not quiet");
    world.pass(24 * 60 * MINUTE);
    let warned = world.sent.iter().filter(|notice| notice.importance == Importance::Warning);
    assert_eq!(warned.count(), 2, "what is repeated waits, too");
}

#[test]
fn what_ends_by_time_ends_by_itself() {
    let mut world = World::new(routes(|_| {}));
    let Alarm::Raise(raised) = raise(rule("acme"), Importance::Warning) else { unreachable!() };
    let again = Alarm::Raise(Box::new(Raise { minutes: 10, ..*raised }));
    world.step(&again.clone());
    world.pass(9 * MINUTE);
    world.step(&again);
    world.restart();
    world.pass(9 * MINUTE);
    assert_eq!(world.alerts.views(usize::MAX).next().unwrap().state, "notified");
    world.pass(2 * MINUTE);
    assert_eq!(world.alerts.views(usize::MAX).next().unwrap().state, "resolved");
    assert_eq!(world.told().last(), Some(&("chat", NoticeReason::Resolved)));
}

/// The stored bytes of every alarm: a journal that exists is read by every later version.
#[test]
fn alarms_are_stored_as_ever() {
    let notice = NoticeId { group: AlertId([7; 16]), since: 5, step: 2, channel: "chat".into() };
    let again = notice.clone();
    let digest = DigestTold { key: GroupKey { group: AlertId([7; 16]), since: 6 }, opens: true };
    let (by, reason) = (|| "ann".into(), || "why".into());
    let labels = AlertLabels {
        signal: Some((9, "s-1".into(), "ab".into())),
        source: Some("signals".into()),
        assurance: Some("B".into()),
        owner: Some("ann".into()),
        target: Some("page".into()),
        resolves: true,
    };
    let whole = Raise {
        cause: rule("acme"),
        importance: Importance::Critical,
        message: "m".into(),
        member: Subject::read("globex", "vm").ok(),
        labels,
        minutes: 3,
    };
    let id = "07070707070707070707070707070707";
    let golden: Vec<(Alarm, String)> = vec![
        (
            Alarm::Raise(Box::new(whole)),
            r#"{"raise":{"cause":{"kind":"rule","subject":["acme","vm"],"name":"cost/budget"},"importance":"critical","message":"m","member":["globex","vm"],"labels":{"signal":[9,"s-1","ab"],"source":"signals","assurance":"B","owner":"ann","target":"page","resolves":true},"minutes":3}}"#.into(),
        ),
        (
            raise(cause(CauseKind::DiskLow, "", ""), Importance::Info),
            r#"{"raise":{"cause":{"kind":"disk_low","name":""},"importance":"info","message":"disk_low ","labels":{},"minutes":0}}"#.into(),
        ),
        (Alarm::End(cause(CauseKind::Test, "", "x")), r#"{"end":{"kind":"test","name":"x"}}"#.into()),
        (Alarm::Tick, r#""tick""#.into()),
        (
            Alarm::Acknowledge { alert: AlertId([7; 16]), by: by(), reason: reason() },
            format!(r#"{{"acknowledge":{{"alert":"{id}","by":"ann","reason":"why"}}}}"#),
        ),
        (
            Alarm::Resolve { alert: AlertId([7; 16]), by: by(), reason: reason(), cause: None },
            format!(r#"{{"resolve":{{"alert":"{id}","by":"ann","reason":"why"}}}}"#),
        ),
        (
            Alarm::Resolve { alert: AlertId([7; 16]), by: by(), reason: reason(), cause: Some(Box::new(rule("acme"))) },
            format!(r#"{{"resolve":{{"alert":"{id}","by":"ann","reason":"why","cause":{{"kind":"rule","subject":["acme","vm"],"name":"cost/budget"}}}}}}"#),
        ),
        (Alarm::Stepped { millis: 9 }, r#"{"stepped":{"millis":9}}"#.into()),
        (
            Alarm::Silence(Box::new(SilenceOrder { when: "true".into(), until: UnixMillis(4), by: by(), reason: reason() })),
            r#"{"silence":{"when":"true","until":4,"by":"ann","reason":"why"}}"#.into(),
        ),
        (
            Alarm::EndSilence { silence: Seq(6), by: by(), reason: reason() },
            r#"{"end_silence":{"silence":6,"by":"ann","reason":"why"}}"#.into(),
        ),
        (
            Alarm::Notified { notice: notice.clone(), failed: None, reference: Some("r".into()), tries: 1, replaced: false, maybe: false, digest: None },
            format!(r#"{{"notified":{{"notice":{{"group":"{id}","since":5,"step":2,"channel":"chat"}},"reference":"r","tries":1}}}}"#),
        ),
        (
            Alarm::Notified { notice, failed: Some("no".into()), reference: None, tries: 2, replaced: true, maybe: true, digest: None },
            format!(r#"{{"notified":{{"notice":{{"group":"{id}","since":5,"step":2,"channel":"chat"}},"failed":"no","tries":2,"replaced":true,"maybe":true}}}}"#),
        ),
        (
            Alarm::Notified { notice: again, failed: None, reference: None, tries: 1, replaced: false, maybe: false, digest: Some(digest) },
            format!(r#"{{"notified":{{"notice":{{"group":"{id}","since":5,"step":2,"channel":"chat"}},"tries":1,"digest":{{"key":{{"group":"{id}","since":6}},"opens":true}}}}}}"#),
        ),
    ];
    for (alarm, stored) in golden {
        assert_eq!(String::from_utf8(alarm.to_json()).unwrap(), stored);
        assert_eq!(Alarm::from_json(stored.as_bytes()), Ok(alarm));
    }
    let long = "x".repeat(2000);
    for wrong in [
        r#"{"nothing":{}}"#,
        r#"{"end":{"kind":"test","name":"x","more":1}}"#,
        r#"{"end":{"kind":"test","subject":["ACME","vm"],"name":"x"}}"#,
        r#"{"resolve":{"alert":"07","by":"ann","reason":"why"}}"#,
        &format!(r#"{{"end_silence":{{"silence":6,"by":"ann","reason":"{long}"}}}}"#),
    ] {
        assert!(Alarm::from_json(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[derive(Clone, Debug)]
enum Does {
    Raise(u8),
    End(u8),
    Pass(u64),
    Answer(bool),
    /// All that a channel was asked to tell is told by one digest.
    Digest,
    Restart,
    /// Channels take what they are asked for, and nobody hears of that before the crash.
    Kill,
    Silence,
    Acknowledge(u8),
    Step,
    /// The store is as it is now when the journal is read again.
    Store,
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        4 => (0u8..6).prop_map(Does::Raise),
        3 => (0u8..6).prop_map(Does::End),
        4 => prop_oneof![Just(SECOND), Just(5 * SECOND), Just(MINUTE), Just(20 * MINUTE), Just(300 * MINUTE)].prop_map(Does::Pass),
        3 => prop::bool::weighted(0.8).prop_map(Does::Answer),
        1 => Just(Does::Digest),
        1 => Just(Does::Restart),
        1 => Just(Does::Kill),
        1 => Just(Does::Silence),
        1 => (0u8..6).prop_map(Does::Acknowledge),
        1 => Just(Does::Step),
        1 => Just(Does::Store),
    ]
}

/// What a channel heard of one group, in order, by the names of the notifications.
fn hearings(taken: &[Notice]) -> BTreeMap<(AlertId, String), Vec<&Notice>> {
    let mut heard: BTreeMap<_, Vec<&Notice>> = BTreeMap::new();
    for notice in taken {
        heard.entry((notice.id.group, notice.id.channel.to_string())).or_default().push(notice);
    }
    heard
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens, in whatever order, with a crash anywhere.
    #[test]
    fn who_was_told_hears_the_end_and_nobody_hears_anything_twice(steps in prop::collection::vec(does(), 1..60)) {
        let mut world = World::new(routes(|routes| routes.routes.push(RouteSource {
            when: "alert.tenant == 't1'".into(),
            channels: vec!["chat".into()],
            escalate_after_minutes: 15,
            escalate_to: vec!["pager".into()],
            ..RouteSource::default()
        })));
        world.answers = false;
        let mut stored = BTreeMap::new();
        let tenant = |number: u8| format!("t{number}");
        for step in steps {
            match step {
                Does::Raise(number) => {
                    let importance = Importance::ALL[usize::from(number) % 3];
                    world.step(&raise(cause(CauseKind::Rule, &tenant(number), &format!("p/r{}", number % 2)), importance));
                }
                Does::End(number) => {
                    world.step(&Alarm::End(cause(CauseKind::Rule, &tenant(number), &format!("p/r{}", number % 2))));
                }
                Does::Pass(millis) => world.pass(millis),
                Does::Answer(well) => {
                    world.answer((!well).then_some("no"));
                }
                Does::Digest => world.answer_as_one("chat"),
                Does::Restart => world.restart(),
                Does::Kill => {
                    world.taken.extend(world.open.iter().cloned());
                    world.restart();
                }
                Does::Silence => world.step(&silence(&world, "alert.name == 'p/r1'", 30)),
                Does::Acknowledge(number) => {
                    let id = AlertId::of("example.com/gemba/", "n-1", &cause(CauseKind::Rule, &tenant(number), &format!("p/r{}", number % 2)));
                    world.step(&acknowledge(id));
                }
                Does::Step => {
                    world.now += 600 * MINUTE;
                    world.step(&Alarm::Stepped { millis: 600 * MINUTE });
                }
                Does::Store => stored.clone_from(&world.rows),
            }
        }
        world.read_again_from(stored);
        // All is well again, and every channel takes what it is told.
        for number in 0..6 {
            world.step(&Alarm::End(cause(CauseKind::Rule, &tenant(number), &format!("p/r{}", number % 2))));
        }
        for _ in 0..20 {
            world.answer(None);
            world.pass(4 * MINUTE);
        }
        for ((group, channel), heard) in hearings(&world.taken) {
            if world.lost.contains(&(group, channel.as_str().into())) {
                continue;
            }
            let mut ids: Vec<_> = heard.iter().map(|notice| notice.id.clone()).collect();
            ids.sort();
            let all = ids.len();
            ids.dedup();
            // After a restart the newest is asked for again, under the same name: the channel can tell.
            let again = heard.iter().filter(|notice| notice.maybe_twice).count();
            prop_assert!(all - ids.len() <= again, "{channel} was told twice of {group}");
            let mut firsts: Vec<&NoticeId> = heard
                .iter()
                .filter(|notice| notice.reason == NoticeReason::First)
                .map(|notice| &notice.id)
                .collect();
            firsts.sort();
            firsts.dedup();
            firsts.dedup_by_key(|id| id.since);
            let begun = heard.iter().filter(|notice| notice.reason == NoticeReason::First);
            let begun: BTreeSet<_> = begun.map(|notice| &notice.id).collect();
            prop_assert_eq!(begun.len(), firsts.len(), "{} is called twice for {}", channel, group);
            let mut fires = false;
            for notice in &heard {
                match notice.tells {
                    NoticeKind::Firing => fires = true,
                    NoticeKind::Resolved => {
                        let may = world.may.contains(&(group, channel.as_str().into()));
                        prop_assert!(fires || may || notice.maybe_twice || !notice.closes.is_empty(), "{channel} hears an end of what it never heard of");
                        fires = false;
                    }
                    NoticeKind::Acknowledged => {}
                }
            }
            prop_assert!(!fires, "{channel} never hears the end of {group}: {heard:?}");
        }
        if world.lost.is_empty() {
            prop_assert!(world.open_digests().is_empty(), "a digest stands open: {:?}", world.open_digests());
        }
        prop_assert!(world.alerts.views(usize::MAX).all(|alert| alert.state == "resolved"));
        for notice in &world.sent {
            let is_said = !notice.alerts.is_empty() && !notice.summary.is_empty() && notice.firing + notice.resolved > 0;
            prop_assert!(is_said, "people are told of nothing: {notice:?}");
        }
    }
}

/// Does the property notice? Each bug is planted alone, in a process of its own, whose seeds must find it.
#[cfg(feature = "faults")]
#[test]
fn every_planted_bug_of_alerts_is_found() {
    let property = "inside::alert::tests::who_was_told_hears_the_end_and_nobody_hears_anything_twice";
    for bug in ["", "end-before-trigger", "page-twice", "silence-swallows-end"] {
        let mut run = std::process::Command::new(std::env::current_exe().unwrap());
        let dir = tempfile::tempdir().unwrap();
        run.current_dir(dir.path()).args([property, "--exact"]).env("GEMBA_PLANT", bug);
        let output = run.env("PROPTEST_CASES", "2000").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("running 1 test"), "{said}");
        assert_eq!(output.status.success(), bug.is_empty(), "{bug:?}: {said}");
    }
}
