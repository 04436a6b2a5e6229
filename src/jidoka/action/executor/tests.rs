//! Deadlines, retries, queues and breakers, under a clock that jumps to whatever is due next.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::carry::Trying;
use super::super::payload::tests::{SIGNAL, order};
use super::*;
use crate::halt::{Halt, HaltOrder, HaltScope};
use crate::jidoka::rules::RulesSource;
use crate::limits::TARGET_WAITING_MAX;
use crate::net::retry::judge;

const BOUNDS: Bounds = Bounds { failures: 5, reset: Duration::from_mins(1) };
const SECOND: Duration = Duration::from_secs(1);

/// What a target does with a try.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answer(u16),
    AskFor(Duration),
    Hang,
    AnswerAfter(Duration),
}

/// A target that does what its script says, the last line for ever.
struct Scripted {
    script: Vec<Does>,
    /// When it was asked, and for what.
    asked: RefCell<Vec<(Instant, u64)>>,
    under_way: Cell<usize>,
    most: Cell<usize>,
}

impl Scripted {
    fn new(script: &[Does]) -> Rc<Self> {
        let script = script.to_vec();
        Rc::new(Self { script, asked: RefCell::default(), under_way: Cell::new(0), most: Cell::new(0) })
    }

    fn tries(&self) -> usize {
        self.asked.borrow().len()
    }
}

struct Counted<'a>(&'a Cell<usize>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Carry for Scripted {
    fn carry<'a>(&'a self, order: &'a ActionRequest, _: Option<TraceContext>, _: Instant) -> Trying<'a> {
        Box::pin(async move {
            let number = self.tries();
            self.asked.borrow_mut().push((Instant::now(), order.intent.action.seq.0));
            self.under_way.set(self.under_way.get() + 1);
            self.most.set(self.most.get().max(self.under_way.get()));
            let _counted = Counted(&self.under_way);
            let now = std::time::SystemTime::UNIX_EPOCH;
            match self.script[number.min(self.script.len() - 1)] {
                Does::Answer(status) => judge(status, None, now),
                Does::AskFor(time) => judge(429, Some(&time.as_secs().to_string()), now),
                Does::Hang => std::future::pending().await,
                Does::AnswerAfter(time) => {
                    tokio::time::sleep(time).await;
                    Ok(())
                }
            }
        })
    }
}

/// The longest pauses.
fn longest() -> u64 {
    u64::MAX
}

/// The journal's time when a test begins; the wall clock shows another.
const BEGUN: u64 = 1_000_000_000_000;

fn executor(targets: &[(&str, &Rc<Scripted>)]) -> Executor {
    let mut executor = Executor::new(longest);
    executor.follow(UnixMillis(BEGUN));
    equip(&mut executor, targets);
    executor
}

fn equip(executor: &mut Executor, targets: &[(&str, &Rc<Scripted>)]) {
    let equipped = |(name, target): &(&str, &Rc<Scripted>)| {
        let carry: Rc<dyn Carry> = Rc::<Scripted>::clone(target);
        Equipped { name: (*name).into(), carry, timeout: 10 * SECOND, calls_max: 16 }
    };
    executor.equip(BOUNDS, targets.iter().map(equipped).collect());
}

fn reason(outcome: &Outcome) -> (&str, bool) {
    let failure = outcome.result.as_ref().unwrap_err();
    (&failure.reason, failure.asked)
}

/// Runs on a clock that stands still while anything can be done.
fn paused(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    runtime.block_on(test);
}

#[test]
fn a_target_that_recovers_is_asked_again_with_doubling_pauses_and_the_same_action() {
    paused(async {
        let target =
            Scripted::new(&[Does::Answer(500), Does::Answer(503), Does::Answer(429), Does::Answer(204)]);
        let mut executor = executor(&[("page", &target)]);
        executor.submit(order("page", 7, SIGNAL));
        assert_eq!(executor.next().await.result, Ok(()));
        let asked = target.asked.borrow();
        let pauses: Vec<u128> = asked.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000]);
        assert!(asked.iter().all(|(_, action)| *action == 7));
        assert_eq!(executor.under_way(), 0);
    });
}

#[test]
fn an_answer_that_is_final_is_not_asked_for_again() {
    paused(async {
        let target = Scripted::new(&[Does::Answer(302), Does::Answer(404)]);
        let mut executor = executor(&[("page", &target)]);
        for why in
            ["target `page`: it answered 302: redirects are not followed", "target `page`: it answered 404"]
        {
            executor.submit(order("page", 7, SIGNAL));
            assert_eq!(reason(&executor.next().await), (why, true));
        }
        assert_eq!(target.tries(), 2);
    });
}

#[test]
fn a_hanging_target_costs_its_deadlines_and_no_more() {
    paused(async {
        let target = Scripted::new(&[Does::Hang]);
        let mut executor = executor(&[("page", &target)]);
        let begun = Instant::now();
        executor.submit(order("page", 7, SIGNAL));
        let outcome = executor.next().await;
        let why = "target `page`: no answer in its 60 s (tried 6 times)";
        assert_eq!(reason(&outcome), (why, true));
        // Five tries of 10 s, the pauses between them, and what was left.
        assert_eq!(begun.elapsed().as_secs(), 60);
        assert_eq!(target.tries(), 6);
    });
}

