//! A batch is one unit.

use super::*;
use crate::limits::BATCH_SIGNALS_MAX;

fn batch(text: &str, form: Form<'_>) -> Result<Vec<Signal>, Unfit> {
    match parse(Verified::assumed(Bytes::copy_from_slice(text.as_bytes())), form, &fixed())? {
        Signals::Batch(signals) => Ok(signals),
        Signals::One(_) => panic!("a batch is no single signal"),
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| with("").replace("s-1", &format!("s-{n}"))).collect()
}

#[test]
fn each_item_keeps_its_own_text() {
    let items = numbered(3);
    let array = format!(" [ {} ,\n{}\t,{}] \r\n", items[0], items[1], items[2]);
    let lines = format!("{}\n{}\r\n{}", items[0], items[1], items[2]);
    for (text, form) in [(array, Form::Batch), (lines, Form::Lines)] {
        let signals = batch(&text, form).unwrap();
        assert_eq!(signals.len(), 3);
        for (signal, item) in signals.iter().zip(&items) {
            let alone = one(item.as_bytes(), &fixed()).unwrap();
            assert_eq!((&signal.body()[..], signal.id()), (item.as_bytes(), alone.id()));
            assert_eq!((signal.identity, signal.digest), (alone.identity, alone.digest));
            assert!(matches!(signal.texts()[0], Text::Span { .. }));
        }
    }
}

#[test]
fn one_wrong_item_refuses_all_and_is_named_by_its_place() {
    let mut items = numbered(5);
    items[2] = with("").replace("acme", "ACME");
    items[4] = with(r#""severity":"fatal""#);
    for (text, form) in [(format!("[{}]", items.join(",")), Form::Batch), (items.join("\n"), Form::Lines)] {
        let unfit = batch(&text, form).unwrap_err();
        let expected = [(2, &illegal("tenant", Rule::Name, 4)), (4, &Reason::Severity)];
        assert_eq!(unfit.items().collect::<Vec<_>>(), expected);
        assert_eq!(unfit.status(), 422);
        assert_eq!(unfit.to_string(), "some items are no signals; nothing was taken");
    }
}

#[test]
fn an_answer_lists_a_bounded_number_of_items() {
    let text = format!("[{}]", vec!["{}"; 100].join(","));
    let unfit = batch(&text, Form::Batch).unwrap_err();
    let places: Vec<usize> = unfit.items().map(|(index, _)| index).collect();
    assert_eq!(places, (0..Unfit::ITEMS_MAX).collect::<Vec<_>>());
}

#[test]
fn a_batch_has_between_one_and_a_thousand_signals() {
    for text in ["[]", " [ ] "] {
        assert_eq!(batch(text, Form::Batch).unwrap_err(), Unfit::Empty);
    }
    assert_eq!(batch("", Form::Lines).unwrap_err(), Unfit::Empty);
    let array = |count| format!("[{}]", numbered(count).join(","));
    assert_eq!(batch(&array(BATCH_SIGNALS_MAX), Form::Batch).unwrap().len(), BATCH_SIGNALS_MAX);
    let lines = numbered(BATCH_SIGNALS_MAX).join("\n") + "\n";
    assert_eq!(batch(&lines, Form::Lines).unwrap().len(), BATCH_SIGNALS_MAX);
    assert_eq!(batch(&array(BATCH_SIGNALS_MAX + 1), Form::Batch).unwrap_err(), Unfit::TooMany);
    assert_eq!(batch(&(lines + &with("")), Form::Lines).unwrap_err(), Unfit::TooMany);
}

#[test]
fn what_is_no_array_is_refused_as_a_whole() {
    let item = with("");
    for text in [
        String::new(),
        item.clone(),
        format!("[{item}"),
        format!("[{item},"),
        format!("[{item}]]"),
        format!("[{item}] x"),
        format!("[{item} {item}]"),
        format!("[{item};{item}]"),
        format!("\u{feff}[{item}]"),
    ] {
        let unfit = batch(&text, Form::Batch).unwrap_err();
        assert!(
            matches!(&unfit, Unfit::Frame(why) if why.starts_with("not a JSON array")),
            "{text}: {unfit:?}"
        );
        assert_eq!(unfit.status(), 400, "{text}");
    }
    for (text, index) in [
        (format!("[,{item}]"), 0),
        (format!("[{item},]"), 1),
        ("[[,]]".to_owned(), 0),
        ("[01]".to_owned(), 0),
    ] {
        let unfit = batch(&text, Form::Batch).unwrap_err();
        let items: Vec<_> = unfit.items().collect();
        assert!(matches!(&items[..], [(at, Reason::Json(_))] if *at == index), "{text}: {unfit:?}");
        assert_eq!(unfit.status(), 422);
    }
}

#[test]
fn an_unreadable_item_hides_what_stands_behind_it_but_not_before() {
    let text = format!(r#"[{{}},{{"id":}},{}]"#, with(""));
    let unfit = batch(&text, Form::Batch).unwrap_err();
    let items: Vec<_> = unfit.items().collect();
    assert!(matches!(&items[..], [(0, Reason::Missing("id")), (1, Reason::Json(_))]), "{unfit:?}");
}

#[test]
fn every_line_is_a_signal() {
    let item = with("");
    for text in [format!("\n{item}"), format!("{item}\n\n{item}"), format!("{item}\n\r\n")] {
        assert!(matches!(batch(&text, Form::Lines).unwrap_err(), Unfit::Frame(_)), "{text}");
    }
    for text in [format!("{item}{item}"), format!("{item}\n{{"), format!("{item}\n \n")] {
        let unfit = batch(&text, Form::Lines).unwrap_err();
        assert!(unfit.items().all(|(_, why)| matches!(why, Reason::Json(_))), "{text}: {unfit:?}");
    }
}

#[test]
fn each_item_has_an_allowance_of_its_own() {
    let values = vec!["0"; 6000].join(",");
    let item = with(&format!(r#""data":[{values}]"#));
    assert_eq!(batch(&format!("[{item},{item}]"), Form::Batch).unwrap().len(), 2);
}

#[test]
fn bytes_that_are_no_text_are_refused_in_every_form() {
    for form in [Form::Single, Form::Batch, Form::Lines] {
        let body = [with("").as_bytes(), b"\xff"].concat();
        let unfit = parse(Verified::assumed(body.into()), form, &fixed()).unwrap_err();
        assert_eq!((unfit.status(), unfit), (422, Unfit::NotUtf8));
    }
}
