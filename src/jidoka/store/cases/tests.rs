//! Lists, heads and rows against a search that looks at every case, through random changes, retirements and restarts.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::jidoka::dead_letter::{Closing, Why};
use crate::jidoka::store::{Changes, Embedded, StateStore};
use crate::limits::CASES_LOOKED_AT_MAX;
use crate::receipt::StateName;
use crate::signal::{Assurance, Provenance, Severity, Text, Unchecked};

const TENANTS: [&str; 3] = ["acme", "acme.a", "zed"];
const SKUS: [&str; 2] = ["vm", "db"];
const TYPES: [&str; 2] = ["cost.usage", "cost"];

fn signal(seq: u64) -> Box<Signal> {
    let pick = |of: &[&str], by: u64| of[usize::try_from(by % of.len() as u64).unwrap()].into();
    let unchecked = Unchecked {
        body: Bytes::from(format!("{{\"n\":{seq}}}")),
        id: Text::Owned(format!("s-{seq}").into()),
        tenant: Text::Owned(pick(&TENANTS, seq)),
        sku: Text::Owned(pick(&SKUS, seq / 3)),
        kind: Text::Owned(pick(&TYPES, seq / 5)),
        severity: Severity::Info,
        provenance: Provenance::intern("signals", "default", Assurance::A).unwrap(),
        digest: seq,
    };
    Box::new(unchecked.check().unwrap())
}

fn open(seq: u64, cause: Cause, time: u64, again: bool) -> CaseChange {
    let (event, state) = (Seq(1_000_000 + time), StateName::Stable);
    let why = Why { cause, detail: "it failed".into(), event, time: UnixMillis(time), state };
    CaseChange::Open { case: CaseId(Seq(seq)), why, signal: signal(seq), undone: None, again }
}

fn close(seq: u64, how: Closing, time: u64) -> CaseChange {
    let (event, time) = (Seq(1_000_000 + time), UnixMillis(time));
    CaseChange::Close { case: CaseId(Seq(seq)), how, event, time }
}

fn commit(store: &mut Embedded, watermark: u64, cases: impl IntoIterator<Item = CaseChange>) {
    let mut changes = Changes::default();
    cases.into_iter().for_each(|change| changes.case(change));
    store.commit(&changes, Seq(watermark)).unwrap();
}

/// As the definition says it.
fn expected(model: &BTreeMap<u64, Case>, filter: &CaseFilter, after: u64, limit: usize) -> (u64, Vec<Case>) {
    let taken: Vec<&Case> = model.values().filter(|case| filter.takes(case)).collect();
    let page = taken.iter().filter(|case| case.seq > after).take(limit);
    (taken.len() as u64, page.map(|case| (*case).clone()).collect())
}