#[test]
fn a_late_answer_is_a_try_that_failed() {
    paused(async {
        let target = Scripted::new(&[Does::AnswerAfter(11 * SECOND), Does::AnswerAfter(9 * SECOND)]);
        let mut executor = executor(&[("page", &target)]);
        executor.submit(order("page", 7, SIGNAL));
        assert_eq!(executor.next().await.result, Ok(()));
        assert_eq!(target.tries(), 2);
    });
}

#[test]
fn a_target_that_asks_for_more_time_than_there_is_has_failed() {
    paused(async {
        let target = Scripted::new(&[Does::AskFor(30 * SECOND), Does::AskFor(30 * SECOND)]);
        let mut executor = executor(&[("page", &target)]);
        let begun = Instant::now();
        executor.submit(order("page", 7, SIGNAL));
        assert_eq!(reason(&executor.next().await).0, "target `page`: it answered 429 (tried 2 times)");
        assert_eq!(begun.elapsed(), 30 * SECOND);
    });
}

#[test]
fn a_hanging_target_does_not_delay_another() {
    paused(async {
        let (hangs, works) = (Scripted::new(&[Does::Hang]), Scripted::new(&[Does::Answer(200)]));
        let mut executor = executor(&[("hangs", &hangs), ("works", &works)]);
        for number in 0..1000 {
            executor.submit(order("hangs", number, SIGNAL));
        }
        let begun = Instant::now();
        for number in 1000..2000 {
            executor.submit(order("works", number, SIGNAL));
        }
        for _ in 0..1000 {
            assert_eq!(executor.next().await.result, Ok(()));
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(hangs.most.get(), 16);
        assert_eq!(executor.watches()[0].waiting(), 984);
    });
}

#[test]
fn who_waits_for_a_hanging_target_is_told_within_the_deadline() {
    paused(async {
        let target = Scripted::new(&[Does::Hang]);
        let mut executor = executor(&[("page", &target)]);
        let begun = Instant::now();
        for number in 0..100 {
            executor.submit(order("page", number, SIGNAL));
        }
        let mut asked = 0;
        for _ in 0..100 {
            let outcome = executor.next().await;
            let failure = outcome.result.unwrap_err();
            asked += usize::from(failure.asked);
            assert!(begun.elapsed() <= ACTION_TOTAL + SECOND, "{failure:?}");
        }
        assert_eq!(asked, 16);
        assert_eq!((executor.under_way(), executor.watches()[0].waiting()), (0, 0));
    });
}

/// A failure of the target in one try: it wants more time than there is.
const ASKS_FOR_MORE: Does = Does::AskFor(Duration::from_hours(1));

#[test]
fn what_a_target_refuses_halts_it_for_nobody() {
    paused(async {
        let mut script = vec![Does::Answer(400); 20];
        script.extend([ASKS_FOR_MORE; 5]);
        script.extend([Does::Answer(422), Does::Answer(204)]);
        let target = Scripted::new(&script);
        let mut executor = executor(&[("page", &target)]);
        for number in 0..20 {
            executor.submit(order("page", number, SIGNAL));
            assert_eq!(reason(&executor.next().await), ("target `page`: it answered 400", true));
            assert_eq!(executor.watches()[0].breaker(), 0);
        }
        for number in 20..25 {
            executor.submit(order("page", number, SIGNAL));
            assert!(reason(&executor.next().await).1);
        }
        assert_eq!(executor.watches()[0].breaker(), 2);
        // A probe that is refused has found the target there.
        tokio::time::sleep(66 * SECOND).await;
        executor.submit(order("page", 25, SIGNAL));
        assert_eq!(reason(&executor.next().await), ("target `page`: it answered 422", true));
        assert_eq!(executor.watches()[0].breaker(), 0);
    });
}

#[test]
fn five_failed_calls_halt_a_target_and_one_probe_decides() {
    paused(async {
        let target = Scripted::new(&[
            ASKS_FOR_MORE,
            ASKS_FOR_MORE,
            ASKS_FOR_MORE,
            ASKS_FOR_MORE,
            ASKS_FOR_MORE,
            Does::Answer(500),
            Does::AnswerAfter(SECOND),
        ]);
        let mut executor = executor(&[("page", &target)]);
        for number in 0..5 {
            assert_eq!(executor.watches()[0].breaker(), 0);
            executor.submit(order("page", number, SIGNAL));
            assert!(reason(&executor.next().await).1);
        }
        assert_eq!(executor.watches()[0].breaker(), 2);
        executor.submit(order("page", 5, SIGNAL));
        let why = "target `page` is halted after 5 failures in a row; the next probe is in 66 s";
        assert_eq!(reason(&executor.ended().unwrap()), (why, false));
        assert_eq!(target.tries(), 5);

        tokio::time::sleep(66 * SECOND).await;
        assert_eq!(executor.watches()[0].breaker(), 1);
        executor.submit(order("page", 6, SIGNAL));
        // A probe asks once, though a 500 would be asked for again.
        assert_eq!(reason(&executor.next().await), ("target `page`: it answered 500", true));
        assert_eq!((target.tries(), executor.watches()[0].breaker()), (6, 2));

        tokio::time::sleep(66 * SECOND).await;
        executor.submit(order("page", 7, SIGNAL));
        executor.submit(order("page", 8, SIGNAL));
        let why = "target `page` is halted after 5 failures in a row; a probe is under way";
        assert_eq!(reason(&executor.next().await), (why, false));
        assert_eq!(executor.next().await.result, Ok(()));
        assert_eq!((target.tries(), executor.watches()[0].breaker()), (7, 0));
    });
}

#[test]
fn what_waits_for_a_target_that_is_halted_is_turned_away() {
    paused(async {
        let target = Scripted::new(&[ASKS_FOR_MORE]);
        let mut executor = executor(&[("page", &target)]);
        for number in 0..30 {
            executor.submit(order("page", number, SIGNAL));
        }
        let mut asked = 0;
        for _ in 0..30 {
            asked += usize::from(reason(&executor.next().await).1);
        }
        assert_eq!(
            (asked, target.tries()),
            (20, 20),
            "the calls under way, and who took their turns until then"
        );
        assert_eq!(executor.under_way(), 0);
    });
}

#[test]
fn retries_stop_when_others_have_halted_the_target() {
    paused(async {
        let target = Scripted::new(&[
            Does::Answer(500),
            ASKS_FOR_MORE,
            ASKS_FOR_MORE,
            ASKS_FOR_MORE,
            ASKS_FOR_MORE,
            ASKS_FOR_MORE,
            Does::Answer(200),
        ]);
        let mut executor = executor(&[("page", &target)]);
        for number in 0..6 {
            executor.submit(order("page", number, SIGNAL));
        }
        let mut last = executor.next().await;
        for _ in 0..5 {
            last = executor.next().await;
        }
        assert_eq!(last.action.seq.0, 0);
        assert_eq!(reason(&last).0, "target `page`: it answered 500; it was halted meanwhile");
        assert_eq!(target.tries(), 6);
    });
}

#[test]
fn a_full_queue_turns_away_without_asking() {
    paused(async {
        let target = Scripted::new(&[Does::Hang]);
        let mut executor = executor(&[("page", &target)]);
        for number in 0..=16 + TARGET_WAITING_MAX as u64 {
            executor.submit(order("page", number, SIGNAL));
        }
        let outcome = executor.ended().unwrap();
        assert_eq!(reason(&outcome), ("target `page` has 8192 orders waiting for it already", false));
        assert_eq!(executor.ended(), None);
    });
}

/// A tenant orders more of a slow target than it can do: its neighbour's turn comes with the next call that ends, and an
/// order that has waited for its whole time is told so before its governor gives up.
#[test]
fn a_tenant_with_many_orders_delays_its_own_and_nobody_else_s() {
    paused(async {
        let target = Scripted::new(&[Does::AnswerAfter(8 * SECOND)]);
        let mut executor = executor(&[("page", &target)]);
        let neighbour = SIGNAL.replace("acme", "neighbour");
        for number in 0..2 * TARGET_WAITING_MAX as u64 {
            executor.submit(order("page", number, SIGNAL));
        }
        let begun = Instant::now();
        executor.submit(order("page", 100_000, &neighbour));
        let (mut done, mut own) = (0, 0);
        while executor.under_way() > 0 {
            let outcome = executor.next().await;
            let waited = begun.elapsed();
            assert!(waited <= ACTION_TOTAL + SECOND, "{outcome:?}");
            if &*outcome.subject.tenant == "neighbour" {
                assert_eq!(outcome.result, Ok(()));
                assert_eq!(waited, 16 * SECOND);
                own += 1;
            }
            done += usize::from(outcome.result.is_ok());
        }
        assert_eq!((done, own), (16 * 7, 1));
    });
}

#[test]
fn bodies_that_wait_are_bounded_too() {
    paused(async {
        let target = Scripted::new(&[Does::Hang]);
        let mut executor = executor(&[("page", &target)]);
        let large = SIGNAL.replace("1.50e1", &format!("\"{}\"", "1".repeat(200_000)));
        for number in 0..16 + 335 {
            executor.submit(order("page", number, &large));
        }
        assert_eq!(executor.ended(), None);
        executor.submit(order("page", 1000, &large));
        assert!(executor.ended().is_some_and(|outcome| !reason(&outcome).1));
        executor.submit(order("page", 1001, SIGNAL));
        assert_eq!(executor.ended(), None, "a small one fits still");
    });
}

#[test]
fn an_order_for_an_action_that_is_not_configured_any_more_is_told() {
    paused(async {
        let mut executor = executor(&[]);
        executor.submit(order("gone", 1, SIGNAL));
        assert_eq!(reason(&executor.next().await), ("no action `gone` is configured", false));
    });
}

#[test]
fn other_targets_take_new_orders_and_calls_under_way_end_as_they_began() {
    paused(async {
        let slow = Scripted::new(&[Does::AnswerAfter(5 * SECOND)]);
        let (moved, second) = (Scripted::new(&[Does::Answer(204)]), Scripted::new(&[Does::Answer(204)]));
        let mut executor = executor(&[("page", &slow), ("mail", &slow)]);
        executor.submit(order("page", 1, SIGNAL));
        executor.submit(order("mail", 2, SIGNAL));
        tokio::time::sleep(SECOND).await;
        equip(&mut executor, &[("page", &moved)]);
        assert_eq!(executor.watches().iter().filter(|watch| watch.is_shown()).count(), 1);
        executor.submit(order("page", 4, SIGNAL));
        assert_eq!(executor.next().await.action.seq.0, 4, "the new one answers first");
        for _ in [1, 2] {
            assert_eq!(executor.next().await.result, Ok(()));
        }
        assert_eq!((slow.tries(), moved.tries(), executor.under_way()), (2, 1, 0));
        // Its place is free for another one.
        equip(&mut executor, &[("page", &moved), ("chat", &second)]);
        assert_eq!(executor.targets.len(), 2);
        executor.submit(order("mail", 3, SIGNAL));
        assert_eq!(reason(&executor.next().await), ("no action `mail` is configured", false));
        executor.submit(order("chat", 5, SIGNAL));
        assert_eq!((executor.next().await.result, second.tries()), (Ok(()), 1));
    });
}

#[test]
fn a_breaker_stays_open_when_its_target_is_configured_anew() {
    paused(async {
        let target = Scripted::new(&[ASKS_FOR_MORE]);
        let mut executor = executor(&[("page", &target)]);
        for seq in 0..5 {
            executor.submit(order("page", seq, SIGNAL));
            assert!(executor.next().await.result.is_err());
        }
        let open = executor.watches()[0].breaker();
        equip(&mut executor, &[("page", &target)]);
        assert_eq!((executor.watches()[0].breaker(), open), (open, 2));
    });
}

const HOUR: Duration = Duration::from_hours(1);

/// An hour after the test began, its time is over.
fn in_background(number: u64) -> ActionRequest {
    ActionRequest { give_up: Some(UnixMillis(BEGUN + 3_600_000)), ..order("page", number, SIGNAL) }
}

fn of_tenant(number: u64, tenant: &str) -> ActionRequest {
    let signal = SIGNAL.replace("acme", tenant);
    ActionRequest { give_up: Some(UnixMillis(BEGUN + 3_600_000)), ..order("page", number, &signal) }
}

/// As a start orders it.
fn again(order: ActionRequest) -> ActionRequest {
    ActionRequest { maybe_twice: true, is_again: true, ..order }
}

/// The line under rules that know the action `page`, and that are live.
fn line() -> (LineMarks, Arc<Compiled>) {
    let compiled = Arc::new(Compiled::default());
    compiled.hold(Seq(1), &rules(&["page"], None));
    compiled.go_live();
    let rules = Some(Arc::clone(&compiled));
    (LineMarks { time: Mark::new(BEGUN), drain: Switch::new(), rules }, compiled)
}

fn rules(actions: &[&str], halted: Option<HaltScope>) -> Arc<Rules> {
    let by = HaltOrder { actor: "eve".into(), reason: "a drill".into() };
    let halts = halted.map(|scope| Halt { scope, by, since: UnixMillis(0) }).into_iter().collect();
    let actions = actions.iter().map(|name| (*name).into()).collect();
    Arc::new(RulesSource { actions, halts, ..RulesSource::default() }.compile().unwrap())
}

/// The numbers of so many that are done.
async fn done(executor: &mut Executor, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let outcome = executor.next().await;
        assert_eq!(outcome.result, Ok(()));
        numbers.push(outcome.action.seq.0);
    }
    numbers.sort_unstable();
    numbers
}

