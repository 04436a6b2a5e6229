//! Receipts that somebody asks for, the newest first. The index says which parts of the log have receipts of the types that are
//! asked for, so acts of operators are found without reading the decisions between them. A search is bounded by what it
//! reads: where it ends early it says from where it goes on.

use std::sync::PoisonError;

use super::error::LogError;
use super::index::LogPart;
use super::reader::{LoggedReceipt, Reader};
use super::walk::LoggedBatch;
use crate::framed_log::FrameOffset;
use crate::limits::{SEARCH_ENTRIES, SEARCH_SEGMENTS, SEARCH_SLACK_MILLIS};
use crate::receipt::UnixMillis;
use crate::receipt::filter::ReceiptFilter;

/// What a search found.
#[derive(Clone, Debug)]
pub struct SearchPage {
    /// The newest first.
    pub found: Vec<LoggedReceipt>,
    /// The search goes on before this entry of the log; `None` where nothing older is left.
    pub next: Option<u64>,
}

/// What a search may read yet.
struct SearchBudget {
    entries: u64,
    segments: u64,
}

impl Reader {
    /// Receipts that the filter takes, at most `limit`, the newest first; those before the entry `before` of the log, where one is
    /// named.
    ///
    /// # Errors
    /// [`LogError`]: what was committed cannot be read.
    pub fn search(
        &self,
        filter: &ReceiptFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<SearchPage, LogError> {
        let (begins, size) = self.entries();
        let mut end = before.unwrap_or(size).min(size);
        let mut found = Vec::new();
        let mut budget = SearchBudget { entries: SEARCH_ENTRIES, segments: SEARCH_SEGMENTS };
        let oldest = filter.since.map(|since| UnixMillis(since.0.saturating_sub(SEARCH_SLACK_MILLIS)));
        while end > begins {
            let Some(LogPart { segment, offset, entries }) = self.part_before(end, filter) else { break };
            end = end.min(entries.end);
            if budget.entries == 0 || (offset.is_none() && budget.segments == 0) {
                return Ok(SearchPage { found, next: Some(end) });
            }
            let Some(offset) = offset else {
                budget.segments -= 1;
                self.know_segment(segment)?;
                continue;
            };
            let mut newest = None;
            for batch in self.batches(FrameOffset { segment, offset }, end)?.iter().rev() {
                for (log_index, record) in batch.stored(end).into_iter().rev() {
                    budget.entries = budget.entries.saturating_sub(1);
                    let fields = batch.fields(record)?;
                    newest = newest.max(Some(fields.gist.time));
                    if filter.takes(&fields) {
                        found.push(batch.prove(&fields, log_index, record)?);
                        if found.len() >= limit {
                            return Ok(SearchPage { found, next: (log_index > begins).then_some(log_index) });
                        }
                    }
                }
            }
            // What is older than that is not asked for.
            if oldest.zip(newest).is_some_and(|(oldest, newest)| newest < oldest) {
                break;
            }
            end = entries.start;
        }
        Ok(SearchPage { found, next: None })
    }

    fn part_before(&self, end: u64, filter: &ReceiptFilter) -> Option<LogPart> {
        self.index().read().unwrap_or_else(PoisonError::into_inner).part_before(end, filter.types)
    }

    /// The frames from this place on that begin before the entry `end`, the oldest first.
    fn batches(&self, at: FrameOffset, end: u64) -> Result<Vec<LoggedBatch>, LogError> {
        let mut open = self.open_at(at)?;
        let mut batches = Vec::new();
        while let Some(batch) = open.next_before(end, self.origin())? {
            batches.push(batch);
        }
        Ok(batches)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::andon::log::{Log, ReceiptKey};
    use crate::disk::RealDisk;
    use crate::proof::note::LocalSigner;
    use crate::receipt::filter::ReceiptTypes;
    use crate::receipt::{About, Draft, Gist, Policy, ReceiptId, ReceiptType, Seq, StateName};

    fn open(dir: &Path, segment_bytes: u64) -> Log {
        let signer = Box::new(LocalSigner::new("example.com/n1", &[7; 32]).unwrap());
        let key = ReceiptKey::new(b"a secret of these tests");
        Log::open(Arc::new(RealDisk), dir, signer, key, segment_bytes, UnixMillis(1)).unwrap()
    }

    fn draft(seq: u64, kind: ReceiptType, tenant: &str) -> Draft {
        let gist = Gist {
            id: ReceiptId { seq: Seq(seq), ordinal: 0 },
            time: UnixMillis(1000 * seq),
            kind,
            before: StateName::Stable,
            after: StateName::Stable,
            success: true,
            action: None,
            signal_seq: None,
        };
        let rule = Policy { pack: "p".into(), rule: format!("r-{}", seq % 3).into(), content_hash: [0; 32] };
        let who = if seq.is_multiple_of(2) { "eve" } else { "bob" };
        Draft {
            gist,
            policy: Some(Arc::new(rule)),
            facts: None,
            reason: Some(format!("halt by {who}: by mallory: why").into()),
            about: About::Governor { tenant: tenant.into(), sku: "vm".into(), signal: None, trace: None },
        }
    }

    /// All pages of a search, one after the other.
    fn all(reader: &Reader, filter: &ReceiptFilter, limit: usize) -> Vec<u64> {
        let (mut seqs, mut before) = (Vec::new(), None);
        loop {
            let page = reader.search(filter, before, limit).unwrap();
            assert!(page.found.len() <= limit);
            seqs.extend(page.found.iter().map(|found| found.gist.id.seq.0));
            match page.next {
                Some(next) => {
                    assert!(before.is_none_or(|before| next < before), "each page goes on");
                    before = Some(next);
                }
                None => return seqs,
            }
        }
    }

    #[test]
    fn a_search_finds_what_reading_everything_finds_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 16 * 1024);
        let count = 400;
        let kind =
            |seq: u64| ReceiptType::ALL[usize::try_from(seq * 7 % 31).unwrap() % ReceiptType::ALL.len()];
        let tenant = |seq: u64| ["a", "b", "c"][usize::try_from(seq / 5).unwrap() % 3];
        for seq in 1..=count {
            log.append(&draft(seq, kind(seq), tenant(seq))).unwrap();
            if seq.is_multiple_of(7) {
                log.commit().unwrap();
            }
        }
        log.commit().unwrap();
        let every = ReceiptTypes::of(ReceiptType::ALL);
        let filters = [
            ReceiptFilter::of(every),
            ReceiptFilter::of(ReceiptTypes::acts()),
            ReceiptFilter::of(ReceiptTypes::NONE),
            ReceiptFilter::of(ReceiptTypes::of([ReceiptType::Operator])),
            ReceiptFilter { tenant: Some("b".into()), ..ReceiptFilter::of(every) },
            ReceiptFilter { sku: Some("disk".into()), ..ReceiptFilter::of(every) },
            ReceiptFilter { rule: Some("p/r-1".into()), ..ReceiptFilter::of(every) },
            ReceiptFilter { rule: Some("q/r-1".into()), ..ReceiptFilter::of(every) },
            ReceiptFilter { who: Some("eve".into()), ..ReceiptFilter::of(ReceiptTypes::acts()) },
            ReceiptFilter { who: Some("mallory".into()), ..ReceiptFilter::of(every) },
            ReceiptFilter {
                since: Some(UnixMillis(100_000)),
                until: Some(UnixMillis(300_000)),
                ..ReceiptFilter::of(every)
            },
        ];
        let mut found_some = 0;
        for reopened in [false, true] {
            let reader = log.reader();
            for filter in &filters {
                let takes = |seq: &u64| filter.takes(&(&draft(*seq, kind(*seq), tenant(*seq))).into());
                let expected: Vec<u64> = (1..=count).rev().filter(takes).collect();
                found_some += usize::from(!expected.is_empty());
                for limit in [1, 9, 1000] {
                    assert_eq!(all(&reader, filter, limit), expected, "{filter:?} by {limit}, {reopened}");
                }
            }
            drop(log);
            log = open(dir.path(), 16 * 1024);
        }
        assert_eq!(found_some, 2 * 7);
    }