fn filters() -> Vec<CaseFilter> {
    let mut filters = Vec::new();
    let names = |of: &[&str]| -> Vec<Option<Box<str>>> {
        of.iter().map(|name| Some((*name).into())).chain([None]).collect()
    };
    for cause in Cause::ALL.map(Some).into_iter().chain([None]) {
        for status in Status::ALL.map(Some).into_iter().chain([None]) {
            for tenant in names(&TENANTS) {
                for (sku, r#type) in names(&SKUS[..1]).into_iter().zip(names(&TYPES[1..])) {
                    filters.push(CaseFilter { cause, status, tenant: tenant.clone(), sku, r#type });
                }
            }
        }
    }
    filters
}

fn check(cases: &Cases, model: &BTreeMap<u64, Case>) {
    for filter in filters() {
        for (after, limit) in [(0, 3), (0, 1000), (7, 2)] {
            let found = cases.search(&filter, Seq(after), limit).unwrap();
            let (count, page) = expected(model, &filter, after, limit);
            assert_eq!((found.count, &found.page), (Some(count), &page), "{filter:?} after {after}");
        }
        // Page by page it is the same.
        let (mut all, mut after) = (Vec::new(), Seq(0));
        loop {
            let found = cases.search(&filter, after, 2).unwrap();
            all.extend(found.page);
            let Some(next) = found.next else { break };
            assert!(next.0 > after, "a cursor goes on");
            after = next.0;
        }
        assert_eq!(all, expected(model, &filter, 0, usize::MAX).1, "{filter:?}");
    }
    for (cause, open) in Cause::ALL.into_iter().zip(&cases.open) {
        let filter = CaseFilter { cause: Some(cause), status: Some(Status::Open), ..CaseFilter::default() };
        assert_eq!(open.read(), expected(model, &filter, 0, 0).0, "{cause:?}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Open(u64, Cause),
    Again(u64, Cause),
    Close(u64, Closing),
    Commit,
    Retire { age: u64, count: u64 },
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let seq = 1..40_u64;
    let cause = prop::sample::select(Cause::ALL.to_vec());
    let how = prop::sample::select(vec![Closing::Replayed, Closing::Discarded]);
    let step = prop_oneof![
        6 => (seq.clone(), cause.clone()).prop_map(|(seq, cause)| Step::Open(seq, cause)),
        2 => (seq.clone(), cause).prop_map(|(seq, cause)| Step::Again(seq, cause)),
        5 => (seq, how).prop_map(|(seq, how)| Step::Close(seq, how)),
        3 => Just(Step::Commit),
        1 => (0..60_u64, 0..20_u64).prop_map(|(age, count)| Step::Retire { age, count }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_search_finds_what_there_is_and_nothing_open_is_ever_retired(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Embedded::open(dir.path()).unwrap();
        let (mut model, mut pending, mut time) = (BTreeMap::<u64, Case>::new(), Vec::new(), 0);
        for step in steps.into_iter().chain([Step::Commit, Step::Restart]) {
            time += 1;
            match step {
                Step::Open(seq, cause) => pending.push(open(seq, cause, time, false)),
                Step::Again(seq, cause) => pending.push(open(seq, cause, time, true)),
                Step::Close(seq, how) => pending.push(close(seq, how, time)),
                Step::Commit => {
                    for change in &pending {
                        let seq = change.case().0.0;
                        let known = model.remove(&seq);
                        model.extend(change.applied(known).map(|case| (seq, case)));
                    }
                    commit(&mut store, time, pending.drain(..));
                }
                Step::Retire { age, count } => {
                    let retention = Retention { age: Duration::from_millis(age), count };
                    prop_assert!(!store.retire(retention, UnixMillis(time)).unwrap());
                    let mut closed: Vec<(u64, u64)> =
                        model.values().filter_map(|case| Some((case.closed?, case.seq))).collect();
                    closed.sort_unstable();
                    let over = closed.len().saturating_sub(usize::try_from(count).unwrap());
                    for (n, (at, seq)) in closed.into_iter().enumerate() {
                        if n < over || at + age <= time {
                            model.remove(&seq);
                            prop_assert!(store.cases().signal(CaseId(Seq(seq))).unwrap().is_none());
                        }
                    }
                }
                Step::Restart => {
                    drop(store);
                    store = Embedded::open(dir.path()).unwrap();
                    check(&store.cases(), &model);
                }
            }
        }
    }
}

/// `count` open cases of each cause in turn, numbered from 1.
fn filled(dir: &Path, count: u64) -> Embedded {
    let mut store = Embedded::open(dir).unwrap();
    for first in (1..=count).step_by(5000) {
        let of = first..=count.min(first + 4999);
        let cause = |seq: u64| Cause::ALL[usize::try_from(seq % 4).unwrap()];
        commit(&mut store, first, of.map(|seq| open(seq, cause(seq), seq, false)));
    }
    store
}

/// What a page reads does not grow with what there is, whatever it is filtered by, and whatever was closed before it.
#[test]
fn a_page_costs_its_length_among_a_hundred_thousand_cases() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = filled(dir.path(), 100_000);
    let reads = |store: &Embedded, filter: &CaseFilter, after: u64, limit: usize| {
        let cases = store.cases();
        let view = cases.view();
        let found = view.search(filter, Seq(after), limit).unwrap();
        (view.reads(), found)
    };
    for filter in filters().into_iter().filter(|filter| filter.sku.is_none() && filter.r#type.is_none()) {
        for (after, limit) in [(0, 1), (0, 100), (50_000, 1), (99_999, 1)] {
            let (read, found) = reads(&store, &filter, after, limit);
            // Twelve heads, an entry of each list, and for each case of the page its row and the next entry.
            let most = 12 + 12 + 2 * (limit as u64 + 1);
            assert!(read <= most, "{read} reads for {limit} after {after} of {filter:?}");
            assert!(found.count.is_some());
        }
    }
    // What is listed by nothing is looked for a slice at a time.
    let filter = CaseFilter { r#type: Some("never".into()), ..CaseFilter::default() };
    let (read, found) = reads(&store, &filter, 0, 1);
    assert!(read <= 24 + 2 * (CASES_LOOKED_AT_MAX + 1), "{read} reads");
    assert_eq!((found.count, found.page.len()), (None, 0));
    assert_eq!(found.next, Some(CaseId(Seq(CASES_LOOKED_AT_MAX))));

    // A list begins where its first case is, not where it once was.
    commit(&mut store, 100_000, (1..=99_000).map(|seq| close(seq, Closing::Discarded, seq)));
    let filter = CaseFilter { status: Some(Status::Open), ..CaseFilter::default() };
    let (read, found) = reads(&store, &filter, 0, 1);
    assert!(read <= 12, "{read} reads");
    assert_eq!((found.count, found.page[0].seq), (Some(1000), 99_001));

    // A retirement costs its slice.
    let retention = Retention { age: Duration::from_hours(1), count: 98_000 };
    let (mut slices, now) = (1, UnixMillis(100_000));
    while store.retire(retention, now).unwrap() {
        slices += 1;
    }
    assert_eq!(slices, 1000_usize.div_ceil(CASES_RETIRED_AT_ONCE));
    let (_, found) = reads(&store, &CaseFilter::default(), 0, 1);
    assert_eq!((found.count, found.page[0].seq), (Some(99_000), 1001));
    assert!(!store.retire(retention, now).unwrap(), "the rest stays");
    let (view, closed) = (store.cases(), CaseList::closed());
    let first = view.view().head(&closed).unwrap().unwrap().first;
    assert_eq!(seq_at(first), 1001);
}

#[test]
fn cases_that_no_list_has_are_not_lost_silently() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 3);
    let keys: Vec<_> = store.cases().tables.index.iter().map(|row| row.key().unwrap()).collect();
    for key in keys {
        store.cases().tables.index.remove(key).unwrap();
    }
    drop(store);
    let error = Embedded::open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("list of dead letters"), "{error}");
}
