//! Rules that alert: what a pack may say of it, what is raised with a decision, and when it is over.

use super::super::alert::Firing;
use super::*;
use crate::alert::Importance;
use crate::limits::REASON_BYTES_MAX;

/// The rule `a` with an alert, on signals of type `t`.
fn alerting(when: &str, keys: &str) -> String {
    rule("a", "\"t\"", when, "deny") + keys + "\n"
}

fn pack(rules: &str) -> String {
    format!("name = \"p\"\n{rules}")
}

/// What is decided, with the alert and what is over, where these alerts are open.
fn told(rules: &Rules, open: &[&str], kind: &str, data: &str) -> (String, Option<Firing>, Vec<String>) {
    let open: Vec<Box<str>> = open.iter().map(|name| (*name).into()).collect();
    let signal = signal("acme", kind, data, Assurance::B);
    let question = Question { open: &open, ..question(&signal, 12) };
    let mut room = Room::default();
    let decided = match rules.policies.of("acme").decide(&question, &mut None, &mut room) {
        Ok(Decision::Observe(None)) => "observe".to_owned(),
        Ok(Decision::Observe(Some(ruling)) | Decision::Deny(ruling) | Decision::Act(ruling, _)) => {
            ruling.policy.rule.to_string()
        }
        Err(unfit) => unfit.detail.to_string(),
    };
    let over = room.resolved.drain(..).map(|policy| policy.rule.to_string()).collect();
    (decided, room.alert.take(), over)
}

fn message(keys: &str, data: &str) -> String {
    let rules = rules(&[&pack(&alerting("true", keys))]);
    let (decided, alert, _) = told(&rules, &[], "t", data);
    assert_eq!(decided, "a", "no message changes the decision");
    alert.unwrap().message.to_string()
}