    #[test]
    fn a_search_is_bounded_and_acts_are_found_without_reading_what_is_between() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 1 << 20);
        log.append(&draft(1, ReceiptType::Operator, "a")).unwrap();
        log.commit().unwrap();
        let count = SEARCH_ENTRIES + SEARCH_ENTRIES / 2;
        for seq in 2..count {
            log.append(&draft(seq, ReceiptType::Observed, "a")).unwrap();
            if seq.is_multiple_of(500) {
                log.commit().unwrap();
            }
        }
        log.commit().unwrap();
        let of = |kind| ReceiptFilter::of(ReceiptTypes::of([kind]));
        let act = log.reader().search(&of(ReceiptType::Operator), None, 10).unwrap();
        assert_eq!((act.found.len(), act.next), (1, None));
        let nobody = ReceiptFilter { tenant: Some("b".into()), ..of(ReceiptType::Observed) };
        let page = log.reader().search(&nobody, None, 10).unwrap();
        let next = page.next.expect("it ends before the beginning");
        assert!(page.found.is_empty() && next > count / 4 && next < count / 2, "{next}");
        assert_eq!(log.reader().search(&nobody, Some(next), 10).unwrap().next, None);
        // One search walks a bounded number of segments that nobody has asked for since the start.
        drop(log);
        let log = open(dir.path(), 1 << 20);
        let first = log.reader().search(&of(ReceiptType::Operator), None, 10).unwrap();
        assert!(first.found.is_empty() && first.next.is_some(), "{first:?}");
        assert_eq!(all(&log.reader(), &of(ReceiptType::Operator), 10), [1]);
    }
}