/// Nothing ends within so long.
async fn rests_for(executor: &mut Executor, time: Duration) {
    let ended = tokio::time::timeout(time, executor.next()).await;
    assert!(ended.is_err(), "{ended:?}");
}

fn halts(scopes: impl IntoIterator<Item = HaltScope>) -> Halts {
    let by = HaltOrder { actor: "eve".into(), reason: "a drill".into() };
    let halt = |scope| Halt { scope, by: by.clone(), since: UnixMillis(0) };
    Halts::new(&scopes.into_iter().map(halt).collect::<Vec<_>>())
}

/// A receiver that is away for minutes is asked once after each pause, and less often while its breaker is open.
#[test]
fn in_the_background_a_target_is_asked_until_it_takes_it() {
    paused(async {
        let mut script = vec![Does::Answer(503); 12];
        script.push(Does::Answer(204));
        let target = Scripted::new(&script);
        let mut executor = executor(&[("page", &target)]);
        executor.submit(in_background(7));
        let outcome = executor.next().await;
        assert_eq!(outcome.result, Ok(()));
        assert_eq!(target.tries(), 13);
        assert!(outcome.tries.unwrap().as_str().contains(r#""count":13"#));
        let asked = target.asked.borrow();
        let pauses: Vec<u64> = asked.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_secs()).collect();
        assert_eq!(pauses[..4], [1, 2, 4, 8]);
        assert!(pauses[4..].iter().all(|pause| *pause >= 16), "{pauses:?}");
    });
}

/// What one receiver cannot take holds up no other order, and a drain waits for neither.
#[test]
fn in_the_background_one_that_is_missed_holds_up_no_other() {
    paused(async {
        let target = Scripted::new(&[Does::Answer(503), Does::Answer(204), Does::Answer(204)]);
        let mut executor = executor(&[("page", &target)]);
        executor.submit(in_background(1));
        executor.submit(in_background(2));
        assert_eq!(executor.next().await.action.seq.0, 2);
        assert_eq!(executor.under_way(), 0);
        assert_eq!(executor.watches()[0].waiting(), 1);
        assert_eq!(executor.next().await.action.seq.0, 1);
        assert_eq!(executor.watches()[0].waiting(), 0);
    });
}

#[test]
fn in_the_background_an_order_has_its_time_and_a_refusal_is_final() {
    paused(async {
        let target = Scripted::new(&[Does::Answer(404), Does::Answer(503)]);
        let (begun, mut executor) = (Instant::now(), executor(&[("page", &target)]));
        executor.submit(in_background(1));
        assert_eq!(reason(&executor.next().await), ("target `page`: it answered 404", true));
        executor.submit(in_background(2));
        let outcome = executor.next().await;
        let (why, asked) = reason(&outcome);
        assert!(asked && why.ends_with("calls and was not called again before its time was over"), "{why}");
        // Neither the pause that runs nor a breaker that is open is waited for.
        assert_eq!(begun.elapsed().as_secs(), HOUR.as_secs());
        assert!(target.tries() < 40, "{} calls", target.tries());
    });
}

/// While a target is halted its orders wait; those of the foreground are turned away.
#[test]
fn in_the_background_a_halted_target_is_waited_for() {
    paused(async {
        let mut script = vec![Does::Answer(500); 5];
        script.push(Does::Answer(204));
        let target = Scripted::new(&script);
        let mut executor = executor(&[("page", &target)]);
        for number in 0..5 {
            executor.submit(in_background(number));
        }
        assert!(tokio::time::timeout(SECOND / 2, executor.next()).await.is_err());
        assert_eq!(executor.watches()[0].breaker(), 2);
        executor.submit(order("page", 9, SIGNAL));
        assert!(reason(&executor.next().await).0.contains("is halted"));
        for number in 5..10 {
            executor.submit(in_background(number));
        }
        let begun = Instant::now();
        assert_eq!(done(&mut executor, 10).await, (0..10).collect::<Vec<_>>());
        assert!(begun.elapsed() < Duration::from_mins(2), "{:?}", begun.elapsed());
    });
}

/// A target to which nothing can be said about orders with an odd number.
struct Choosy(Rc<Scripted>);

impl Carry for Choosy {
    fn unfit(&self, order: &ActionRequest) -> Option<String> {
        (order.intent.action.seq.0 % 2 == 1).then(|| "it is odd".into())
    }

    fn carry<'a>(
        &'a self,
        order: &'a ActionRequest,
        trace: Option<TraceContext>,
        until: Instant,
    ) -> Trying<'a> {
        self.0.carry(order, trace, until)
    }
}

