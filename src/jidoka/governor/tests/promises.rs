//! Single promises, by example.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::reason;
use super::*;
use crate::alert::Alarm;
use crate::event::Kind;
use crate::halt::{Halt, HaltOrder, HaltScope};
use crate::jidoka::breaker::Breaker;
use crate::jidoka::dead_letter::CaseChange;
use crate::jidoka::governor::ActionRequest;
use crate::jidoka::halts::Halts;
use crate::limits::{DELIVERIES_MAX, GOVERNOR_ALARMS_MAX, RESOLVING_RULES_MAX};
use crate::receipt::{About, ReceiptType, StateName};

fn kinds(drafts: &[Draft]) -> Vec<(u64, u8, ReceiptType)> {
    drafts.iter().map(|draft| (draft.gist.id.seq.0, draft.gist.id.ordinal, draft.gist.kind)).collect()
}

#[test]
fn an_observed_signal_moves_into_its_draft() {
    let mut line = Line::new(rules());
    let event = line.event(&SEE);
    let Kind::Signal(signal) = &event.kind else { panic!() };
    let at = signal.body().as_ptr();
    line.governor.step(event, &line.rules, &mut line.effects);
    let About::Signal(signal) = &line.effects.drafts[0].about else { panic!() };
    assert_eq!(signal.body().as_ptr(), at);
    assert!(line.effects.requests.is_empty() && line.effects.timers.is_empty());
}

#[test]
fn an_action_goes_out_with_its_number_its_deadline_and_its_window() {
    let mut line = Line::new(rules());
    let drafts = line.feed(&ACT);
    assert_eq!(drafts[0].gist.action, Some(action(1)));
    assert_eq!(line.effects.requests[0].intent.action, action(1));
    assert_eq!(line.effects.requests[0].intent.signal.id(), "id-1");
    let armed: Vec<_> = line.effects.timers.iter().map(|arm| (arm.kind, arm.armed, arm.due)).collect();
    let due = |seconds: u64| UnixMillis(line.time.0 + seconds * 1000);
    let expected = [(TimerKind::QuotaWindow, Seq(1), due(60)), (TimerKind::ActionDeadline, Seq(1), due(90))];
    assert_eq!(armed, expected);
    let running: Vec<_> = line.governor.timers().collect();
    assert_eq!(running, line.effects.timers);
    line.feed(&OK);
    line.feed(&ACT);
    assert_eq!(line.effects.timers.len(), 1, "the window is open already");
}

#[test]
fn what_waited_is_decided_in_order_until_one_acts() {
    let mut line = Line::new(Rules { mailbox: 9, ..rules() }).all(&[ACT, SEE, ACT, SEE]);
    let drafts = line.feed(&OK);
    assert_eq!(
        kinds(&drafts),
        [
            (5, 0, ReceiptType::ActionSuccessful),
            (2, 0, ReceiptType::Observed),
            (3, 0, ReceiptType::ActionGenerated)
        ]
    );
    assert_eq!(drafts[0].gist.signal_seq, Some(Seq(1)));
    assert_eq!(line.effects.requests[0].intent.action, action(3));
    assert_eq!(line.effects.timers[0].armed, Seq(5), "armed by the event, not by the signal");
    assert_eq!(line.governor.oldest_waiting(), Some(Seq(4)));
    assert_eq!(
        kinds(&line.feed(&OK)),
        [(6, 0, ReceiptType::ActionSuccessful), (4, 0, ReceiptType::QuotaExceeded)],
        "both actions of the window are spent"
    );
    assert_eq!(line.governor.state(), StateName::QuotaExhausted);
}

#[test]
fn a_full_mailbox_makes_dead_letters() {
    let mut line = Line::new(rules()).all(&[ACT, SEE, SEE]);
    let drafts = line.feed(&SEE);
    assert_eq!(kinds(&drafts), [(4, 0, ReceiptType::DeadletterSignal)]);
    assert_eq!(drafts[0].reason.as_deref(), Some(&*format!("sender: {}", reason::MAILBOX_FULL)));
    let body = signal(&subject(), "id-2", "see.this", Severity::Info).body().len();
    let mut line = Line::new(Rules { mailbox: 9, mailbox_bytes: body * 2, ..rules() }).all(&[ACT, SEE, SEE]);
    assert_eq!(kinds(&line.feed(&SEE)), [(4, 0, ReceiptType::DeadletterSignal)], "bytes count too");
    line.feed(&OK);
    line.feed(&ACT);
    assert!(line.feed(&SEE).is_empty(), "what was decided makes room");
}

