use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;
/// A Sunday in 2023, in microseconds.
const EPOCH: u64 = 1_700_000_000 * SECOND;
const KEPT_FOR: Duration = Duration::from_hours(2);

/// A machine whose wall clock can be wrong.
struct Machine {
    /// Microseconds that really passed.
    passed: u64,
    wrong: i64,
}

impl Machine {
    fn look(&self) -> Look {
        let wall = (EPOCH + self.passed).saturating_add_signed(self.wrong);
        Look { wall, boot: HOUR + self.passed }
    }

    fn truth(&self) -> u64 {
        (EPOCH + self.passed) / 1000
    }
}

fn begin() -> (Machine, Timekeeper) {
    let machine = Machine { passed: 0, wrong: 0 };
    let keeper = Timekeeper::begin(None, None, KEPT_FOR, machine.look());
    (machine, keeper)
}

/// Lets time pass, with a look every 50 ms.
fn wait(machine: &mut Machine, keeper: &mut Timekeeper, micros: u64) -> u64 {
    for _ in 0..micros / 50_000 {
        machine.passed += 50_000;
        keeper.stamp(machine.look());
    }
    keeper.now().0
}

#[test]
fn an_hour_back_slows_time_and_never_stops_it() {
    let (mut machine, mut keeper) = begin();
    machine.wrong = -i64::try_from(HOUR).unwrap();
    let before = keeper.now().0;
    let after = wait(&mut machine, &mut keeper, 60 * SECOND);
    assert_eq!(after - before, 54_000, "nine tenths");
    assert_eq!(keeper.doubt(), Some(Doubt::Behind(3_600_000 - 6_000)));
    // It was wrong for a minute: what was left out comes back at once.
    machine.wrong = 0;
    assert_eq!(wait(&mut machine, &mut keeper, SECOND), machine.truth());
    assert_eq!((keeper.doubt(), keeper.doubts()), (None, 1));
    assert_eq!(keeper.take_step(), 0, "it did pass");
}

#[test]
fn an_hour_back_for_good_is_met_in_ten() {
    let (mut machine, mut keeper) = begin();
    machine.wrong = -i64::try_from(HOUR).unwrap();
    wait(&mut machine, &mut keeper, 10 * HOUR + SECOND);
    assert_eq!(keeper.now().0, machine.look().wall / 1000);
    assert_eq!(keeper.doubt(), None);
}

#[test]
fn what_was_left_out_and_comes_back_is_no_step() {
    let (mut machine, mut keeper) = begin();
    machine.wrong = -i64::try_from(DAY).unwrap();
    wait(&mut machine, &mut keeper, HOUR);
    machine.wrong = 0;
    wait(&mut machine, &mut keeper, 400 * SECOND);
    assert_eq!((keeper.now().0, keeper.take_step()), (machine.truth(), 0));
}

#[test]
fn a_day_ahead_for_some_seconds_changes_nothing() {
    let (mut machine, mut keeper) = begin();
    machine.wrong = i64::try_from(DAY).unwrap();
    assert_eq!(wait(&mut machine, &mut keeper, 30 * SECOND), machine.truth());
    assert_eq!(keeper.doubt(), Some(Doubt::Ahead(DAY / 1000)));
    machine.wrong = 0;
    assert_eq!(wait(&mut machine, &mut keeper, SECOND), machine.truth());
    assert_eq!((keeper.doubt(), keeper.doubts(), keeper.difference()), (None, 1, 0));
}

#[test]
fn a_day_ahead_for_good_is_believed_after_five_minutes_and_nothing_is_forgotten_for_it() {
    let (mut machine, mut keeper) = begin();
    let step = i64::try_from(DAY).unwrap();
    machine.wrong = step;
    wait(&mut machine, &mut keeper, 299 * SECOND);
    assert_eq!(keeper.now().0, machine.truth());
    wait(&mut machine, &mut keeper, 3 * SECOND);
    assert_eq!(keeper.now().0, machine.truth() + DAY / 1000);
    assert_eq!((keeper.take_step(), keeper.take_step()), (DAY / 1000, 0), "it did not pass");
    assert_eq!(keeper.doubt(), None);
    assert_eq!(keeper.lived().0, machine.truth(), "what is kept for two hours has lived for five minutes");
    wait(&mut machine, &mut keeper, 2 * HOUR);
    assert_eq!(keeper.lived(), keeper.now(), "what was kept before the step may go");
}

#[test]
fn a_clock_that_runs_fast_is_not_followed_beyond_a_minute() {
    let (mut machine, mut keeper) = begin();
    for _ in 0..20_000 {
        machine.passed += 50_000;
        machine.wrong += 450_000;
        keeper.stamp(machine.look());
    }
    assert!(keeper.now().0 <= machine.truth() + 60_000);
    assert!(matches!(keeper.doubt(), Some(Doubt::Ahead(_))));
}

#[test]
fn a_stop_counts_for_the_time_that_passed_and_for_one_look() {
    let (mut machine, mut keeper) = begin();
    machine.passed += 3 * DAY;
    assert_eq!(keeper.stamp(machine.look()).0, machine.truth(), "a machine that slept knows for how long");
    machine.wrong = i64::try_from(DAY).unwrap();
    keeper.stamp(machine.look());
    machine.passed += HOUR;
    keeper.stamp(machine.look());
    assert_eq!(keeper.now().0, machine.truth(), "two looks are not five minutes");
}