#[test]
fn what_cannot_be_said_is_turned_away_and_no_probe_is_spent_on_it() {
    paused(async {
        let script: Vec<Does> = [ASKS_FOR_MORE; 5].into_iter().chain([Does::Answer(204)]).collect();
        let target = Scripted::new(&script);
        let mut executor = executor(&[]);
        let carry: Rc<dyn Carry> = Rc::new(Choosy(Rc::clone(&target)));
        let page = Equipped { name: "page".into(), carry, timeout: 10 * SECOND, calls_max: 16 };
        executor.equip(BOUNDS, vec![page]);
        let turned_away = |outcome: &Outcome| {
            assert_eq!(reason(outcome), ("target `page` was not asked: it is odd", false));
        };
        executor.submit(order("page", 1, SIGNAL));
        turned_away(&executor.ended().unwrap());
        for number in 0..5 {
            executor.submit(order("page", 2 * number, SIGNAL));
            assert!(executor.next().await.result.is_err());
        }
        assert_eq!(executor.watches()[0].breaker(), 2);
        tokio::time::sleep(66 * SECOND).await;
        executor.submit(order("page", 3, SIGNAL));
        turned_away(&executor.ended().unwrap());
        assert_eq!((executor.watches()[0].breaker(), target.tries()), (1, 5), "the next one may probe");
        executor.submit(order("page", 4, SIGNAL));
        assert_eq!(executor.next().await.result, Ok(()));
        assert_eq!((executor.watches()[0].breaker(), executor.under_way()), (0, 0));
    });
}

