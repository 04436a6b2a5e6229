//! Real logs and real files: whatever happens to the file, each receipt is in it once and in order.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::andon::log::{Log, ReceiptKey};
use crate::clock;
use crate::disk::{Disk, RealDisk, numbered};
use crate::proof::note::LocalSigner;
use crate::receipt::{About, Draft, Gist, ReceiptId, ReceiptType, Seq, StateName, UnixMillis};
use crate::ring::Mark;

/// A node's directory with a log in it, and what follows it.
struct Bench {
    dir: tempfile::TempDir,
    log: Option<Log>,
    size: Mark,
    seq: u64,
}

fn open(dir: &Path, name: &str) -> Log {
    let signer = Box::new(LocalSigner::new(name, &[7; 32]).unwrap());
    let (dir, key) = (dir.join("log"), ReceiptKey::new(b"a secret of these tests"));
    Log::open(Arc::new(RealDisk), &dir, signer, key, 8192, UnixMillis(1)).unwrap()
}

fn draft(seq: u64, kind: ReceiptType) -> Draft {
    let state = StateName::Stable;
    let gist = Gist {
        id: ReceiptId { seq: Seq(seq), ordinal: 0 },
        time: UnixMillis(seq),
        kind,
        before: state,
        after: state,
        success: true,
        action: None,
        signal_seq: None,
    };
    Draft { gist, policy: None, facts: None, reason: Some("a \"reason\"\n".into()), about: About::Node }
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = Some(open(dir.path(), "example.com/n1"));
        Self { dir, log, size: Mark::new(0), seq: 0 }
    }

    /// Logs `count` receipts, in frames of one to four.
    fn log(&mut self, count: u64) {
        let log = self.log.as_mut().unwrap();
        for number in 0..count {
            self.seq += 1;
            let kind = ReceiptType::ALL[usize::try_from(self.seq).unwrap() % ReceiptType::ALL.len()];
            log.append(&draft(self.seq, kind)).unwrap();
            if number % 7 < 3 || number + 1 == count {
                log.commit().unwrap();
            }
        }
        self.size.publish(log.size());
    }

    fn plan(&self) -> AuditPlan {
        let path = self.path();
        AuditPlan { path, max_bytes: 1 << 30, max_files: 50, selection: AuditSelection::All }
    }

    fn path(&self) -> PathBuf {
        let dir = self.dir.path().join("audit");
        fs::create_dir_all(&dir).unwrap();
        dir.join("audit.log")
    }

    fn follower(&self, plan: AuditPlan) -> Result<AuditFollower, AuditError> {
        let reader = self.log.as_ref().unwrap().reader();
        let data_dir: (Arc<dyn Disk>, _) = (Arc::new(RealDisk), self.dir.path());
        let mut follower = AuditFollower::new(plan, reader, self.size.clone(), data_dir);
        follower.resume().map(|()| follower)
    }

    /// A follower that has written everything.
    fn followed(&self, plan: AuditPlan) -> AuditFollower {
        let mut follower = self.follower(plan).unwrap();
        catch_up(&mut follower);
        follower
    }

    /// What the file should have.
    fn receipts(&self, selection: AuditSelection) -> Vec<String> {
        let reader = self.log.as_ref().unwrap().reader();
        let all = (1..=self.seq)
            .map(|seq| reader.receipt(ReceiptId { seq: Seq(seq), ordinal: 0 }).unwrap().unwrap());
        all.filter(|found| selection.takes(found.gist.kind))
            .map(|found| String::from_utf8(found.json).unwrap())
            .collect()
    }

    /// The lines of all files, the oldest first.
    fn written(&self) -> Vec<String> {
        let path = self.path();
        let older = (1..50).rev().map(|number| numbered(&path, number));
        older.chain([path.clone()]).flat_map(|path| lines(&path)).collect()
    }

    /// Every receipt is in the files once and in order.
    #[track_caller]
    fn check(&self) {
        let (written, expected) = (self.written(), self.receipts(AuditSelection::All));
        let first = written.iter().zip(&expected).position(|(one, other)| one != other);
        assert!(written == expected, "{} of {}, first difference {first:?}", written.len(), expected.len());
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "{} has a torn line", path.display());
    text.lines().map(str::to_owned).collect()
}

/// Long after a pause.
fn later() -> clock::Instant {
    clock::now() + Duration::from_hours(1)
}

fn catch_up(follower: &mut AuditFollower) {
    while follower.turn(later()) {}
    assert!(follower.is_level() && !follower.is_failing());
}

