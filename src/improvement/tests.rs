use proptest::prelude::*;

use super::ranking::{Kind, Ranking};
use super::recording::Broken;
use super::seal::Unsealed;
use super::*;

/// Numbers between 0 and 1, the same at each run.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// Of the normal distribution, nearly.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
fn whole(value: f64) -> u64 {
    value.max(1.0) as u64
}

fn node() -> NodeLook {
    NodeLook { name: "n".into(), role: "all".into(), started_milliseconds: 7, ..NodeLook::default() }
}

/// A recording of one minute: 1,000 signals a second, ten stages of 1 ms, each sample off by 10 % of chance, of which
/// `lasting` stays to the next; the first stage takes `factor` as long.
fn recording(seed: u64, factor: f64, lasting: f64) -> Recording {
    let mut noise = Noise(seed);
    let mut state = [0.0; 11];
    let mut samples = Vec::new();
    for _ in 0..60 {
        for level in &mut state {
            *level = lasting * *level + (1.0 - lasting * lasting).sqrt() * noise.normal();
        }
        let mut sample = recording::Sample {
            milliseconds: 1000,
            accepted: whole(1000.0 * (1.0 + 0.1 * state[10])),
            ..recording::Sample::default()
        };
        for (stage, level) in state.iter().take(10).enumerate() {
            let factor = if stage == 0 { factor } else { 1.0 };
            let took = whole(1e6 * factor * (1.0 + 0.1 * level));
            let tail =
                whole(3e6 * factor * (1.0 + 0.1 * (level + noise.normal()) / std::f64::consts::SQRT_2));
            let times = recording::Times { count: 100, p50_nanoseconds: took, p99_nanoseconds: tail };
            sample.times.insert(format!("stage s{stage}"), times);
        }
        samples.push(sample);
    }
    let mut totals = Look { node: node(), elapsed_milliseconds: 60_000, ..Look::default() };
    totals.results.insert("accepted".into(), 60_000);
    Recording { format: 1, begun_milliseconds: 0, samples, totals }
}

/// 22 measures each: in at most 5 % of all comparisons of a node with itself one of them may be wrong.
#[test]
fn a_node_that_did_not_change_is_seldom_called_better_or_worse() {
    for lasting in [0.0, 0.5] {
        let mistaken = (0..100u64).filter(|seed| {
            let (old, new) = (recording(seed * 2 + 1, 1.0, lasting), recording(seed * 2 + 2, 1.0, lasting));
            let compared = Comparison::new(&old, &new);
            assert_eq!((compared.measures.len(), compared.cannot_tell.len()), (22, 0));
            compared.measures.iter().any(|measure| measure.verdict != Verdict::Noise)
        });
        let mistaken = mistaken.count();
        assert!(mistaken <= 6, "{mistaken} of 100 with {lasting}");
    }
}

#[test]
fn a_stage_that_takes_a_fifth_longer_is_called_worse_and_back_again_better() {
    for (lasting, least) in [(0.0, 19), (0.5, 15)] {
        let found = (0..20u64).filter(|seed| {
            let (old, new) = (recording(seed * 2 + 1, 1.0, lasting), recording(seed * 2 + 2, 1.2, lasting));
            let verdict = |old: &Recording, new: &Recording| {
                let compared = Comparison::new(old, new);
                let of =
                    compared.measures.iter().find(|measure| measure.name == "stage s0 p50").unwrap().clone();
                (of.verdict, compared.is_worse())
            };
            verdict(&old, &new) == (Verdict::Worse, true) && verdict(&new, &old).0 == Verdict::Better
        });
        let found = found.count();
        assert!(found >= least, "{found} of 20 with {lasting}");
    }
}

#[test]
fn what_cannot_be_compared_is_not_judged() {
    let old = recording(1, 1.0, 0.0);
    let told = |change: fn(&mut Recording)| {
        let mut new = recording(2, 2.0, 0.0);
        change(&mut new);
        let compared = Comparison::new(&old, &new);
        assert!(compared.cannot_tell.is_empty() || (compared.measures.is_empty() && !compared.is_worse()));
        compared.cannot_tell.join("; ")
    };
    assert_eq!(told(|_| ()), "");
    assert!(told(|new| new.totals.node.machine.processors = 4).contains("the machines differ"));
    assert!(told(|new| new.totals.node.role = "edge".into()).contains("the roles differ"));
    assert!(told(|new| new.samples.truncate(11)).contains("11 samples"));
    assert!(told(|new| _ = new.totals.results.insert("accepted".into(), 73_000)).contains("more than 20 %"));
    assert!(told(|new| new.totals.results.clear()).contains("idle"));
    let mut new = recording(2, 1.0, 0.0);
    new.totals.node.configuration = "other".into();
    assert_eq!(Comparison::new(&old, &new).changed, ["the configuration"], "it is what is judged");
}

#[test]
fn a_baseline_is_read_only_as_it_was_written() {
    let key = BaselineKey::from_hex("5a".repeat(32).as_bytes()).unwrap();
    let trusted = [key.public()];
    let written = recording(3, 1.0, 0.0);
    let file = seal(written.clone(), &key).unwrap();
    assert_eq!(open(&file, &trusted), Ok(written));
    for at in (0..file.len()).step_by(499).chain([file.len() - 1]) {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert!(open(&changed, &trusted).is_err(), "byte {at}");
    }
    let blank = [&file[..], b" "].concat();
    assert_eq!(open(&blank, &trusted), Err(Unsealed::Changed));
    let foreign = BaselineKey::from_hex("6b".repeat(32).as_bytes()).unwrap();
    assert_eq!(open(&file, &[foreign.public()]), Err(Unsealed::Foreign(key.public())));
    assert!(matches!(open(b"{}", &trusted), Err(Unsealed::Unreadable(_))));
    let later = String::from_utf8(file).unwrap().replace("\"format\":1", "\"format\":2");
    assert_eq!(open(later.as_bytes(), &trusted), Err(Unsealed::Format(2)));
    assert!(BaselineKey::from_hex(b"short").is_none());
    assert!(!format!("{key:?}").contains("5a5a"), "a key shows its public half");
}