#[test]
fn a_waiting_signal_keeps_nothing_alive_but_itself() {
    let mut line = Line::new(rules()).all(&[ACT]);
    let request = Bytes::from(vec![b' '; 100_000]);
    let mut event = line.event(&SEE);
    if let Kind::Signal(signal) = &mut event.kind {
        let [id, tenant, sku] = ["id-2", "acme", "vm"].map(|text| Text::Owned(text.into()));
        let body = request.slice(10..20);
        *signal = Unchecked { body, id, tenant, sku, ..signal.clone().into() }.check().unwrap();
    }
    line.governor.step(event, &line.rules, &mut line.effects);
    line.effects.clear();
    assert_eq!(line.governor.waiting(), 1);
    assert!(request.is_unique(), "the request's buffer can be freed");
}

#[test]
fn the_breaker_opens_tests_and_closes() {
    let mut line = Line::new(Rules { quota: 99, ..rules() }).all(&[ACT, ERROR, ACT]);
    let drafts = line.feed(&ERROR);
    assert_eq!(kinds(&drafts), [(4, 0, ReceiptType::ActionFailed), (4, 1, ReceiptType::JidokaHalt)]);
    assert_eq!((drafts[0].gist.after, drafts[1].gist.before), (StateName::Stable, StateName::Stable));
    assert_eq!(line.governor.breaker(), Breaker::Open);
    assert_eq!(line.governor.halted_since(), Some(line.time));
    line.feed(&Op::Fire(TimerKind::BreakerReset));
    assert_eq!((line.governor.breaker(), line.governor.state()), (Breaker::HalfOpen, StateName::Stable));
    line.feed(&ACT);
    assert!(line.feed(&ACT).is_empty(), "one probe only");
    assert_eq!(
        kinds(&line.feed(&ERROR)),
        [
            (8, 0, ReceiptType::ActionFailed),
            (8, 1, ReceiptType::JidokaHalt),
            (7, 0, ReceiptType::DeadletterSignal)
        ]
    );
    line.feed(&Op::Fire(TimerKind::BreakerReset));
    line.feed(&ACT);
    line.feed(&OK);
    assert_eq!(line.governor.breaker(), Breaker::HEALTHY);
}

#[test]
fn only_resume_ends_a_manual_halt() {
    let mut line = Line::new(rules()).all(&[ACT, ERROR, ACT, ERROR]);
    let reset = line.governor.timers().find(|arm| arm.kind == TimerKind::BreakerReset).unwrap();
    line.feed(&Op::Order(Verb::Halt));
    let mut event = line.event(&Op::Stale(TimerKind::BreakerReset));
    event.kind = Kind::Timer(Box::new(reset.into_timer()));
    line.governor.step(event, &line.rules, &mut line.effects);
    assert_eq!(line.governor.state(), StateName::Halted);
    line.feed(&Op::Order(Verb::Resume));
    assert_eq!((line.governor.breaker(), line.governor.state()), (Breaker::HEALTHY, StateName::Stable));
}

#[test]
fn a_halt_is_told_with_the_time_of_who_ordered_it() {
    let mut line = Line::new(rules()).all(&[ACT, Op::Order(Verb::Halt)]);
    let first = line.governor.halted_since();
    line.feed(&Op::Order(Verb::Halt));
    assert_eq!(line.governor.halted_since(), Some(line.time));
    assert!(first < line.governor.halted_since());
}

#[test]
fn resume_goes_back_to_the_action_that_was_out() {
    let mut line = Line::new(rules()).all(&[ACT, Op::Order(Verb::Halt), Op::Order(Verb::Resume)]);
    assert_eq!(line.governor.in_flight().map(|intent| intent.action), Some(action(1)));
    let drafts = line.feed(&OK);
    assert_eq!((drafts[0].gist.before, drafts[0].gist.after), (StateName::ActionPending, StateName::Stable));
}