#[test]
fn in_the_background_what_cannot_be_said_any_more_tells_that_it_was_asked_before() {
    paused(async {
        let target = Scripted::new(&[Does::Answer(503)]);
        let mut executor = executor(&[("page", &target)]);
        executor.submit(in_background(1));
        while target.tries() == 0 {
            let waited = tokio::time::timeout(Duration::from_millis(1), executor.next()).await;
            assert!(waited.is_err(), "it is missed, and called again later");
        }
        // The configuration changed meanwhile.
        let carry: Rc<dyn Carry> = Rc::new(Choosy(Rc::clone(&target)));
        let page = Equipped { name: "page".into(), carry, timeout: 10 * SECOND, calls_max: 16 };
        executor.equip(BOUNDS, vec![page]);
        let outcome = executor.next().await;
        let why = "target `page` took it in none of 1 calls and is not asked again: it is odd";
        assert_eq!((reason(&outcome), target.tries()), ((why, true), 1));
        assert!(outcome.tries.is_some());
        executor.submit(in_background(3));
        assert_eq!(reason(&executor.next().await), ("target `page` was not asked: it is odd", false));
        assert_eq!(executor.under_way(), 0);
    });
}

#[test]
fn in_the_background_no_number_that_a_target_answers_ends_more_than_its_own_order() {
    paused(async {
        let (begun, target) =
            (Instant::now(), Scripted::new(&[Does::AskFor(Duration::MAX), Does::Answer(204)]));
        let mut executor = executor(&[("page", &target)]);
        executor.submit(in_background(1));
        while target.tries() == 0 {
            rests_for(&mut executor, Duration::from_millis(1)).await;
        }
        executor.submit(in_background(2));
        assert_eq!(done(&mut executor, 1).await, [2]);
        let outcome = executor.next().await;
        let why =
            "target `page` took it in none of 1 calls and was not called again before its time was over";
        assert_eq!((reason(&outcome), begun.elapsed().as_secs()), ((why, true), HOUR.as_secs()));
        assert_eq!(executor.watches()[0].waiting(), 0);
    });
}