#[test]
fn the_next_process_knows_how_much_time_has_passed() {
    let (mut machine, keeper) = begin();
    let (last, kept) = (keeper.now(), keeper.kept());
    let kept = Kept::from_text(&kept.to_text("this-boot"), "this-boot").unwrap();
    machine.passed += 3 * HOUR;
    machine.wrong = i64::try_from(DAY).unwrap();
    let mut next = Timekeeper::begin(Some(last), Some(&kept), KEPT_FOR, machine.look());
    assert_eq!(next.now().0, machine.truth());
    assert_eq!(next.doubt(), Some(Doubt::Ahead(DAY / 1000)));
    machine.wrong = 0;
    assert_eq!(wait(&mut machine, &mut next, SECOND), machine.truth());
}

#[test]
fn after_another_boot_the_wall_clock_says_how_late_it_is_but_not_what_may_be_forgotten() {
    let (machine, keeper) = begin();
    let last = keeper.now();
    let look = Look { wall: EPOCH + DAY, boot: 5 * SECOND };
    let mut next = Timekeeper::begin(Some(last), None, KEPT_FOR, look);
    assert_eq!(next.now().0, (EPOCH + DAY) / 1000);
    assert_eq!((next.lived(), next.doubt()), (last, None));
    assert_eq!(machine.passed, 0);
    // A journal that lies in the future goes on from there.
    let look = Look { wall: EPOCH - DAY, boot: 5 * SECOND };
    let next = Timekeeper::begin(Some(last), None, KEPT_FOR, look);
    assert_eq!((next.now(), next.doubt()), (last, Some(Doubt::Behind(DAY / 1000))));
}

#[test]
fn a_note_of_another_boot_or_a_damaged_one_is_none() {
    let (_, keeper) = begin();
    let mut kept = keeper.kept();
    kept.steps.push_back(Step { at: 7, by: 9 });
    let text = kept.to_text("this-boot");
    assert_eq!(Kept::from_text(&text, "this-boot"), Some(kept));
    assert_eq!(Kept::from_text(&text, "other-boot"), None);
    for at in 0..text.len() {
        let mut damaged = text.clone().into_bytes();
        damaged[at] ^= 1;
        assert_eq!(Kept::from_text(&String::from_utf8(damaged).unwrap(), "this-boot"), None, "{at}");
    }
}

#[derive(Clone, Debug)]
enum Happens {
    Passes(u64),
    Jumps(i64),
    /// A new process; of the same boot or another.
    Restarts(bool),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => prop_oneof![0_u64..3, 0..SECOND, 0..DAY].prop_map(Happens::Passes),
        3 => prop_oneof![-5_000_i64..5_000, -70_000_000_i64..70_000_000, -200_000_000_000_i64..200_000_000_000]
            .prop_map(Happens::Jumps),
        1 => any::<bool>().prop_map(Happens::Restarts),
    ]
}

proptest! {
    /// Whatever the clocks do: never back, never slower than nine tenths, never ahead of what passed or of what the wall clock
    /// says; and nothing is forgotten for less than the time for which it is kept.
    #[test]
    fn time_goes_on_and_not_too_fast(all in prop::collection::vec(happens(), 1..200)) {
        let (mut machine, mut keeper) = begin();
        let mut born: Vec<(u64, u64)> = Vec::new();
        for happens in all {
            let (before, passed) = (keeper.time, machine.passed);
            match happens {
                Happens::Passes(micros) => machine.passed += micros,
                Happens::Jumps(by) => machine.wrong = by,
                Happens::Restarts(same) => {
                    let kept = keeper.kept();
                    let last = keeper.now();
                    keeper = Timekeeper::begin(Some(last), same.then_some(&kept), KEPT_FOR, machine.look());
                    prop_assert!(keeper.now() >= last);
                    if !same {
                        // Of another boot nothing is known of what passed before it.
                        born.clear();
                    }
                    continue;
                }
            }
            let look = machine.look();
            keeper.stamp(look);
            let passed = machine.passed - passed;
            prop_assert!(keeper.time + 1 >= before + passed * 9 / 10, "{} after {before} and {passed}", keeper.time);
            prop_assert!(keeper.time <= (before + passed).max(look.wall).max(before));
            born.push((machine.passed, keeper.now().0));
            let lived = keeper.lived().0;
            for (at, stamp) in &born {
                let forgotten = lived.saturating_sub(*stamp) > u64::try_from(KEPT_FOR.as_millis()).unwrap();
                let age = machine.passed - at;
                // Small steps, and there are few, are not counted.
                prop_assert!(!forgotten || age + 300 * SECOND > micros(KEPT_FOR), "forgotten after {age}");
            }
        }
    }

    /// A wall clock that stands somewhere is met, wherever it stands.
    #[test]
    fn it_converges(wrong in -20_000_000_000_i64..200_000_000_000) {
        let (mut machine, mut keeper) = begin();
        machine.wrong = wrong;
        let steps = 10 * u64::try_from((-wrong).max(0)).unwrap() / 50_000 + 6_100;
        for _ in 0..steps {
            machine.passed += 50_000;
            keeper.stamp(machine.look());
        }
        prop_assert_eq!(keeper.now().0, machine.look().wall / 1000);
        prop_assert_eq!(keeper.doubt(), None);
    }
}
