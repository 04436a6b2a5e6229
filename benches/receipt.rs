//! What the scribe does for each receipt, and for each batch of them.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::cell::RefCell;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use gemba::andon::log::{Log, ReceiptKey, SEGMENT_BYTES};
use gemba::disk::RealDisk;
use gemba::event::{Seq, UnixMillis};
use gemba::proof::note::{LocalSigner, checkpoint};
use gemba::proof::tree::{Tree, leaf_hash};
use gemba::receipt::canonical::{Fields, context, store};
use gemba::receipt::commitment::receipt_entry;
use gemba::receipt::{About, Draft, Gist, ReceiptId, ReceiptType, StateName};
use gemba::signal::{Assurance, Provenance, Severity, Text, Unchecked};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: u64 = 1000;

fn main() {
    divan::main();
}

fn draft(n: u64) -> Draft {
    let text = format!(
        r#"{{"id":"{n:016}","tenant":"tenant-042","sku":"compute-standard","type":"cost.usage","data":{{}}}}"#
    );
    let signal = Unchecked {
        id: Text::Span { at: 7, len: 16 },
        tenant: Text::Span { at: 35, len: 10 },
        sku: Text::Span { at: 54, len: 16 },
        kind: Text::Span { at: 80, len: 10 },
        severity: Severity::Info,
        provenance: Provenance::intern("signals", "k1", Assurance::C).unwrap(),
        digest: n,
        body: text.into(),
    }
    .check()
    .unwrap();
    let gist = Gist {
        id: ReceiptId { seq: Seq(n), ordinal: 0 },
        time: UnixMillis(1_700_000_000_000 + n),
        kind: ReceiptType::Observed,
        before: StateName::Stable,
        after: StateName::Stable,
        success: true,
        action: None,
        signal_seq: Some(Seq(n)),
    };
    Draft { gist, policy: None, facts: None, reason: None, about: About::Signal(signal) }
}

#[divan::bench]
fn render_context(bencher: Bencher) {
    let draft = draft(1);
    let mut out = Vec::with_capacity(1024);
    bencher.bench_local(|| {
        out.clear();
        context(&Fields::from(black_box(&draft)), &mut out);
        out.len()
    });
}

#[divan::bench]
fn store_compact(bencher: Bencher) {
    let draft = draft(1);
    let mut out = Vec::with_capacity(1024);
    bencher.bench_local(|| {
        out.clear();
        store(&Fields::from(black_box(&draft)), &mut out);
        out.len()
    });
}

#[divan::bench]
fn render_hash_hmac_commit(bencher: Bencher) {
    let draft = draft(1);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let mut out = Vec::with_capacity(1024);
    bencher.bench_local(|| {
        out.clear();
        context(&Fields::from(black_box(&draft)), &mut out);
        let hash: [u8; 32] = digest(&SHA256, &out).as_ref().try_into().unwrap();
        let signature: [u8; 32] = hmac::sign(&key, &hash).as_ref().try_into().unwrap();
        leaf_hash(&receipt_entry(&[9; 16], &hash, &signature))
    });
}

#[divan::bench]
fn tree_append(bencher: Bencher) {
    let leaf = leaf_hash(&[7; 33]);
    let mut tree = Tree::default();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            tree.append(black_box(leaf));
        }
    });
}

#[divan::bench]
fn tree_root(bencher: Bencher) {
    let mut tree = Tree::default();
    (0u32..0xffff).for_each(|n| tree.append(leaf_hash(&n.to_be_bytes())));
    bencher.bench_local(|| black_box(&tree).root());
}

#[divan::bench]
fn sign_checkpoint(bencher: Bencher) {
    let signer = LocalSigner::new("gemba.local/dev", &[7; 32]).unwrap();
    bencher.bench_local(|| checkpoint(&signer, black_box(1_000_000), &[9; 32]));
}

fn log() -> (tempfile::TempDir, Log, Vec<Draft>) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let signer = LocalSigner::new("gemba.local/dev", &[7; 32]).unwrap();
    let key = ReceiptKey::new(b"a receipt key of 32 bytes, enough");
    let disk = Arc::new(RealDisk);
    let log = Log::open(disk, dir.path(), Box::new(signer), key, SEGMENT_BYTES, UnixMillis(1));
    (dir, log.unwrap(), (1..=BATCH).map(draft).collect())
}

/// What each receipt costs the scribe; the commits stand outside.
#[divan::bench(sample_count = 200, sample_size = 1)]
fn log_append_1000(bencher: Bencher) {
    let (_dir, log, drafts) = log();
    let log = RefCell::new(log);
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| log.borrow_mut().commit().unwrap())
        .bench_local_values(|_| {
            let mut log = log.borrow_mut();
            for draft in &drafts {
                log.append(draft).unwrap();
            }
        });
}

/// Signature, write and sync of a batch too.
#[divan::bench(sample_count = 200, sample_size = 1)]
fn log_append_1000_and_commit(bencher: Bencher) {
    let (_dir, mut log, drafts) = log();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for draft in &drafts {
            log.append(draft).unwrap();
        }
        log.commit().unwrap()
    });
}
