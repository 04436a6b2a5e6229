//! Both forms of any receipt.

use proptest::prelude::*;

use super::*;

/// The texts stay for the rest of the test.
fn fields() -> impl Strategy<Value = Fields<'static>> {
    let text = |text: String| &*text.leak();
    let texts = (".*", "[a-z]{1,8}", "[a-z]{1,8}", prop::option::of(".*"), prop::option::of(".{0,40}"));
    let numbers = (0u64..1 << 53, 0u64..1 << 53, any::<u8>(), 0usize..16, 0usize..6, 0usize..6);
    let options = (any::<bool>(), prop::option::of(0u64..1 << 53), any::<[u8; 32]>(), 0u8..16);
    (texts, numbers, options).prop_map(move |(texts, numbers, options)| {
        let (free, tenant, sku, reason, signal_id) = texts;
        let (seq, time, ordinal, kind, before, after) = numbers;
        let (success, other, content_hash, which) = options;
        let free = text(free);
        let gist = Gist {
            id: ReceiptId { seq: Seq(seq), ordinal },
            time: UnixMillis(time),
            kind: ReceiptType::ALL[kind],
            before: StateName::ALL[before],
            after: StateName::ALL[after],
            success,
            action: (which & 1 > 0)
                .then_some(ActionId { journal: JournalId(u64::from(which >> 2)), seq: Seq(time) }),
            signal_seq: other.map(Seq),
        };
        Fields {
            gist,
            policy: (which & 2 > 0).then_some(Policy { pack: free, rule: "r", content_hash }),
            facts: (which & 8 > 0)
                .then_some(r#"{"memory.spend":81.25,"signal.data.spend":9007199254740991}"#),
            reason: reason.map(text),
            signal: signal_id.map(|id| Earlier { id: text(id), hash: content_hash }),
            tenant: text(tenant),
            sku: text(sku),
            origin: (which & 4 > 0).then_some((free, "k", Assurance::B)),
        }
    })
}

proptest! {
    #[test]
    fn what_is_stored_is_read_back(stored in fields()) {
        let mut bytes = Vec::new();
        store(&stored, &mut bytes);
        prop_assert_eq!(load(&bytes), Some(stored));
    }

    #[test]
    fn both_forms_are_canonical_json_in_the_eyes_of_another(stored in fields()) {
        let logged = Logged {
            hash: &[1; 32],
            signature: &[2; 32],
            salt: &[3; 16],
            key_id: "k\u{1}",
            log_index: 7,
            log_origin: "gemba.local/dev",
        };
        let mut context_bytes = Vec::new();
        context(&stored, &mut context_bytes);
        let mut receipt_bytes = Vec::new();
        receipt(&stored, &logged, &mut receipt_bytes);
        for bytes in [context_bytes, receipt_bytes] {
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(serde_jcs::to_string(&value).unwrap(), String::from_utf8(bytes).unwrap());
        }
    }

    #[test]
    fn foreign_bytes_never_panic(bytes: Vec<u8>) {
        let _read = load(&bytes);
    }
}