#[test]
fn a_late_outcome_is_on_record_and_changes_nothing() {
    let mut line = Line::new(rules()).all(&[ACT]);
    let drafts = line.feed(&Op::Fire(TimerKind::ActionDeadline));
    assert_eq!(drafts[0].reason.as_deref(), Some(reason::NO_OUTCOME));
    let knew = line.governor.state_hash(&mut Vec::new());
    let mut event = line.event(&Op::Stray(Ok(())));
    if let Kind::Outcome(outcome) = &mut event.kind {
        outcome.action = action(1);
        outcome.maybe_twice = true;
    }
    line.effects.clear();
    line.governor.step(event, &line.rules, &mut line.effects);
    let draft = &line.effects.drafts[0];
    assert_eq!(
        (draft.gist.kind, draft.gist.before, draft.gist.after),
        (ReceiptType::ActionSuccessful, StateName::Stable, StateName::Stable)
    );
    assert_eq!((draft.gist.action, draft.gist.signal_seq), (Some(action(1)), Some(Seq(1))));
    assert_eq!(draft.reason.as_deref(), Some("late: the action is not in flight; may have run twice"));
    line.governor.known_mut().last_seq = Seq(2);
    assert_eq!(line.governor.state_hash(&mut Vec::new()), knew);
}

#[test]
fn an_entitlement_lost_during_an_action_counts_after_it() {
    let mut line = Line::new(rules()).all(&[ACT, REVOKED, SEE]);
    assert_eq!(
        kinds(&line.feed(&OK)),
        [(4, 0, ReceiptType::ActionSuccessful), (3, 0, ReceiptType::DeferredDropped)]
    );
    assert_eq!(line.governor.state(), StateName::Degraded);
}

#[test]
fn boot_waits_as_long_as_the_rules_say() {
    let line = Line::booting();
    let boot = &line.effects.timers[0];
    assert_eq!((boot.kind, boot.armed, boot.due), (TimerKind::Boot, Seq(1), UnixMillis(START + 30_000)));
    let line = Line::new(Rules { boot_timeout: seconds(5), ..line.rules });
    assert_eq!(line.effects.timers[0].due, UnixMillis(START + 5_000));
}

#[test]
fn an_idle_governor_has_no_timer_and_no_heap_but_its_key() {
    let line = Line::new(rules()).all(&[SEE, SEE]);
    assert_eq!(line.governor.timers().count(), 0);
    assert!(size_of::<Governor>() + line.governor.key().len() + 16 <= 400);
}

#[test]
fn a_quota_of_zero_is_exhausted_by_the_first_signal_and_heals_by_its_window() {
    let mut line = Line::new(Rules { quota: 0, ..rules() });
    assert_eq!(kinds(&line.feed(&SEE)), [(1, 0, ReceiptType::QuotaExceeded)]);
    assert_eq!(line.governor.state(), StateName::QuotaExhausted);
    assert_eq!(kinds(&line.feed(&Op::Fire(TimerKind::QuotaWindow))), [(2, 0, ReceiptType::QuotaRestored)]);
}

#[test]
fn an_operators_word_stands_on_the_receipt() {
    let mut line = Line::new(rules());
    let drafts = line.feed(&Op::Order(Verb::Quota(1)));
    assert_eq!(drafts[0].reason.as_deref(), Some("quota 1 by root: a drill"));
    assert_eq!(line.effects.timers[0].kind, TimerKind::QuotaWindow, "the number holds for one window");
    assert_eq!(line.governor.quota_remaining(&line.rules), 1);
    line.feed(&Op::Fire(TimerKind::QuotaWindow));
    assert_eq!(line.governor.quota_remaining(&line.rules), 2);
}