#[test]
fn every_receipt_is_written_once_and_in_order_through_segments_and_wraps() {
    let mut bench = Bench::new();
    bench.log(40);
    let plan = AuditPlan { max_bytes: 4000, ..bench.plan() };
    let mut follower = bench.followed(plan.clone());
    for _ in 0..9 {
        bench.log(13);
        catch_up(&mut follower);
        bench.check();
    }
    let segments = fs::read_dir(bench.dir.path().join("log")).unwrap().count();
    assert!(segments > 3, "{segments} segments");
    let files: Vec<_> =
        (1..50).map(|number| numbered(&plan.path, number)).filter(|path| path.exists()).collect();
    assert!(files.len() > 5, "{files:?}");
    for path in files.iter().chain([&plan.path]) {
        assert!(fs::metadata(path).unwrap().len() <= 4000, "{}", path.display());
    }
    // The first entry of a log is no receipt.
    assert!(bench.written()[0].contains("\"log_index\":1,\"log_origin\":\"example.com/n1\""));
    drop(follower);
    bench.log(3);
    bench.followed(AuditPlan { max_files: 2, ..plan.clone() });
    assert!(bench.receipts(AuditSelection::All).ends_with(&lines(&plan.path)));
}

#[test]
fn a_file_that_was_cut_anywhere_is_whole_again_after_the_next_start() {
    let mut bench = Bench::new();
    bench.log(9);
    bench.followed(bench.plan()).end();
    let whole = fs::read(bench.path()).unwrap();
    let last = memchr::memrchr(b'\n', &whole[..whole.len() - 1]).unwrap();
    let some = (0..whole.len()).step_by(97).filter(|cut| *cut > 600);
    for cut in some.chain(last - 2..last + 20).chain(whole.len() - 3..=whole.len()) {
        fs::write(bench.path(), &whole[..cut]).unwrap();
        bench.followed(bench.plan());
        bench.check();
    }
    // What lost its power may end in zeros.
    fs::write(bench.path(), [&whole[..=last], &[0; 100]].concat()).unwrap();
    bench.followed(bench.plan());
    bench.check();
}

#[test]
fn a_log_that_is_opened_again_goes_on_in_the_same_file() {
    let mut bench = Bench::new();
    for round in 0..6 {
        bench.log(11 + round);
        let mut follower = bench.follower(bench.plan()).unwrap();
        follower.turn(later());
        // As a kill does it: nothing is told to the follower.
        drop(follower);
        bench.log(5);
        bench.log = None;
        bench.log = Some(open(bench.dir.path(), "example.com/n1"));
    }
    bench.followed(bench.plan());
    bench.check();
}

#[test]
fn a_file_that_is_another_ones_is_refused() {
    let mut bench = Bench::new();
    bench.log(9);
    bench.followed(bench.plan()).end();
    let own = lines(&bench.path());
    let refused = |text: String| {
        fs::write(bench.path(), text).unwrap();
        let error = bench.follower(bench.plan()).unwrap_err();
        assert!(!error.passes() && !error.hint().is_empty());
        error
    };
    let until = |count: usize, change: &dyn Fn(&str) -> String| {
        let mut kept: Vec<String> = own[..count].to_vec();
        let last = kept.pop().unwrap();
        kept.push(change(&last));
        kept.join("\n") + "\n"
    };
    let differs = refused(until(4, &|last| last.replace("reason\\\"", "season\\\"")));
    assert!(matches!(differs, AuditError::Differs { log_index: 4, .. }), "{differs}");
    let other = refused(until(4, &|last| last.replace("example.com/n1", "example.com/n2")));
    assert!(matches!(&other, AuditError::OtherLog { found, .. } if found == "example.com/n2"), "{other}");
    let ahead = refused(until(9, &|last| last.replace("\"log_index\":9", "\"log_index\":10")));
    assert!(matches!(ahead, AuditError::Ahead { log_index: 10, size: 10, .. }), "{ahead}");
    for foreign in ["{\"ts\":\"2026-11-28T16:49:07Z\"}\n".to_owned(), "notes".to_owned(), "x".repeat(3 << 20)]
    {
        assert!(matches!(refused(foreign), AuditError::NotReceipts { .. }));
    }
    // The log of a different node at the same index.
    fs::write(bench.path(), own.join("\n") + "\n").unwrap();
    fs::remove_dir_all(bench.dir.path().join("log")).unwrap();
    bench.log = Some(open(bench.dir.path(), "example.com/n1"));
    bench.seq = 0;
    bench.log(20);
    let error = bench.follower(bench.plan()).unwrap_err();
    assert!(matches!(error, AuditError::Differs { log_index: 9, .. }), "salts differ: {error}");
}

#[test]
fn what_somebody_cuts_off_while_the_node_runs_is_written_again() {
    let mut bench = Bench::new();
    bench.log(9);
    let mut follower = bench.followed(bench.plan());
    let whole = fs::read(bench.path()).unwrap();
    for cut in [whole.len() - 1, whole.len() - 700, 900] {
        fs::OpenOptions::new().write(true).open(bench.path()).unwrap().set_len(cut as u64).unwrap();
        bench.log(1);
        catch_up(&mut follower);
        bench.check();
    }
    // A second start looks at it and leaves it as it is.
    let torn = [fs::read(bench.path()).unwrap(), b"{\"action_id\":nu".to_vec()].concat();
    fs::write(bench.path(), &torn).unwrap();
    AuditFile::new(bench.plan()).check().unwrap();
    assert_eq!(fs::read(bench.path()).unwrap(), torn);
}

