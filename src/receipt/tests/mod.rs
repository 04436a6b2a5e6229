//! The golden files were made by another program from the same facts. Once released, a version is frozen: its receipts must
//! render to these bytes as long as anybody holds one.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use bytes::Bytes;
use proptest::prelude::*;

use super::canonical::{Fields, Logged, context, load, receipt, store};
use super::commitment::{EntryType, control_entry, receipt_entry};
use super::*;
use crate::event::JournalId;
use crate::signal::{Assurance, Provenance, Severity, Text, Unchecked};

const KEY: &[u8] = b"a receipt key of 32 bytes, enough";
const SALT: [u8; 16] = [0x5a; 16];

struct Golden {
    draft: Draft,
    json: &'static str,
    compact: &'static str,
    entry: &'static str,
}

/// A signal that a rule decided, an event without any signal, and an outcome that settled an earlier signal.
fn goldens() -> [Golden; 3] {
    [
        Golden {
            draft: decided(),
            json: include_str!("golden_v3/decided.json"),
            compact: include_str!("golden_v3/decided.hex"),
            entry: "013e0e8acb96790d0ebe9c9d927f1aa5cbf042b698ec4cacfac9afed0e8d1bbd53",
        },
        Golden {
            draft: Draft {
                gist: Gist {
                    id: ReceiptId { seq: Seq(7), ordinal: 0 },
                    time: UnixMillis(1_700_000_000_000),
                    kind: ReceiptType::BootstrapTimeout,
                    before: StateName::Boot,
                    after: StateName::Halted,
                    success: false,
                    ..SETTLED
                },
                ..settled(None)
            },
            json: include_str!("golden_v3/bare.json"),
            compact: include_str!("golden_v3/bare.hex"),
            entry: "01c05b3be997bb515215d746c4d7064a70cd1add874209086fe7417d648b67dbbb",
        },
        Golden {
            draft: Draft {
                gist: Gist {
                    action: Some(ActionId { journal: JOURNAL, seq: Seq(9) }),
                    signal_seq: Some(Seq(9)),
                    ..SETTLED
                },
                ..settled(Some(Earlier { id: "s-9".into(), hash: signal().hash() }))
            },
            json: include_str!("golden_v3/settled.json"),
            compact: include_str!("golden_v3/settled.hex"),
            entry: "01a00a680541ecd1faf2e0a9b568d718c8db4d76318ae015de23d47118b8c11db0",
        },
    ]
}

const JOURNAL: JournalId = JournalId(0x0123_4567_89ab_cdef);

fn signal() -> Signal {
    let body = Bytes::from_static(br#"{"id":"s-1","tenant":"acme","sku":"vm","type":"cost.usage"}"#);
    Unchecked {
        id: Text::Span { at: 7, len: 3 },
        tenant: Text::Span { at: 22, len: 4 },
        sku: Text::Owned("vm".into()),
        kind: Text::Span { at: 47, len: 10 },
        severity: Severity::Info,
        provenance: Provenance::intern("signals", "k1", Assurance::B).unwrap(),
        digest: 42,
        body,
    }
    .check()
    .unwrap()
}

fn decided() -> Draft {
    let mut content_hash = [0; 32];
    content_hash.iter_mut().zip(0..).for_each(|(byte, n)| *byte = n);
    Draft {
        gist: Gist {
            id: ReceiptId { seq: Seq(42), ordinal: 1 },
            time: UnixMillis(1_700_000_000_123),
            kind: ReceiptType::ActionGenerated,
            before: StateName::Stable,
            after: StateName::ActionPending,
            success: true,
            action: Some(ActionId { journal: JOURNAL, seq: Seq(42) }),
            signal_seq: Some(Seq(42)),
        },
        policy: Some(Arc::new(Policy {
            pack: "cost_governance".into(),
            rule: "budget-80".into(),
            content_hash,
        })),
        facts: Some(r#"{"memory.spend_24h":81.25,"signal.data.spend":81}"#.into()),
        reason: Some("80 % of \"budget\" \\ spent\n\t\u{1} é 😀".into()),
        about: About::Signal(signal()),
    }
}

const SETTLED: Gist = Gist {
    id: ReceiptId { seq: Seq(11), ordinal: 0 },
    time: UnixMillis(1_700_000_000_001),
    kind: ReceiptType::ActionSuccessful,
    before: StateName::ActionPending,
    after: StateName::Stable,
    success: true,
    action: None,
    signal_seq: None,
};

fn settled(signal: Option<Earlier>) -> Draft {
    let about = About::Governor { tenant: "acme".into(), sku: "vm".into(), signal, trace: None };
    Draft { gist: SETTLED, policy: None, facts: None, reason: None, about }
}

fn hex(bytes: &[u8]) -> String {
    faster_hex::hex_string(bytes)
}

/// Hash, HMAC and the whole receipt.
fn served(fields: &Fields<'_>) -> ([u8; 32], [u8; 32], String) {
    let mut bytes = Vec::new();
    context(fields, &mut bytes);
    let hash: [u8; 32] = digest(&SHA256, &bytes).as_ref().try_into().unwrap();
    let signature: [u8; 32] =
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), &hash).as_ref().try_into().unwrap();
    let logged = Logged {
        hash: &hash,
        signature: &signature,
        salt: &SALT,
        key_id: "0011223344556677",
        log_index: 5,
        log_origin: "gemba.local/dev",
    };
    bytes.clear();
    receipt(fields, &logged, &mut bytes);
    (hash, signature, String::from_utf8(bytes).unwrap())
}

