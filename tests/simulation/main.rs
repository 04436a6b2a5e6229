//! The whole line without threads, time or a disk of its own: the real stages and the real recovery, driven by a seed
//! through kills, power cuts, failing and full disks, jumping clocks and rot, and judged by the oracles (`reliability.md`,
//! section 3; promises P1 to P4 and P8).
//!
//! `GEMBA_SEEDS` seeds are run from `GEMBA_SEED` on; a seed that fails is printed with its story and is a test of its own
//! from then on. Every seed runs twice and must do the same.

#![expect(clippy::unwrap_used, reason = "a test: what cannot be is a finding")]

mod clients;
mod disk;
mod line;
#[path = "../checker/oracles/mod.rs"]
mod oracles;
mod plan;
#[cfg(feature = "faults")]
mod planted;
mod rng;
mod seed;
mod shards;
mod store;

use std::panic::{AssertUnwindSafe, catch_unwind};

use oracles::Summary;
use seed::{Found, Report};

/// Runs a seed; a panic is a finding like another.
fn run(seed: u64) -> Result<Report, Found> {
    catch_unwind(AssertUnwindSafe(|| seed::run(seed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Found { what: format!("panicked: {}", text.unwrap_or_default()), story: Vec::new() })
    })
}

#[test]
fn every_seed_keeps_the_promises_and_runs_the_same_twice() {
    let mut total = [0; 10];
    for seed in plan::seeds() {
        let report = run(seed).unwrap_or_else(|found| {
            panic!("seed {seed}: {}\n  {}", found.what, found.story.join("\n  "));
        });
        let again = run(seed).map(|report| report.trace);
        assert_eq!(again.ok(), Some(report.trace), "seed {seed} does not run the same twice");
        let Report { processes, cuts, answers, recycled, millis, .. } = report;
        let Summary { receipts, replays, rules, cases, .. } = report.summary;
        let counted = [1, processes, cuts, answers, receipts, recycled, millis, replays, rules, cases];
        for (total, counted) in total.iter_mut().zip(counted) {
            *total += counted;
        }
    }
    let [seeds, processes, cuts, answers, receipts, recycled, millis, replays, rules, cases] = total;
    let seconds = millis / 1000;
    println!(
        "{seeds} seeds: {processes} processes, {cuts} cuts, {answers} answers, {receipts} receipts, {cases} dead \
         letters, {replays} replays, {rules} changes of the rules, {recycled} segments recycled, {seconds} simulated \
         seconds"
    );
}