/// The action of a case goes out as it was, whatever the rules would say now; where it cannot, the case keeps it.
#[test]
fn an_action_that_failed_is_sent_again_under_its_own_id() {
    let mut line = Line::new(Rules { quota: 2, ..rules() }).all(&[ACT]);
    let sent = line.effects.requests.first().cloned().unwrap();
    assert!(!sent.maybe_twice);
    let sent = sent.intent;
    line.feed(&ERROR);
    let opened = |line: &Line| {
        let opened = line.effects.cases.iter().find_map(|change| match change {
            CaseChange::Open { case, undone, again, .. } => Some((*case, undone.clone(), *again)),
            CaseChange::Close { .. } => None,
        });
        opened.unwrap()
    };
    let (case, undone, _) = opened(&line);
    let resend = Box::new(undone.unwrap().resend().unwrap());
    assert_eq!((resend.action, &*resend.name), (sent.action, &*sent.name));
    assert_eq!((&*resend.pack, &*resend.because), (&*sent.policy.pack, &*sent.reason));
    let replay = |line: &mut Line| {
        // Decided anew, it would be observed.
        let signal = signal(&subject(), "id-1", "see.this", Severity::Info);
        let (actor, reason, resend) = ("root".into(), "it is back".into(), Some(resend.clone()));
        let mut event = line.event(&SEE);
        event.kind = Kind::Replay(Box::new(Replay { case: case.0, signal, actor, reason, resend }));
        let by = event.seq;
        line.effects.clear();
        line.governor.step(event, &line.rules, &mut line.effects);
        by
    };
    let quota = line.governor.quota_remaining(&line.rules);
    let by = replay(&mut line);
    assert_eq!(line.governor.state(), StateName::ActionPending);
    assert_eq!(line.governor.quota_remaining(&line.rules), quota, "it was paid for");
    let ActionRequest { intent, maybe_twice, .. } = line.effects.requests[0].clone();
    assert!(maybe_twice, "the call that failed may have been carried out");
    assert_eq!((intent.action, intent.by, intent.accepted), (sent.action, by, case.0));
    let draft = line.effects.drafts.last().unwrap();
    assert_eq!((draft.gist.kind, draft.gist.action), (ReceiptType::ActionGenerated, Some(sent.action)));
    assert_eq!(draft.policy.as_ref().unwrap().rule, sent.policy.rule);

    // While it is out, a second order changes nothing.
    replay(&mut line);
    assert!(line.effects.cases.iter().all(|change| matches!(change, CaseChange::Close { .. })));
    assert_eq!(line.effects.drafts.last().unwrap().gist.kind, ReceiptType::DeferredDropped);
    assert!(line.effects.requests.is_empty());

    // It fails once more: the case is open again, with the same action.
    line.feed(&ERROR);
    assert_eq!(opened(&line).1.unwrap().resend().as_ref(), Some(&*resend));

    // An order on which deciding panics takes it along.
    let signal = signal(&subject(), "id-1", "see.this", Severity::Info);
    let mut event = line.event(&SEE);
    let (actor, reason, parked) = ("root".into(), "it is back".into(), Some(resend.clone()));
    event.kind = Kind::Replay(Box::new(Replay { case: case.0, signal, actor, reason, resend: parked }));
    line.effects.clear();
    line.governor.park(event, &line.rules, &mut line.effects);
    assert_eq!(opened(&line).1.unwrap().resend().as_ref(), Some(&*resend));

    // Where the governor does nothing, the case keeps it too.
    line.feed(&Op::Order(Verb::Halt));
    replay(&mut line);
    let (again_of, undone, again) = opened(&line);
    assert_eq!((again_of, undone.unwrap().resend().as_ref(), again), (case, Some(&*resend), true));
    assert_eq!(line.effects.drafts.last().unwrap().gist.kind, ReceiptType::DeadletterSignal);
    assert!(line.effects.requests.is_empty());
}

/// What a step says, but for the numbers of events, which name nothing in a governor at its beginning.
fn told(line: &mut Line, op: &Op) -> String {
    let drafts = format!("{:?}", line.feed(op));
    format!("{drafts} {:?} {:?}", line.effects.requests, line.effects.timers)
}

proptest! {
    #[test]
    fn a_governor_that_was_forgotten_is_a_new_one(
        before in prop::collection::vec(super::model::op(), 0..20),
        days in 0u32..60,
        after in prop::collection::vec(super::model::op(), 1..30),
    ) {
        let mut line = Line::new(rules()).all(&before);
        line.time = line.time.plus_seconds(days * 86_400);
        line.feed(&Op::Fire(TimerKind::QuotaWindow));
        let as_new = line.governor.is_as_new(line.time.plus_seconds(1), &line.rules);
        let knew = line.governor.state_hash(&mut Vec::new());
        line.feed(&Op::Fire(TimerKind::Idle));
        prop_assert_eq!(line.governor.is_forgotten(), as_new);
        if !as_new {
            // Only the number of the last event is another.
            line.governor.known_mut().last_seq = Seq(line.governor.last_seq().0 - 1);
            prop_assert_eq!(line.governor.state_hash(&mut Vec::new()), knew);
            return Ok(());
        }
        let mut new = Line::new(rules());
        (new.seq, new.count, new.time) = (line.seq, line.count, line.time);
        for op in &after {
            prop_assert_eq!(told(&mut line, op), told(&mut new, op), "{:?}", op);
        }
        prop_assert_eq!(format!("{:?}", line.governor), format!("{:?}", new.governor));
    }
}

