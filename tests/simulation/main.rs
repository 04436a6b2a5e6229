//! The whole line without threads, time or a disk of its own: the real stages and the real recovery, driven by a seed
//! through kills, power cuts, failing and full disks, jumping clocks and rot, and judged by the oracles (`reliability.md`,
//! section 3; promises P1 to P4 and P8).
//!
//! `GEMBA_SEEDS` seeds are run from `GEMBA_SEED` on; a seed that fails is printed with its story and is a test of its own
//! from then on. Every seed runs twice and must do the same.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it wants")]
#![expect(clippy::unwrap_used, reason = "a test: what cannot be is a finding")]

mod clients;
mod disk;
mod line;
mod plan;
#[cfg(feature = "faults")]
mod planted;
mod seed;
mod shards;
mod store;
#[path = "../support/mod.rs"]
mod support;

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use oracles::Summary;
use seed::{Found, Report};
use support::{oracles, rng};

/// Runs a seed; a panic is a finding like another.
fn run(seed: u64) -> Result<Report, Found> {
    catch_unwind(AssertUnwindSafe(|| seed::run(seed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Found { what: format!("panicked: {}", text.unwrap_or_default()), story: Vec::new() })
    })
}

/// Does the same with each of them, as many at a time as there are processors. What is returned has no order.
fn on_every_core<T: Sync, R: Send>(of: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let each = std::iter::from_fn(|| of.get(next.fetch_add(1, Ordering::Relaxed)));
        each.map(&work).collect::<Vec<R>>()
    };
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

#[test]
fn every_seed_keeps_the_promises_and_runs_the_same_twice() {
    let mut total = [0; 10];
    let seeds: Vec<u64> = plan::seeds().collect();
    let reports = on_every_core(&seeds, |seed| {
        let seed = *seed;
        let report = run(seed).unwrap_or_else(|found| {
            panic!("seed {seed}: {}\n  {}", found.what, found.story.join("\n  "));
        });
        let again = run(seed).map(|report| report.trace);
        assert_eq!(again.ok(), Some(report.trace), "seed {seed} does not run the same twice");
        report
    });
    for report in reports {
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