#[test]
fn a_node_that_starts_again_ends_the_recording() {
    let look = |started: u64, elapsed: u64| Look {
        node: NodeLook { started_milliseconds: started, ..node() },
        elapsed_milliseconds: elapsed,
        ..Look::default()
    };
    let mut recorder = Recorder::new(look(7, 1000), 0);
    recorder.look(look(7, 2000)).unwrap();
    recorder.look(look(7, 2000)).unwrap();
    assert_eq!(recorder.look(look(8, 3000)), Err(Broken::Restarted));
    let recording = recorder.finish().unwrap();
    assert_eq!((recording.samples.len(), recording.totals.elapsed_milliseconds), (1, 1000));
    assert_eq!(Recorder::new(look(7, 1), 0).finish(), Err(Broken::TooShort));
}

fn target(successes: u64, failures: u64, nanoseconds: u64) -> TargetLook {
    let took = Spread::new([(nanoseconds, successes + failures)]);
    TargetLook { successes, failures, tries: successes + failures, took, ..TargetLook::default() }
}

fn busy() -> Recording {
    let mut recording = recording(4, 1.0, 0.0);
    let totals = &mut recording.totals;
    for (name, took) in [("fsync", 900), ("verify", 50), ("decide", 30), ("whole", 5000)] {
        let took = Spread::new([(took * 1000, 100)]);
        totals.stages.insert(name.into(), StageLook { sampled: 16, took });
    }
    totals.lanes.insert("events-0".into(), LaneLook { depth: 1, waited_milliseconds: 60 });
    totals.targets.insert("good".into(), target(1000, 0, 1_000_000));
    recording
}

#[test]
fn what_comes_first_is_what_fails_then_what_waits_then_what_takes_long() {
    let mut recording = busy();
    let first = |recording: &Recording| {
        let first = Report::new(recording).first.unwrap();
        assert!(!first.advice.is_empty() && !first.reason.is_empty());
        (first.kind, first.name)
    };
    assert_eq!(first(&recording), (Kind::StageDelay, "fsync".into()));
    recording.totals.targets.insert("slow".into(), target(10, 0, 2_000_000_000));
    assert_eq!(first(&recording), (Kind::TargetTime, "slow".into()));
    recording.totals.lanes.insert("events-1".into(), LaneLook { depth: 9, waited_milliseconds: 600_000 });
    assert_eq!(first(&recording), (Kind::LaneWaiting, "events-1".into()));
    recording.totals.targets.insert("bad".into(), target(0, 2000, 1_000_000));
    assert_eq!(first(&recording), (Kind::TargetFailures, "bad".into()));
    let idle = Recording { totals: Look::default(), ..recording };
    let report = Report::new(&idle);
    assert!(report.idle && report.first.is_none());
}

#[test]
fn the_page_shows_hostile_names_as_text() {
    let hostile = "</td><script>alert('x')</script>\" onload=\"x\u{202e}";
    let mut recording = busy();
    let tenant = TenantLook { events: 10, waited_milliseconds: 5000, failures: 3 };
    recording.totals.tenants.insert(hostile.into(), tenant);
    recording.totals.node.name = hostile.into();
    let report = Report::new(&recording);
    let page = page(&report, &recording);
    assert!(!page.contains("<script") && !page.contains("onload=\"") && !page.contains('\u{202e}'));
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"));
    assert!(page.contains("default-src 'none'; style-src 'sha256-") && !page.contains("http://"));
}

proptest! {
    /// They make 80 %, and without the last of them they do not.
    #[test]
    fn the_vital_few_are_the_fewest_that_make_four_fifths(amounts in prop::collection::vec(0u32..1000, 1..40)) {
        let items = amounts.iter().enumerate();
        let items = items.map(|(at, amount)| (format!("i{at}"), f64::from(*amount), String::new()));
        let ranking = Ranking::new(Kind::LaneWaiting, items);
        let vital: Vec<f64> = ranking.items.iter().filter(|item| item.vital).map(|item| item.share).collect();
        prop_assert_eq!(vital.len(), ranking.items.iter().take_while(|item| item.vital).count());
        if let Some(last) = vital.last() {
            let sum: f64 = vital.iter().sum();
            prop_assert!(sum >= 0.8 - 1e-6 && sum - last < 0.8);
        } else {
            prop_assert!(ranking.items.is_empty());
        }
    }

    #[test]
    fn two_looks_subtract_to_what_came_between(
        before in prop::collection::btree_map(1u64..50, 1u64..9, 0..20),
        between in prop::collection::btree_map(1u64..50, 1u64..9, 0..20),
    ) {
        let mut after = before.clone();
        for (value, count) in &between {
            *after.entry(*value).or_default() += count;
        }
        let window = Spread::new(after).since(&Spread::new(before));
        prop_assert_eq!(window.count(), between.values().sum::<u64>());
        prop_assert_eq!(window.quantile(1000), between.keys().last().copied().unwrap_or_default());
        prop_assert_eq!(window, Spread::new(between));
    }
}