#[test]
fn who_got_something_since_is_not_forgotten() {
    let mut line = Line::new(rules()).all(&[SEE]);
    let seen = line.governor.last_seq();
    line.feed(&SEE);
    line.feed(&Op::Fire(TimerKind::Idle));
    assert!(!line.governor.is_forgotten(), "its memory counts the signals");
    line.time = line.time.plus_seconds(3600);
    let event = line.event(&Op::Fire(TimerKind::Idle));
    let Kind::Timer(timer) = event.kind else { panic!() };
    let late = Kind::Timer(Box::new(Timer { armed: seen, ..*timer }));
    line.governor.step(Event { kind: late, ..event }, &line.rules, &mut line.effects);
    assert!(!line.governor.is_forgotten());
    line.feed(&Op::Fire(TimerKind::Idle));
    assert!(line.governor.is_forgotten());
    line.feed(&Op::Fire(TimerKind::Idle));
    assert!(line.governor.is_forgotten(), "told twice");
    line.feed(&SEE);
    assert!(!line.governor.is_forgotten());
}

/// Where a halt of the tenant or of the line holds, what comes and what waited is a dead letter, whatever the state; outcomes,
/// timers and entitlements count as ever.
#[test]
fn a_wide_halt_stops_signals_and_nothing_else() {
    let halted = |scope: HaltScope| {
        let by = HaltOrder { actor: "eve".into(), reason: "a drill".into() };
        let halt = Halt { scope, by, since: UnixMillis(START) };
        Rules { halts: Halts::new(&[halt]), ..rules() }
    };
    for scope in [HaltScope::Line, HaltScope::Tenant("acme".into())] {
        let mut line = Line::new(rules()).all(&[ACT, SEE]);
        line.rules = halted(scope);
        let drafts = line.feed(&OK);
        assert_eq!(
            kinds(&drafts),
            [(3, 0, ReceiptType::ActionSuccessful), (2, 0, ReceiptType::DeadletterSignal)],
            "what is out may end, what waited is not decided on"
        );
        let drafts = line.feed(&Op::Signal("act.now", Severity::Critical));
        assert_eq!(kinds(&drafts), [(4, 0, ReceiptType::DeadletterSignal)]);
        assert!(drafts[0].reason.as_deref().unwrap().ends_with("is halted by eve: a drill"));
        assert_eq!(line.governor.state(), StateName::Stable);
        line.rules = rules();
        assert_eq!(kinds(&line.feed(&ACT)), [(5, 0, ReceiptType::ActionGenerated)]);
    }
    let mut line = Line::new(halted(HaltScope::Tenant("other".into())));
    assert_eq!(kinds(&line.feed(&ACT)), [(1, 0, ReceiptType::ActionGenerated)]);
}

#[test]
fn a_halted_target_leaves_the_action_to_be_sent_later() {
    let by = HaltOrder { actor: "eve".into(), reason: "a drill".into() };
    let halt =
        |name: &str| Halt { scope: HaltScope::Target(name.into()), by: by.clone(), since: UnixMillis(START) };
    let mut line = Line::new(Rules { halts: Halts::new(&[halt("notify")]), ..rules() });
    assert_eq!(kinds(&line.feed(&SEE)), [(1, 0, ReceiptType::Observed)], "what asks for no action goes on");
    assert_eq!(kinds(&line.feed(&ACT)), [(2, 0, ReceiptType::DeadletterSignal)]);
    assert!(line.effects.requests.is_empty());
    let Some(CaseChange::Open { undone: Some(undone), .. }) = line.effects.cases.last() else { panic!() };
    assert_eq!((&*undone.id, &*undone.name), (&*action(2).to_string(), "notify"));
    let resend = undone.resend().unwrap();
    assert!(resend.never_ordered);
    line.rules = Rules { halts: Halts::new(&[halt("another")]), ..rules() };
    let Kind::Replay(mut replay) = line.event(&Op::Replay("act.now")).kind else { panic!() };
    replay.resend = Some(Box::new(resend));
    line.effects.clear();
    let event = Event { seq: line.seq, time: line.time, kind: Kind::Replay(replay) };
    line.governor.step(event, &line.rules, &mut line.effects);
    let ActionRequest { intent, maybe_twice, .. } = line.effects.requests[0].clone();
    assert_eq!((intent.action, maybe_twice), (action(2), false), "no call was made before");
}