#[test]
fn a_rule_that_decides_raises_its_alert_whatever_it_decides() {
    for verdict in ["act", "deny", "observe"] {
        let keys = "alert = \"critical\"\nresolve_after_minutes = 60\nowner = \"signal.data.owner\"\n";
        let rules = rules(&[&pack(&(rule("a", "\"t\"", "signal.data.x > 1.0", verdict) + keys))]);
        let (decided, alert, _) = told(&rules, &[], "t", r#"{"x":2,"owner":"storage"}"#);
        let alert = alert.unwrap();
        assert_eq!((&*decided, &*alert.policy.rule, alert.importance), ("a", "a", Importance::Critical));
        assert_eq!((&*alert.message, alert.owner.as_deref(), alert.minutes), ("r", Some("storage"), 60));
        assert_eq!(told(&rules, &[], "t", r#"{"x":1}"#), ("observe".into(), None, vec![]));
    }
}

#[test]
fn a_message_has_values_of_the_signal_the_governor_and_memories() {
    let keys = "alert = \"info\"\nmessage = \"signal.tenant + ': ' + string(signal.data.spend) + ' EUR, ' + string(memory.others)\"\n";
    let memory = "[memory]\nothers = { kind = \"count\", types = [\"u\"], window_seconds = 86400 }\n";
    let rules = rules(&[&pack(&(memory.to_owned() + &alerting("true", keys)))]);
    let mut kept = None;
    for (kind, expected) in [("u", None), ("u", None), ("t", Some("acme: 12.5 EUR, 2"))] {
        let signal = signal("acme", kind, r#"{"spend":12.5}"#, Assurance::B);
        let mut room = Room::default();
        rules.policies.of("acme").decide(&question(&signal, 12), &mut kept, &mut room).unwrap();
        assert_eq!(room.alert.map(|alert| alert.message.to_string()).as_deref(), expected);
    }
}

#[test]
fn a_message_that_cannot_be_made_is_the_reason_and_says_why() {
    let said = |message: &str| format!("alert = \"info\"\nmessage = '{message}'\nowner = 'signal.data.gone'");
    assert_eq!(
        message(&said("signal.data.gone"), "{}"),
        "r: the message could not be made: `signal.data.gone` is not there"
    );
    let hidden = message(&said("signal.data.x + \"\""), r#"{"x":["secret"]}"#);
    assert!(
        hidden.starts_with("r: the message could not be made: ") && !hidden.contains("secret"),
        "{hidden}"
    );
    assert_eq!(
        message(&said("signal.data.x"), r#"{"x":" \n"}"#),
        "r: the message could not be made: it is empty"
    );
    let long = format!(r#"{{"x":[{}]}}"#, vec!["1"; 12_000].join(","));
    assert_eq!(
        message(&said("signal.data.x.exists(each, each == 2.0) ? \"two\" : \"one\""), &long),
        "r: the message could not be made: the evaluation takes too many steps"
    );
}

#[test]
fn steps_of_an_alert_are_not_those_of_rules_and_memories() {
    // Both packs count the signal; the alert of the first has used up all its steps by then.
    let long = format!(r#"{{"x":[{}]}}"#, vec!["1"; 12_000].join(","));
    let keys = "alert = \"info\"\nmessage = 'signal.data.x.exists(each, each == 2.0) ? \"two\" : \"one\"'";
    let one = pack(&alerting("true", keys));
    let two = "name = \"q\"\n[memory]\nn = { kind = \"sum\", of = \"1.0 + 1.0\", types = [\"t\"], window_seconds = 60 }\n";
    let rules = rules(&[&one, two]);
    let (decided, alert, _) = told(&rules, &[], "t", &long);
    assert_eq!(decided, "a");
    assert!(alert.unwrap().message.ends_with("too many steps"));
}

#[test]
fn a_message_is_one_line_and_bounded_whatever_a_sender_writes() {
    let keys = "alert = \"info\"\nmessage = 'signal.data.x'\nowner = 'signal.data.x'";
    assert_eq!(
        message(keys, r#"{"x":"all is well\r\n[CRITICAL] not\u001b[2J"}"#),
        "all is well  [CRITICAL] not [2J"
    );
    // What turns the text around it is no text, and an owner of such characters alone is none.
    assert_eq!(message(keys, r#"{"x":"a\u202eb\u2066"}"#), "a b");
    let rules_of = rules(&[&pack(&alerting("true", keys))]);
    let owner = |data: &str| told(&rules_of, &[], "t", data).1.and_then(|alert| alert.owner);
    assert_eq!(owner(r#"{"x":"ann\u202e"}"#).as_deref(), Some("ann"));
    assert_eq!(owner(r#"{"x":"\u202e \u2028"}"#), None);
    let long = message(keys, &format!(r#"{{"x":"{}"}}"#, "é".repeat(5_000)));
    assert!(long.len() <= REASON_BYTES_MAX && long.ends_with("é…"), "{}", long.len());
    let rules = rules(&[&pack(&alerting("true", keys))]);
    let (_, alert, _) = told(&rules, &[], "t", &format!(r#"{{"x":"{}"}}"#, "é".repeat(5_000)));
    assert_eq!(alert.unwrap().owner.as_deref(), Some(&*long));
}

#[test]
fn an_open_alert_is_over_when_its_resolve_holds_also_where_another_rule_decides() {
    let first = rule("first", "\"t\"", "has(signal.data.first)", "deny");
    let a = alerting(
        "signal.data.x > 5.0",
        "alert = \"warning\"\nresolve = 'signal.data.x < 3.0 && signal.data.done'",
    );
    let other = "name = \"other\"\n".to_owned() + &rule("o", "", "has(signal.data.first)", "deny");
    let rules = rules(&[&other, &pack(&(first + &a))]);
    let over = |open: &[&str], kind: &str, data: &str| told(&rules, open, kind, data).2;
    let done = r#"{"x":1,"done":true}"#;
    assert_eq!(over(&["p/a"], "t", done), ["a"]);
    assert_eq!(over(&["q/b", "p/a"], "t", done), ["a"]);
    assert_eq!(over(&[], "t", done), [""; 0], "none is open");
    assert_eq!(over(&["q/a", "p/b"], "t", done), [""; 0], "others are open");
    assert_eq!(over(&["p/a"], "u", done), [""; 0], "another type");
    assert_eq!(over(&["p/a"], "t", r#"{"x":1}"#), [""; 0], "what fails does not hold");
    assert_eq!(over(&["p/a"], "t", r#"{"x":4,"done":true}"#), [""; 0]);
    let decided_by_another = told(&rules, &["p/a"], "t", r#"{"x":1,"done":true,"first":1}"#);
    assert_eq!(decided_by_another, ("o".into(), None, vec!["a".into()]));
}

#[test]
fn what_fires_in_the_same_signal_is_not_over() {
    let rules = rules(&[&pack(&alerting("signal.data.x > 5.0", "alert = \"warning\"\nresolve = 'true'"))]);
    let (_, alert, over) = told(&rules, &["p/a"], "t", r#"{"x":6}"#);
    assert!(alert.is_some() && over.is_empty(), "{over:?}");
    assert_eq!(told(&rules, &["p/a"], "t", r#"{"x":5}"#).2, ["a"]);
}

#[test]
fn a_signal_that_does_not_fit_raises_and_resolves_nothing() {
    let first = alerting("signal.data.x > 5.0", "alert = \"warning\"\nresolve = 'true'");
    let counts = "name = \"q\"\n[memory]\nn = { kind = \"sum\", of = \"signal.data.n\", types = [\"t\"], window_seconds = 60 }\n";
    let rules = rules(&[&pack(&first), counts]);
    for data in [r#"{"x":6}"#, r#"{"x":1}"#] {
        let (decided, alert, over) = told(&rules, &["p/a"], "t", data);
        assert!(decided.starts_with("q/memory.n: "), "{decided}");
        assert!(alert.is_none() && over.is_empty());
    }
}

#[test]
fn an_alert_can_be_over_by_a_signal_beyond_the_quota() {
    let memory = "[memory]\nn = { kind = \"count\", types = [\"u\"], window_seconds = 86400 }\n";
    let a = alerting(
        "false",
        "alert = \"warning\"\nresolve = 'memory.n == 0.0 && governor.quota_remaining == 7.0'",
    );
    let rules = rules(&[&pack(&(memory.to_owned() + &a))]);
    let open = ["p/a".into()];
    let signal = signal("acme", "t", "{}", Assurance::B);
    let (mut kept, mut room) = (None, Room::default());
    let question = Question { open: &open, ..question(&signal, 12) };
    rules.policies.of("acme").remember(&question, &mut kept, &mut room).unwrap();
    assert_eq!(room.resolved.len(), 1);
    assert!(room.alert.is_none() && kept.is_none());
}

#[test]
fn what_is_wrong_with_an_alert_is_told_with_its_place() {
    let a = |keys: &str| pack(&alerting("true", keys));
    for (keys, what, hint) in [
        ("message = \"signal.id\"", "p.toml:8:12: `message` is for rules with `alert`", "`alert = \"info\"`"),
        ("owner = \"signal.id\"", "p.toml:8:10: `owner` is for rules with `alert`", "`alert"),
        ("resolve = \"true\"", "p.toml:8:12: `resolve` is for rules with `alert`", "`alert"),
        ("resolve_after_minutes = 5", "p.toml:8: `resolve_after_minutes` is", "`alert"),
        ("alert = \"warn\"", "p.toml:8: `warn` is not a value of `rule.alert`", "`warning`"),
        (
            "alert = \"info\"\nresolve = \"true\"\nresolve_after_minutes = 5",
            "p.toml:10: the alert has a `resolve` already",
            "keep one of `resolve` and `resolve_after_minutes`",
        ),
        (
            "alert = \"info\"\nresolve_after_minutes = 0",
            "p.toml:9: `rule.resolve_after_minutes` must be ",
            "",
        ),
        (
            "alert = \"info\"\nresolve_after_minutes = 43201",
            "p.toml:9: `rule.resolve_after_minutes` must be ",
            "",
        ),
        ("alert = \"info\"\nmessage = \"signal.id == 'x'\"", "p.toml:9:", ""),
        ("alert = \"info\"\nowner = \"signal.ownr\"", "p.toml:9:", ""),
        ("alert = \"info\"\nresolve = \"signal.id\"", "p.toml:9:", ""),
    ] {
        let (found, hinted) = complaint(&a(keys));
        assert!(found.starts_with(what), "{found:?} instead of {what:?}");
        assert!(hinted.contains(hint), "{hinted:?} instead of {hint:?} for {found}");
    }
    let example = "alert = \"info\"\n[[rule.example]]\nsignal = { type = \"t\" }\nexpect = \"deny\"\nexpect_resolved = true";
    let (found, _) = complaint(&a(example));
    assert!(found.contains("`expect_resolved` is for rules with `resolve`"), "{found}");
}

#[test]
fn examples_say_which_alert_with_which_message_and_when_it_is_over() {
    let keys = "alert = \"warning\"\nmessage = 'signal.sku + \" has \" + string(signal.data.x)'\nresolve = 'signal.data.x < 3.0'\n";
    let run = |example: &str| {
        let text = pack(&(alerting("signal.data.x > 5.0", keys) + "[[rule.example]]\n" + example));
        let trial = trial::run(&Pack::parse("p.toml", &text).map(Arc::new).unwrap());
        let wrong = |failed: &trial::FailedExample| {
            failed.outcome.alert.clone().unwrap_or_else(|| "the decision".into())
        };
        (trial.failed.first().map(wrong).unwrap_or_default(), trial.untested)
    };
    let is = |example: &str, expected: &str| assert_eq!(run(example).0, expected, "{example}");
    let six = "signal = { type = \"t\", data = { x = 6.0 } }\nexpect = \"deny\"\n";
    is(six, "");
    is(&format!("{six}expect_alert = \"warning\"\nexpect_message = \"example has 6\""), "");
    is(&format!("{six}expect_alert = \"critical\""), "expected the alert `critical`, got `warning`");
    is(&format!("{six}expect_alert = \"none\""), "expected the alert `none`, got `warning`");
    is(&format!("{six}expect_message = \"x\""), "expected the message \"x\", got \"example has 6\"");
    is(&format!("{six}expect_resolved = true"), "expected the alert to be over, and it is not over");
    let two = "signal = { type = \"t\", data = { x = 2.0 } }\nexpect = \"observe\"\n";
    is(&format!("{two}expect_alert = \"none\"\nexpect_resolved = true"), "");
    is(&format!("{two}expect_alert = \"warning\""), "expected the alert `warning`, got `none`");
    is(&format!("{two}expect_message = \"x\""), "expected the message \"x\", got no alert");
    is(&format!("{two}expect_resolved = false"), "expected the alert to be not over, and it is over");
    let sequence = |last: &str, resolved: bool| {
        format!(
            "signals = [ {{ at = \"0s\", type = \"t\", data = {{ x = 2.0 }} }}, {{ at = \"1s\", type = \"t\", data = {{ x = {last} }} }} ]\nexpect = \"observe\"\nexpect_resolved = {resolved}\n"
        )
    };
    is(&sequence("2.0", false), "");
    let untested = |example: &str| run(example).1;
    let missing = trial::Untested::Resolves("a".into());
    assert!(untested(six).contains(&missing));
    assert!(!untested(&format!("{two}expect_resolved = true")).contains(&missing));
    let text = pack(
        &(alerting("true", "alert = \"info\"\nmessage = 'signal.data.gone'\n") + "[[rule.example]]\n" + six),
    );
    let trial = trial::run(&Pack::parse("p.toml", &text).map(Arc::new).unwrap());
    assert_eq!(
        trial.failed[0].outcome.alert.as_deref(),
        Some("the message of `a` could not be made: `signal.data.gone` is not there")
    );
}