/// Its own queue ends it, whatever keeps it there: a breaker, a halt, other orders, a configuration without its target.
#[test]
fn in_the_background_an_order_ends_at_its_time_wherever_it_waits() {
    let never: &[Does] = &[Does::Hang];
    let failing: &[Does] = &[Does::Answer(500); 5];
    for (place, script) in [("a breaker", failing), ("a halt", never), ("full", never), ("gone", never)] {
        paused(async {
            let (begun, target) = (Instant::now(), Scripted::new(script));
            let mut executor = executor(&[("page", &target)]);
            if place == "a halt" {
                executor.halt(&halts([HaltScope::Tenant("acme".into())]));
            }
            for number in 0..40 {
                executor.submit(in_background(number));
            }
            if place == "gone" {
                equip(&mut executor, &[]);
            }
            for _ in 0..40 {
                let outcome = executor.next().await;
                assert!(reason(&outcome).0.ends_with("before its time was over"), "{place}: {outcome:?}");
                assert_eq!(begun.elapsed().as_secs(), HOUR.as_secs(), "{place}");
            }
            assert_eq!((executor.targets[0].backlog.len(), executor.under_way()), (0, 0));
        });
    }
}

/// What is over gives its place away, whatever kept it there.
#[test]
fn in_the_background_what_is_over_keeps_no_place() {
    paused(async {
        let target = Scripted::new(&[Does::Answer(204)]);
        let mut executor = executor(&[("page", &target)]);
        executor.halt(&halts([HaltScope::Line]));
        for number in 0..TARGET_WAITING_MAX as u64 {
            executor.submit(in_background(number));
        }
        tokio::time::sleep(2 * HOUR).await;
        let later = UnixMillis(BEGUN + 3 * 3_600_000);
        executor.submit(ActionRequest { give_up: Some(later), ..in_background(9000) });
        for _ in 0..TARGET_WAITING_MAX {
            let outcome = executor.ended().unwrap();
            assert_eq!(reason(&outcome), ("target `page` was not called before its time was over", false));
        }
        executor.halt(&Halts::default());
        assert_eq!(done(&mut executor, 1).await, [9000]);
    });
}

/// The journal's time says when an order is over: the wall clock is elsewhere, and the journal's may step.
#[test]
fn in_the_background_an_order_ends_by_the_journals_time() {
    paused(async {
        let target = Scripted::new(&[Does::Answer(503)]);
        let mut executor = executor(&[("page", &target)]);
        let begun = Instant::now();
        executor.submit(in_background(1));
        rests_for(&mut executor, HOUR / 2).await;
        assert!(target.tries() > 5);
        // It stood still for ten minutes; then it steps ahead of the machine's clock.
        executor.follow(UnixMillis(BEGUN + 20 * 60_000));
        rests_for(&mut executor, HOUR / 2).await;
        executor.follow(UnixMillis(BEGUN + 50 * 60_000 + 300));
        rests_for(&mut executor, Duration::from_mins(9)).await;
        executor.follow(UnixMillis(BEGUN + 60 * 60_000));
        assert!(reason(&executor.ended().unwrap()).0.ends_with("before its time was over"));
        assert_eq!(begun.elapsed().as_secs(), 69 * 60);
        // One that is over already is not called.
        let tries = target.tries();
        executor.submit(in_background(2));
        assert_eq!(reason(&executor.next().await).0, "target `page` was not called before its time was over");
        executor.submit(again(in_background(3)));
        let why =
            "target `page` may have been asked before and was not called again before its time was over";
        assert_eq!((reason(&executor.next().await), target.tries()), ((why, true), tries));
    });
}

#[test]
fn in_the_background_a_call_that_hangs_until_the_end_says_so() {
    paused(async {
        let target = Scripted::new(&[Does::Hang]);
        let mut executor = executor(&[("page", &target)]);
        let end = Some(UnixMillis(BEGUN + 5_000));
        executor.submit(ActionRequest { give_up: end, ..in_background(1) });
        let outcome = executor.next().await;
        let why =
            "target `page` took it in none of 1 calls and was not called again before its time was over";
        assert_eq!(reason(&outcome).0, why);
        let tries = outcome.tries.unwrap();
        assert!(tries.as_str().contains("no answer before its time was over"), "{tries:?}");
    });
}

/// A node that ends calls nothing more of the background, and what it called may end.
#[test]
fn in_the_background_nothing_is_called_once_the_node_drains() {
    paused(async {
        let target = Scripted::new(&[Does::AnswerAfter(SECOND)]);
        let mut executor = executor(&[("page", &target)]);
        for number in 0..300 {
            executor.submit(in_background(number));
        }
        executor.drain();
        executor.submit(in_background(300));
        assert_eq!(done(&mut executor, 16).await, (0..16).collect::<Vec<_>>());
        assert_eq!((target.tries(), executor.under_way(), executor.watches()[0].waiting()), (16, 0, 285));
        rests_for(&mut executor, HOUR / 2).await;
        assert_eq!(target.tries(), 16);
    });
}