#[test]
fn receipts_render_as_pinned() {
    for golden in goldens() {
        let fields = Fields::from(&golden.draft);
        let (hash, signature, text) = served(&fields);
        assert_eq!(text, golden.json);
        assert_eq!(hex(&receipt_entry(&SALT, &hash, &signature)), golden.entry);
        let mut compact = Vec::new();
        store(&fields, &mut compact);
        assert_eq!(hex(&compact), golden.compact);
    }
}

#[test]
fn what_was_stored_renders_to_the_same_bytes() {
    for golden in goldens() {
        let mut compact = Vec::new();
        store(&Fields::from(&golden.draft), &mut compact);
        let stored = load(&compact).unwrap();
        assert_eq!(served(&stored).2, golden.json);
    }
}

#[test]
fn a_cut_or_prolonged_compact_form_is_refused() {
    for golden in goldens() {
        let mut compact = vec![0; golden.compact.len() / 2];
        faster_hex::hex_decode(golden.compact.as_bytes(), &mut compact).unwrap();
        assert!(load(&compact).is_some());
        for len in 0..compact.len() {
            assert_eq!(load(&compact[..len]), None, "{len} bytes");
        }
        compact.push(0);
        assert_eq!(load(&compact), None);
        compact.pop();
        let no_type = u8::try_from(ReceiptType::COUNT).unwrap();
        for (at, wrong) in [(0, 0), (0, 2), (0, 4), (2, 2), (3, no_type), (4, 0x60), (4, 0x06)] {
            let mut foreign = compact.clone();
            foreign[at] = wrong;
            assert_eq!(load(&foreign), None, "byte {at}: {wrong}");
        }
    }
}

#[test]
fn the_commitment_is_the_documented_hash() {
    let bytes: Vec<u8> = (0..64).collect();
    let part = |from: usize| bytes[from..from + 32].try_into().unwrap();
    let entry = receipt_entry(bytes[..16].try_into().unwrap(), &part(0), &part(32));
    assert_eq!(hex(&entry), "016e5ed2a4293207265e617abde25651d18de721f59ac49af6d2d5a35d2fd47d54");
    let control = control_entry(b"genesis\ngemba.local/dev\n1700000000000\n");
    assert_eq!(hex(&control), "026b923ecd49e7c7225474c878a7d62bf947ce73dfe25669bf0a3e00f39181145f");
    assert_eq!((entry[0], control[0]), (EntryType::Receipt as u8, EntryType::Control as u8));
}

#[test]
fn every_part_of_a_receipt_changes_its_commitment() {
    let (salt, hash, signature) = ([1; 16], [2; 32], [3; 32]);
    let entry = receipt_entry(&salt, &hash, &signature);
    for bit in 0..8 * 80 {
        let (mut salt, mut hash, mut signature) = (salt, hash, signature);
        let (byte, flipped) = (bit / 8, 1 << (bit % 8));
        match byte {
            0..16 => salt[byte] ^= flipped,
            16..48 => hash[byte - 16] ^= flipped,
            _ => signature[byte - 48] ^= flipped,
        }
        assert_ne!(receipt_entry(&salt, &hash, &signature), entry, "bit {bit}");
    }
}

#[test]
fn numbers_of_types_and_states_are_those_of_the_stored_form() {
    for (number, kind) in ReceiptType::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, number, "{kind:?}");
    }
    for (number, state) in StateName::ALL.into_iter().enumerate() {
        assert_eq!(state as usize, number, "{state:?}");
    }
}

proptest! {
    #[test]
    fn a_receipt_id_reads_as_it_is_written(seq: u64, ordinal: u8) {
        let id = ReceiptId { seq: Seq(seq), ordinal };
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(id.to_string().to_uppercase().parse::<ReceiptId>(), Err(NotAReceiptId));
    }

    #[test]
    fn a_receipt_id_has_one_spelling(text in "r?-?[0-9a-fA-F+]{15,17}-?[0-9a-f+]{1,3}") {
        if let Ok(id) = text.parse::<ReceiptId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}