fn in_background() -> Rules {
    let background = [("notify".into(), seconds(3600))].into();
    Rules { background, quota: 1000, ..rules() }
}

#[test]
fn a_governor_goes_on_while_its_actions_are_out_in_the_background() {
    let mut line = Line::new(in_background());
    let drafts = line.feed(&ACT);
    assert_eq!(kinds(&drafts), [(1, 0, ReceiptType::ActionGenerated)]);
    assert_eq!((drafts[0].gist.before, drafts[0].gist.after), (StateName::Stable, StateName::Stable));
    let due = UnixMillis(line.time.0 + 3_600_000);
    assert_eq!(line.effects.requests[0].give_up, Some(due));
    assert_eq!(kinds(&line.feed(&SEE)), [(2, 0, ReceiptType::Observed)], "it waits for nothing");
    line.feed(&ACT);
    assert_eq!(line.governor.deliveries(), 2);
    // What the store gives back has both, and orders both again.
    let mut row = Vec::new();
    line.governor.encode(&mut row);
    line.governor = Governor::decode(&row).unwrap();
    let out: Vec<_> = line.governor.out().map(|(intent, give_up)| (intent.action, give_up)).collect();
    assert_eq!(out, [(action(1), Some(due)), (action(3), Some(UnixMillis(due.0 + 2000)))]);
    assert!(!line.governor.is_as_new(line.time, &line.rules));

    let done = line.feed(&OK);
    assert_eq!(kinds(&done), [(4, 0, ReceiptType::ActionSuccessful)]);
    assert_eq!((done[0].gist.action, done[0].gist.signal_seq), (Some(action(1)), Some(Seq(1))));
    let missed = line.feed(&ERROR);
    assert_eq!(kinds(&missed), [(5, 0, ReceiptType::ActionFailed)]);
    assert!(matches!(line.effects.cases[..], [CaseChange::Open { undone: Some(_), .. }]));
    assert_eq!((line.governor.deliveries(), line.governor.breaker()), (0, Breaker::HEALTHY));
    let late = line.feed(&Op::Stray(Ok(())));
    assert!(late[0].reason.as_deref().unwrap().starts_with("late"));
}

/// The timer is that of the first to end, whichever ends before, and gives up on those alone whose time is over.
#[test]
fn what_nobody_took_in_the_background_is_given_up() {
    let mut line = Line::new(in_background());
    line.feed(&ACT);
    line.time = UnixMillis(line.time.0 + 1_800_000);
    line.feed(&ACT);
    let timer = |line: &Line| line.governor.timers().find(|arm| arm.kind == TimerKind::Delivery);
    let first = timer(&line).unwrap();
    assert_eq!((first.armed, first.due.0), (Seq(1), START + 1000 + 3_600_000 + 120_000));
    assert!(line.feed(&Op::Fire(TimerKind::Delivery)).is_empty(), "none is over");
    line.time = first.due;
    let drafts = line.feed(&Op::Fire(TimerKind::Delivery));
    assert_eq!(kinds(&drafts), [(4, 0, ReceiptType::ActionFailed)]);
    assert_eq!(
        (drafts[0].gist.action, drafts[0].reason.as_deref()),
        (Some(action(1)), Some(reason::NO_OUTCOME))
    );
    assert_eq!(line.effects.timers, [timer(&line).unwrap()]);
    assert_eq!(timer(&line).unwrap().armed, Seq(2));
    line.feed(&OK);
    assert_eq!(timer(&line), None);
}

#[test]
fn for_one_more_than_have_room_in_the_background_the_governor_waits() {
    let mut line = Line::new(in_background());
    for _ in 0..DELIVERIES_MAX {
        line.feed(&ACT);
        assert_eq!(line.governor.state(), StateName::Stable);
    }
    line.feed(&ACT);
    assert_eq!(
        (line.governor.state(), line.governor.deliveries()),
        (StateName::ActionPending, DELIVERIES_MAX)
    );
    assert_eq!(line.effects.requests[0].give_up, None);
    assert_eq!(line.governor.out().count(), DELIVERIES_MAX + 1);
    let mut row = Vec::new();
    line.governor.encode(&mut row);
    assert!(Governor::decode(&row).is_ok());
    assert_eq!(kinds(&line.feed(&SEE)), [], "it waits");
    let drafts = line.feed(&OK);
    assert_eq!(drafts[0].gist.action, Some(action(DELIVERIES_MAX as u64 + 1)));
    assert_eq!(line.governor.state(), StateName::Stable);
}