/// What operators stopped rests, and its neighbours go on; afterwards all is called.
#[test]
fn in_the_background_what_is_halted_rests() {
    for scope in [HaltScope::Line, HaltScope::Tenant("acme".into()), HaltScope::Target("page".into())] {
        paused(async {
            let target = Scripted::new(&[Does::Answer(204)]);
            let mut executor = executor(&[("page", &target)]);
            executor.halt(&halts([HaltScope::Tenant("another".into()), scope.clone()]));
            for number in 0..100 {
                executor.submit(in_background(number));
            }
            executor.submit(of_tenant(100, "neighbour"));
            if matches!(scope, HaltScope::Tenant(_)) {
                assert_eq!(done(&mut executor, 1).await, [100]);
            }
            rests_for(&mut executor, HOUR / 2).await;
            let neighbours = usize::from(matches!(scope, HaltScope::Tenant(_)));
            assert_eq!((target.tries(), executor.watches()[0].waiting()), (neighbours, 101 - neighbours));
            executor.halt(&halts([HaltScope::Tenant("another".into())]));
            let all: Vec<u64> = (0..101 - neighbours as u64).collect();
            assert_eq!(done(&mut executor, all.len()).await, all);
        });
    }
}

/// A target that is left out is not called where it was; its orders are seen, and go on where it is configured again.
#[test]
fn in_the_background_what_is_configured_no_more_rests() {
    paused(async {
        let (old, moved) = (Scripted::new(&[Does::Answer(503)]), Scripted::new(&[Does::Answer(204)]));
        let mut executor = executor(&[("page", &old)]);
        executor.submit(in_background(1));
        while old.tries() == 0 {
            rests_for(&mut executor, Duration::from_millis(1)).await;
        }
        equip(&mut executor, &[("other", &moved)]);
        let shown = |executor: &Executor| {
            let watches = executor.watches();
            let shown = watches.iter().filter(|watch| watch.is_shown());
            shown.map(|watch| (watch.name.to_string(), watch.waiting())).collect::<Vec<_>>()
        };
        rests_for(&mut executor, HOUR / 2).await;
        assert_eq!(old.tries(), 1);
        assert_eq!(shown(&executor), [("page".to_owned(), 1), ("other".to_owned(), 0)]);
        equip(&mut executor, &[("page", &moved), ("other", &moved)]);
        assert_eq!(done(&mut executor, 1).await, [1]);
        equip(&mut executor, &[("other", &moved)]);
        assert_eq!(shown(&executor), [("other".to_owned(), 0)]);
    });
}

/// Who orders much of one kind keeps nobody's orders of the other from the target.
#[test]
fn what_is_awaited_and_what_is_in_the_background_take_turns() {
    fn awaited(number: u64, tenant: &str) -> ActionRequest {
        ActionRequest { give_up: None, ..of_tenant(number, tenant) }
    }
    type Orders = fn(u64, &str) -> ActionRequest;
    for (many, one) in [(awaited as Orders, of_tenant as Orders), (of_tenant, awaited)] {
        paused(async {
            let target = Scripted::new(&[Does::AnswerAfter(SECOND)]);
            let (begun, mut executor) = (Instant::now(), executor(&[("page", &target)]));
            for number in 0..100 {
                executor.submit(many(number, "noisy"));
            }
            executor.submit(one(1000, "quiet"));
            while executor.next().await.action.seq.0 != 1000 {}
            assert_eq!(begun.elapsed(), 2 * SECOND, "its turn comes with the next calls that end");
        });
    }
}

/// The targets of a reload are there before its rules, so what the rules of before order comes to a target that is left out.
#[test]
fn a_target_that_is_left_out_is_called_as_long_as_rules_ask_for_it() {
    paused(async {
        let (line, compiled) = line();
        let target = Scripted::new(&[Does::Answer(204)]);
        let mut executor = Executor::new(longest).following(line);
        equip(&mut executor, &[("page", &target)]);
        // The rules of the first reload did not come to hold.
        for number in [1, 2] {
            equip(&mut executor, &[]);
            executor.submit(order("page", number, SIGNAL));
            assert_eq!(executor.next().await.result, Ok(()));
        }
        let mut sent_again = ActionRequest { maybe_twice: true, ..order("page", 3, SIGNAL) };
        sent_again.intent.by = Seq(30);
        executor.submit(sent_again);
        let outcome = executor.next().await;
        assert_eq!(reason(&outcome), ("no action `page` is configured", false));
        assert!(!outcome.maybe_twice, "it was not called");
        executor.submit(in_background(4));
        rests_for(&mut executor, SECOND / 2).await;

        compiled.hold(Seq(2), &rules(&[], None));
        executor.submit(order("page", 5, SIGNAL));
        assert_eq!(executor.next().await.result, Ok(()), "another shard may be behind");
        equip(&mut executor, &[]);
        executor.submit(order("page", 6, SIGNAL));
        assert_eq!(reason(&executor.next().await), ("no action `page` is configured", false));
        executor.submit(again(order("page", 7, SIGNAL)));
        let outcome = executor.next().await;
        let why =
            "target `page` may have been asked before and no action of this name is configured any more";
        assert_eq!((reason(&outcome), outcome.maybe_twice), ((why, true), true));
        assert_eq!((target.tries(), executor.watches()[0].waiting()), (3, 1));
    });
}

