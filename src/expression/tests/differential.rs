//! Generated expressions over generated documents, here and in the crate.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::oracle;

/// Leaves that most often fit somewhere.
fn leaf() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "1",
        "2",
        "0",
        "-3",
        "9223372036854775807",
        "1.0",
        "2.0",
        "0.5",
        "-0.0",
        "1e308",
        "'a'",
        "'b'",
        "''",
        "'ü\\n'",
        "true",
        "false",
        "null",
        "[]",
        "{}",
        "[1, 2]",
        "['a', 'b']",
        "[1.0, 'a', null]",
        "{'a': 1}",
        "{1: 'a', true: 2}",
        "memory.spend",
        "memory.count",
        "memory.flag",
        "governor.state",
        "signal.time",
        "signal.id",
        "signal.data",
        "signal.data.a",
        "signal.data.b",
        "signal.data.a.b",
        "signal.data.c",
        "signal.data['b'].a",
        "has(signal.data.a)",
        "has(signal.data.a.b)",
        "has(signal.data)",
        "duration('1h')",
        "duration('-1.5s')",
        "timestamp('2026-01-02T03:04:05+02:00')",
        "timestamp(0)",
        "x",
        "y",
        "x.a",
        "y.b",
    ])
    .prop_map(str::to_owned)
}

/// Whole expressions; many are refused, and enough are not.
fn text() -> impl Strategy<Value = String> {
    leaf().prop_recursive(4, 24, 3, |inner| {
        let binary = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in", "&&", "||", "==",
        ]);
        let unary = prop::sample::select(vec![
            "!(_)", "-(_)", "size(_)", "int(_)", "double(_)", "string(_)", "bool(_)", "timestamp(_)", "duration(_)", "(_).a", "(_)[0]",
            "(_)['a']", "has((_).b)", "(_).size()", "(_).getHours()", "(_).getMonth('+01:00')", "(_).getSeconds()", "(_).matches('^a')",
            "[_]", "{'a': _}", "{_: 1}", "dyn(_)",
        ]);
        let twofold = prop::sample::select(vec![
            "(_).startsWith(#)", "(_).endsWith(#)", "(_).contains(#)", "(_)[#]", "(_).all(x, #)", "(_).exists(x, #)",
            "(_).exists_one(x, #)", "(_).map(x, #)", "(_).filter(x, #)", "(_).all(y, #)", "(_).exists(y, #)", "(_).map(y, #)", "[_, #]",
            "{'a': _, 'b': #}", "(_).map(x, x != null, #)",
        ]);
        prop_oneof![
            4 => (inner.clone(), binary, inner.clone()).prop_map(|(left, sign, right)| format!("({left} {sign} {right})")),
            2 => (unary, inner.clone()).prop_map(|(form, of)| form.replace('_', &of)),
            2 => (twofold, inner.clone(), inner.clone())
                .prop_map(|(form, left, right)| form.replace("exists_one", "existsOne").replace('_', &left).replace('#', &right)),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(test, yes, no)| format!("({test} ? {yes} : {no})")),
        ]
    })
}

fn document() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        prop::sample::select(vec![
            json!(0),
            json!(1),
            json!(2.0),
            json!(-3),
            json!(0.1),
            json!(1e300),
            json!(9_007_199_254_740_993_u64)
        ]),
        any::<f64>().prop_filter_map("finite", |number| serde_json::Number::from_f64(number).map(Json::from)),
        prop::sample::select(vec![
            "",
            "a",
            "b",
            "ab",
            "stable",
            "ü\n",
            "\"\\",
            "\u{1a}",
            "1h",
            "12",
            "2026-01-02T03:04:05Z"
        ])
        .prop_map(Json::from),
        ".{0,12}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[abcd]|\"|\\\\", inner, 0..4)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn same_value_or_both_an_error(text in text(), document in document()) {
        let compared = oracle::compare(&text, &document);
        prop_assert!(compared.is_ok(), "{}", compared.unwrap_err());
    }
}
