//! The machine against what people must be able to rely on: whoever was told that something fires is told when it is over, nobody is
//! told twice of one thing, and a restart changes nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;

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
    /// Channels answer at once.
    answers: bool,
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
            answers: true,
        }
    }

    fn step(&mut self, alarm: &Alarm) {
        self.seq += 1;
        let alarm = Alarm::from_json(&alarm.to_json()).unwrap();
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
            });
        }
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
        self.open = self.alerts.pending();
        assert!(self.open.iter().all(|notice| notice.maybe_twice));
        if self.answers {
            self.answer(None);
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
fn there_are_only_so_many() {
    let mut world = World::new(routes(|_| {}));
    world.answers = false;
    for number in 0..=crate::limits::ALERTS_MAX {
        world.step(&raise(rule(&format!("t{number}")), Importance::Warning));
    }
    assert_eq!(
        (world.alerts.views(usize::MAX).count(), world.alerts.refused()),
        (crate::limits::ALERTS_MAX, 1)
    );
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
    assert_eq!((world.told().len(), world.alerts.find(world.id()).unwrap().ends_ms), (told, None));
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
    let mut world = World::new(routes(|routes| {
        routes.routes.push(RouteSource {
            when: "true".into(),
            channels: vec!["chat".into()],
            escalate_after_minutes: 1,
            escalate_to: vec!["pager".into()],
            ..RouteSource::default()
        });
    }));
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
    let mut world = World::new(routes(|routes| {
        routes.routes.push(RouteSource {
            when: "true".into(),
            channels: vec!["chat".into()],
            escalate_after_minutes: 15,
            escalate_to: vec!["pager".into()],
            ..RouteSource::default()
        });
    }));
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
    for id in &meant {
        let (by, reason) = ("pagerduty pager/ann".into(), "seen".into());
        world.step(&Alarm::Acknowledge { alert: *id, by, reason });
    }
    assert!(world.alerts.meant_by(&acknowledge(named, &["pager"])).is_empty(), "a repeat changes nothing");
    let resolve = |pressed| callback(named, &["pager"], CallbackVerb::Resolve, pressed);
    assert_eq!(world.alerts.meant_by(&resolve(now)).len(), 2, "acknowledged ones can be resolved");
    assert_eq!(world.alerts.meant_by(&resolve(world.now)).len(), 3);
    for id in world.alerts.meant_by(&resolve(world.now)) {
        world.step(&Alarm::Resolve { alert: id, by: "x".into(), reason: "y".into() });
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
            Alarm::Resolve { alert: AlertId([7; 16]), by: by(), reason: reason() },
            format!(r#"{{"resolve":{{"alert":"{id}","by":"ann","reason":"why"}}}}"#),
        ),
        (
            Alarm::Silence(Box::new(SilenceOrder { when: "true".into(), until: UnixMillis(4), by: by(), reason: reason() })),
            r#"{"silence":{"when":"true","until":4,"by":"ann","reason":"why"}}"#.into(),
        ),
        (
            Alarm::EndSilence { silence: Seq(6), by: by(), reason: reason() },
            r#"{"end_silence":{"silence":6,"by":"ann","reason":"why"}}"#.into(),
        ),
        (
            Alarm::Notified { notice: notice.clone(), failed: None, reference: Some("r".into()), tries: 1, replaced: false, maybe: false },
            format!(r#"{{"notified":{{"notice":{{"group":"{id}","since":5,"step":2,"channel":"chat"}},"reference":"r","tries":1}}}}"#),
        ),
        (
            Alarm::Notified { notice, failed: Some("no".into()), reference: None, tries: 2, replaced: true, maybe: true },
            format!(r#"{{"notified":{{"notice":{{"group":"{id}","since":5,"step":2,"channel":"chat"}},"failed":"no","tries":2,"replaced":true,"maybe":true}}}}"#),
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
    Restart,
    /// Channels take what they are asked for, and nobody hears of that before the crash.
    Kill,
    Silence,
    Acknowledge(u8),
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        4 => (0u8..6).prop_map(Does::Raise),
        3 => (0u8..6).prop_map(Does::End),
        4 => prop_oneof![Just(SECOND), Just(5 * SECOND), Just(MINUTE), Just(20 * MINUTE), Just(300 * MINUTE)].prop_map(Does::Pass),
        3 => prop::bool::weighted(0.8).prop_map(Does::Answer),
        1 => Just(Does::Restart),
        1 => Just(Does::Kill),
        1 => Just(Does::Silence),
        1 => (0u8..6).prop_map(Does::Acknowledge),
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
            }
        }
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
            let begun: std::collections::BTreeSet<_> = begun.map(|notice| &notice.id).collect();
            prop_assert_eq!(begun.len(), firsts.len(), "{} is called twice for {}", channel, group);
            let mut fires = false;
            for notice in &heard {
                match notice.tells {
                    NoticeKind::Firing => fires = true,
                    NoticeKind::Resolved => {
                        let may = world.may.contains(&(group, channel.as_str().into()));
                        prop_assert!(fires || may || notice.maybe_twice, "{channel} hears an end of what it never heard of");
                        fires = false;
                    }
                    NoticeKind::Acknowledged => {}
                }
            }
            prop_assert!(!fires, "{channel} never hears the end of {group}: {heard:?}");
        }
        prop_assert!(world.alerts.views(usize::MAX).all(|alert| alert.state == "resolved"));
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
