//! Texts and documents at the limits.

use std::time::{Duration, Instant};

use super::*;
use crate::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX, EXPRESSION_NODES_MAX};

fn compile(text: &str) -> Result<Expression, String> {
    Expression::compile(text, &mut names(), Type::Dyn).map_err(|wrong| wrong.what)
}

#[test]
fn source_of_a_kibibyte_and_no_more() {
    let fits = format!("'{}' == governor.state", "x".repeat(EXPRESSION_BYTES_MAX - 20));
    assert_eq!(fits.len(), EXPRESSION_BYTES_MAX);
    assert!(compile(&fits).is_ok());
    let what =
        format!("the expression has {} bytes, more than {EXPRESSION_BYTES_MAX}", EXPRESSION_BYTES_MAX + 1);
    assert_eq!(compile(&format!("{fits} ")).err(), Some(what));
}

#[test]
fn deep_texts_are_refused_and_do_not_end_the_process() {
    let deep = format!("the expression is nested deeper than {EXPRESSION_DEPTH_MAX}");
    let sum = |terms: usize| vec!["1"; terms].join("+");
    assert!(compile(&sum(EXPRESSION_DEPTH_MAX)).is_ok());
    assert_eq!(compile(&sum(EXPRESSION_DEPTH_MAX + 1)).err(), Some(deep.clone()));
    assert_eq!(compile(&sum(512)).err(), Some(deep.clone()));
    assert!(compile(&sum(2000)).is_err());
    let nested =
        |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    assert!(compile(&nested("(", ")", 60)).is_ok());
    assert_eq!(compile(&nested("[", "]", EXPRESSION_DEPTH_MAX)).err(), Some(deep.clone()));
    for text in [
        nested("(", ")", 500),
        nested("[", "]", 500),
        nested("{1:", "}", 250),
        nested("size(", ")", 170),
        nested("true?", ":1", 140),
        nested("[1].map(x,", ")", 80),
        nested("!", "", 1000),
        nested("-", "", 1000),
        nested("[", "", 1000),
        nested("(", "", 1000),
        nested("{", "", 1000),
        nested("1[", "", 500),
        nested("a.", "", 500),
        nested("1<", "", 500),
        nested("1in ", "", 250),
        nested("1*", "", 500),
        nested("a(", "", 500),
        nested("a.b(", "", 250),
        format!("a{}", "[0]".repeat(340)),
        format!("a{}", ".b()".repeat(255)),
        vec!["[1].all(x, 1)"; 70].join("||"),
        "?:".repeat(512),
        "'".repeat(1024),
        "\\".repeat(1024),
    ] {
        let begun = Instant::now();
        let _ = compile(&text);
        assert!(begun.elapsed() < Duration::from_secs(5), "{text}: {:?}", begun.elapsed());
    }
}

#[test]
fn nodes_are_bounded() {
    let terms = vec!["true"; EXPRESSION_BYTES_MAX / 6 - 1].join("||");
    assert!(compile(&terms).is_ok());
    let list = format!("[{}]", vec!["1"; 505].join(","));
    assert_eq!(
        compile(&list).err(),
        Some(format!("the expression has more than {EXPRESSION_NODES_MAX} parts"))
    );
}

#[test]
fn loops_nest_twice_and_run_out_of_steps() {
    let three = "signal.data.all(a, signal.data.all(b, signal.data.all(c, a + b + c >= 0.0)))";
    assert_eq!(compile(three).err().as_deref(), Some("more than 2 loops are inside one another"));
    let items: Vec<usize> = (0..300).collect();
    let document = serde_json::to_string(&items).unwrap();
    let begun = Instant::now();
    for text in [
        "signal.data.all(a, signal.data.all(b, a + b >= 0.0))",
        "signal.data.all(a, signal.data.all(b, signal.data[9999] == 1.0)) || true",
        "signal.data.map(a, signal.data.map(b, a + b)) == signal.data",
        "signal.data.map(a, string(signal.data[299]) + string(a) + string(a)).map(a, signal.data.map(b, a)) == []",
    ] {
        assert_eq!(run(text, &document).err(), Some(Fault::Steps), "{text}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    holds("signal.data.all(a, a >= 0.0) && signal.data.exists(a, a == 299.0)", &document);
}

#[test]
fn steps_that_are_used_up_stay_used_up() {
    let mut names = names();
    let expression = Expression::compile("true || [1, 2].all(x, x > 0)", &mut names, Type::Bool).unwrap();
    let mut steps = Steps::new(20);
    assert_eq!(expression.holds(&Facts::new(), &mut steps), Ok(true));
    let left = steps.left();
    assert!(left < 20);
    let mut steps = Steps::new(1);
    assert_eq!(expression.holds(&Facts::new(), &mut steps), Err(Fault::Steps));
    assert_eq!(steps.left(), 0);
}

#[test]
fn what_is_compared_by_the_byte_is_paid_by_the_byte() {
    let document = format!("[\"{}\"]", "x".repeat(40_000));
    holds("signal.data[0] == signal.data[0]", &document);
    let text = "signal.data.all(x, x == x && x == x && x == x && x == x && x == x && x == x && x == x && x == x && x == x)";
    assert_eq!(run(text, &document).err(), Some(Fault::Steps));
}