/// Once rules with a halt hold, its order is answered; and a drain is told. From then on no call begins, though nobody looks between
/// one call and the next.
#[test]
fn in_the_background_no_call_begins_once_a_halt_holds_or_the_node_drains() {
    for drains in [false, true] {
        paused(async {
            let (line, compiled) = line();
            let drain = line.drain.clone();
            let target = Scripted::new(&[Does::AskFor(SECOND)]);
            let mut executor = Executor::new(longest).following(line);
            executor.look_at_line();
            equip(&mut executor, &[("page", &target)]);
            for number in 0..4 {
                executor.submit(in_background(number));
            }
            rests_for(&mut executor, SECOND / 2).await;
            assert_eq!(target.tries(), 4);
            let stops = async {
                if drains {
                    drain.turn_on();
                } else {
                    compiled.hold(Seq(2), &rules(&["page"], Some(HaltScope::Target("page".into()))));
                }
                std::future::pending::<()>().await;
            };
            let both = async {
                tokio::select! { outcome = executor.next() => drop(outcome), () = stops => {} }
            };
            assert!(tokio::time::timeout(HOUR / 2, both).await.is_err());
            assert_eq!(target.tries(), 4);
        });
    }
}

/// The shard of an order may be live while the one that knows the halts still replays.
#[test]
fn in_the_background_nothing_is_called_before_the_halts_of_the_journals_end_are_known() {
    paused(async {
        let compiled = Arc::new(Compiled::default());
        compiled.hold(Seq(1), &rules(&["page"], None));
        let rules_of_now = Some(Arc::clone(&compiled));
        let line = LineMarks { time: Mark::new(BEGUN), drain: Switch::new(), rules: rules_of_now };
        let target = Scripted::new(&[Does::Answer(204)]);
        let mut executor = Executor::new(longest).following(line);
        equip(&mut executor, &[("page", &target)]);
        executor.submit(again(in_background(1)));
        executor.submit(again(order("page", 2, SIGNAL)));
        assert_eq!(executor.next().await.action.seq.0, 2, "no halt holds up what is awaited");
        rests_for(&mut executor, SECOND).await;
        compiled.hold(Seq(2), &rules(&["page"], Some(HaltScope::Line)));
        compiled.go_live();
        executor.look_at_line();
        rests_for(&mut executor, SECOND).await;
        assert_eq!(target.tries(), 1);
        compiled.hold(Seq(3), &rules(&["page"], None));
        executor.look_at_line();
        assert_eq!(done(&mut executor, 1).await, [1]);
    });
}

/// What waited and what was called before a crash has room, all of it; one more has not.
#[test]
fn a_start_turns_away_nothing_that_rested() {
    paused(async {
        let target = Scripted::new(&[Does::Hang]);
        let mut executor = executor(&[("page", &target)]);
        executor.halt(&halts([HaltScope::Line]));
        let most = TARGET_WAITING_MAX as u64 + 16;
        for number in 0..most {
            executor.submit(again(in_background(number)));
        }
        assert_eq!((executor.ended(), executor.watches()[0].waiting() as u64), (None, most));
        executor.submit(in_background(most));
        let why = "target `page` has 8208 orders waiting for it already";
        assert_eq!(reason(&executor.ended().unwrap()), (why, false));
    });
}

/// Calls before the start are in no record; the time since the order is.
#[test]
fn what_was_ordered_before_the_start_tells_when_and_that_earlier_calls_are_not_known() {
    paused(async {
        let target = Scripted::new(&[Does::Answer(204)]);
        let mut executor = executor(&[("page", &target)]);
        for mut order in [again(in_background(1)), again(order("page", 2, SIGNAL))] {
            order.intent.time = UnixMillis(BEGUN - 5000);
            executor.submit(order);
            let tries = executor.next().await.tries.unwrap();
            let call = r#"{"after_ms":5000,"call":1,"missed":null,"took_ms":0}"#;
            let told = format!(r#"{{"calls":[{call}],"count":1,"earlier":"unknown"}}"#);
            assert_eq!(tries.as_str(), told);
        }
    });
}

#[test]
fn what_may_have_been_asked_for_before_the_start_does_not_say_that_it_was_not() {
    paused(async {
        let target = Scripted::new(&[Does::Answer(503)]);
        let mut executor = executor(&[]);
        let carry: Rc<dyn Carry> = Rc::new(Choosy(Rc::clone(&target)));
        let page = Equipped { name: "page".into(), carry, timeout: 10 * SECOND, calls_max: 16 };
        executor.equip(BOUNDS, vec![page]);
        executor.submit(again(in_background(1)));
        let outcome = executor.ended().unwrap();
        let why = "target `page` may have been asked before and is not asked again: it is odd";
        assert_eq!((reason(&outcome), outcome.maybe_twice), ((why, true), true));
        executor.submit(ActionRequest { maybe_twice: true, ..in_background(3) });
        let outcome = executor.ended().unwrap();
        assert_eq!(reason(&outcome), ("target `page` was not asked: it is odd", false));
        assert!(!outcome.maybe_twice, "it was sent again, and not called");
    });
}