#[test]
fn a_second_writer_is_noticed() {
    let mut bench = Bench::new();
    bench.log(5);
    let mut follower = bench.followed(bench.plan());
    bench.log(5);
    bench.followed(bench.plan());
    assert!(!follower.turn(later()));
    assert!(follower.is_failing());
    bench.check();
}

#[test]
fn what_cannot_be_written_is_written_later() {
    let mut bench = Bench::new();
    bench.log(5);
    let mut follower = bench.followed(bench.plan());
    let (plan, dir, away) = (bench.plan(), bench.dir.path().join("audit"), bench.dir.path().join("away"));
    fs::rename(&dir, &away).unwrap();
    bench.log(5);
    let now = clock::now();
    assert!(!follower.turn(now) && follower.is_failing());
    assert!(!follower.turn(now), "it waits before it tries again");
    let lag = AuditLag::new(bench.size.clone(), std::slice::from_ref(&follower));
    assert_eq!(lag.receipts(), 5);
    fs::rename(&away, &dir).unwrap();
    catch_up(&mut follower);
    bench.check();
    assert_eq!(lag.receipts(), 0);
    // A start finds it as it is, and does not wait for it.
    fs::rename(&dir, &away).unwrap();
    drop(follower);
    let reader = bench.log.as_ref().unwrap().reader();
    let data_dir: (Arc<dyn Disk>, &Path) = (Arc::new(RealDisk), bench.dir.path());
    let mut follower = AuditFollower::new(plan, reader, bench.size.clone(), data_dir);
    follower.resume().unwrap();
    assert!(!follower.turn(clock::now()) && follower.is_failing());
    fs::rename(&away, &dir).unwrap();
    catch_up(&mut follower);
    bench.check();
}

#[test]
fn a_file_that_was_moved_away_is_not_written_again() {
    let mut bench = Bench::new();
    bench.log(7);
    let mut follower = bench.followed(bench.plan());
    let (path, first) = (bench.path(), bench.dir.path().join("first"));
    // While the node runs, as logrotate does it.
    fs::rename(&path, &first).unwrap();
    bench.log(4);
    catch_up(&mut follower);
    assert_eq!([lines(&first), lines(&path)].concat(), bench.receipts(AuditSelection::All));
    // While it does not.
    follower.end();
    drop(follower);
    let second = bench.dir.path().join("second");
    fs::rename(&path, &second).unwrap();
    bench.log(3);
    let mut follower = bench.followed(bench.plan());
    assert_eq!([lines(&first), lines(&second), lines(&path)].concat(), bench.receipts(AuditSelection::All));
    // What is cut to nothing, as by `copytruncate`, goes on, too.
    fs::write(&path, "").unwrap();
    bench.log(2);
    catch_up(&mut follower);
    assert_eq!(lines(&path), bench.receipts(AuditSelection::All)[14..]);
    // Without the file and what is kept of it, it begins anew.
    drop(follower);
    fs::remove_file(&path).unwrap();
    for entry in fs::read_dir(bench.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "position") {
            fs::remove_file(path).unwrap();
        }
    }
    bench.followed(bench.plan());
    bench.check();
}

#[test]
fn a_kill_between_a_wrap_and_the_next_line_loses_and_doubles_nothing() {
    let mut bench = Bench::new();
    bench.log(7);
    let plan = AuditPlan { max_bytes: 4000, ..bench.plan() };
    bench.followed(plan.clone());
    // What is kept may be older than the file.
    for entry in fs::read_dir(bench.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "position") {
            fs::remove_file(path).unwrap();
        }
    }
    crate::disk::wrap(&plan.path, plan.max_files).unwrap();
    bench.log(9);
    bench.followed(plan);
    bench.check();
}

#[test]
fn acts_alone_are_written_where_that_is_asked_for() {
    let mut bench = Bench::new();
    bench.log(33);
    let plan = AuditPlan { selection: AuditSelection::Acts, ..bench.plan() };
    bench.followed(plan.clone()).end();
    bench.log(40);
    bench.followed(plan);
    let acts = bench.receipts(AuditSelection::Acts);
    assert_eq!(bench.written(), acts);
    assert!(acts.len() > 10 && acts.len() < 60, "{}", acts.len());
    assert!(acts.iter().all(|line| !line.contains("\"observed\"")));
}

#[test]
fn what_the_log_has_no_longer_is_left_out() {
    let mut bench = Bench::new();
    bench.log(120);
    bench.log = None;
    let segments = bench.dir.path().join("log");
    fs::remove_file(segments.join("0000000000000000.log")).unwrap();
    bench.log = Some(open(bench.dir.path(), "example.com/n1"));
    bench.followed(bench.plan());
    let (begins, size) = bench.log.as_ref().unwrap().reader().entries();
    let written = bench.written();
    assert!(begins > 1 && written[0].contains(&format!("\"log_index\":{begins},")), "{}", written[0]);
    assert_eq!(written.len() as u64, size - begins);
}