#[test]
fn a_halt_stops_no_action_that_is_out_in_the_background() {
    let mut line = Line::new(in_background()).all(&[ACT, Op::Order(Verb::Halt)]);
    assert_eq!(kinds(&line.feed(&OK)), [(3, 0, ReceiptType::ActionSuccessful)]);
    assert_eq!(line.governor.state(), StateName::Halted);
}

/// The governor gave up on an order, its action was sent again, and then the first order's outcome comes: it ends nothing.
#[test]
fn an_outcome_ends_the_order_that_it_is_of_and_no_later_one_of_the_same_action() {
    for in_the_background in [true, false] {
        let mut line = Line::new(if in_the_background { in_background() } else { rules() });
        line.feed(&ACT);
        let timer = if in_the_background { TimerKind::Delivery } else { TimerKind::ActionDeadline };
        line.time = UnixMillis(line.time.0 + 3_600_000 + 120_000);
        assert_eq!(kinds(&line.feed(&Op::Fire(timer))), [(2, 0, ReceiptType::ActionFailed)]);
        let Some(CaseChange::Open { undone: Some(undone), .. }) = line.effects.cases.last() else { panic!() };
        let resend = undone.resend().unwrap();
        let Kind::Replay(mut replay) = line.event(&Op::Replay("act.now")).kind else { panic!() };
        replay.resend = Some(Box::new(resend));
        line.effects.clear();
        let event = Event { seq: line.seq, time: line.time, kind: Kind::Replay(replay) };
        line.governor.step(event, &line.rules, &mut line.effects);
        assert_eq!(line.effects.requests[0].intent.action, action(1), "it keeps its id");
        assert_eq!(line.effects.requests[0].intent.by, Seq(3));

        let outcome = |line: &mut Line, by, result| {
            let Event { seq, time, .. } = line.event(&OK);
            let (subject, action) = (subject(), action(1));
            let outcome = Outcome { subject, action, by, result, maybe_twice: false, tries: None };
            let event = Event { seq, time, kind: Kind::Outcome(Box::new(outcome)) };
            line.effects.clear();
            line.governor.step(event, &line.rules, &mut line.effects);
            (line.effects.drafts[0].gist.kind, line.effects.drafts[0].reason.clone())
        };
        let failed = || Err(Failure::asked("its time was over"));
        let (kind, reason) = outcome(&mut line, Some(Seq(1)), failed());
        assert_eq!(kind, ReceiptType::ActionFailed);
        assert!(reason.unwrap().starts_with("late"));
        assert_eq!(line.governor.out().count(), 1, "the later order is out");
        assert!(line.effects.cases.is_empty());
        let (kind, reason) = outcome(&mut line, Some(Seq(3)), Ok(()));
        assert_eq!((kind, reason), (ReceiptType::ActionSuccessful, None));
        assert_eq!(line.governor.out().count(), 0);
        assert!(matches!(line.effects.cases[..], []));
    }
}

/// Whichever of them ends, the timer that runs afterwards is that of the first to end of the others.
#[test]
fn after_an_outcome_the_timer_is_that_of_the_first_that_is_out() {
    let mut line = Line::new(in_background());
    for _ in 0..3 {
        line.feed(&ACT);
    }
    let armed = |line: &Line| {
        let armed = line.effects.timers.iter().filter(|arm| arm.kind == TimerKind::Delivery);
        armed.map(|arm| (arm.armed, arm.due.0)).collect::<Vec<_>>()
    };
    let due = |seq: u64| START + seq * 1000 + 3_600_000 + 120_000;
    line.feed(&OK);
    assert_eq!(armed(&line), [(Seq(2), due(2))]);
    line.feed(&OK);
    assert_eq!(armed(&line), [(Seq(3), due(3))]);
    line.feed(&OK);
    assert_eq!(armed(&line), []);
}

/// A pack with these rules: the type of the signals on which each decides, and its keys. Each has an alert.
fn alerting(pack: &str, rules: &[(&str, &str)]) -> Rules {
    let rule = |(id, keys): &(&str, &str)| {
        format!(
            "[[rule]]\nid = '{id}'\ntypes = ['{id}']\nwhen = 'true'\ndecide = 'observe'\nreason = 'r'\n{keys}\n"
        )
    };
    let text = format!("name = '{pack}'\n{}", rules.iter().map(rule).collect::<String>());
    RulesSource::default().with_pack("alerting.toml", &text).compile().unwrap()
}

const RESOLVES: &str = "alert = 'warning'\nresolve = 'false'";
const ONCE: &str = "alert = 'warning'";

/// Steps what it told as the journal brings it; what is told by then.
fn journal_alarms(line: &mut Line) -> Vec<Alarm> {
    let alarms: Vec<Alarm> = std::mem::take(&mut line.effects.alarms);
    for alarm in &alarms {
        let event = Event { kind: Kind::Alarm(Arc::new(alarm.clone())), ..line.event(&SEE) };
        line.governor.step(event, &line.rules, &mut line.effects);
    }
    alarms
}

#[test]
fn the_alert_of_a_rule_that_is_gone_is_over() {
    let leak = Op::Signal("leak", Severity::Info);
    let table = [
        (alerting("tank", &[("leak", RESOLVES), ("flood", RESOLVES)]), false),
        (alerting("tank", &[("drip", RESOLVES)]), true),
        (alerting("barrel", &[("leak", RESOLVES)]), true),
        (alerting("tank", &[("leak", "")]), true),
        (alerting("tank", &[("leak", ONCE)]), true),
        (alerting("tank", &[("leak", "alert = 'warning'\nresolve_after_minutes = 5")]), true),
    ];
    for (at, (rules, is_over)) in table.into_iter().enumerate() {
        let mut line = Line::new(alerting("tank", &[("leak", RESOLVES)]));
        line.feed(&leak);
        assert_eq!(journal_alarms(&mut line).len(), 1);
        line.rules = rules;
        line.feed(&SEE);
        let told = journal_alarms(&mut line);
        let ended: Vec<&str> = told
            .iter()
            .map(|alarm| match alarm {
                Alarm::End(cause) => &*cause.name,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ended, ["tank/leak"].into_iter().filter(|_| is_over).collect::<Vec<_>>(), "{at}");
        assert_eq!(line.governor.has_open_alarms(), !is_over, "{at}");
        line.feed(&SEE);
        assert!(line.effects.alarms.is_empty(), "told once");
    }
    // What is closed by hand stays open.
    let mut line = Line::new(alerting("tank", &[("leak", ONCE)]));
    line.feed(&leak);
    journal_alarms(&mut line);
    line.rules = alerting("tank", &[("drip", ONCE)]);
    line.feed(&SEE);
    assert!(line.effects.alarms.is_empty());
}

#[test]
fn an_alert_without_a_place_leaves_a_receipt() {
    let ids: Vec<String> = (0..GOVERNOR_ALARMS_MAX).map(|number| format!("t-{number}")).collect();
    let keys = |at| if at < RESOLVING_RULES_MAX { RESOLVES } else { ONCE };
    let named: Vec<(&str, &str)> = ids.iter().enumerate().map(|(at, id)| (&**id, keys(at))).collect();
    let mut line = Line::new(alerting("tank", &named));
    let mut told = Vec::new();
    for id in &ids {
        let drafts = line.feed(&Op::Signal(id.clone().leak(), Severity::Info));
        told.push((line.effects.alarms.len(), line.effects.refused, drafts));
    }
    // The governor's own three have places of their own.
    let places = GOVERNOR_ALARMS_MAX - 3;
    for (at, (alarms, refused, drafts)) in told.iter().enumerate() {
        let seq = at as u64 + 1;
        let observed = (seq, 0, ReceiptType::Observed);
        if at < places {
            assert_eq!((*alarms, *refused, kinds(drafts)), (1, 0, vec![observed]));
            continue;
        }
        let failed = (seq, 1, ReceiptType::AlertFailed);
        assert_eq!((*alarms, *refused, kinds(drafts)), (0, 1, vec![failed, observed]));
        assert_eq!(drafts[0].reason.as_deref(), Some(reason::NO_PLACE));
        assert_eq!(drafts[0].gist.signal_seq, Some(Seq(seq)), "a step of its signal's story");
        let facts = format!(r#"{{"kind":"rule","name":"tank/t-{at}","severity":"warning"}}"#);
        assert_eq!(drafts[0].facts.as_deref(), Some(&*facts));
    }
}
