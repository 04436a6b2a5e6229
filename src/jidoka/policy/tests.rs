//! What a pack may say, what is told of one that is wrong, and what is decided.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::event::UnixMillis;
use crate::jidoka::rules::{Rules, RulesSource};
use crate::place::ConfigError;
use crate::receipt::StateName;
use crate::signal::{Assurance, Provenance, Severity, Signal, Text, Unchecked};

fn signal(tenant: &str, kind: &str, data: &str, assurance: Assurance) -> Signal {
    let body = match assurance {
        Assurance::D => data.to_owned(),
        _ => format!(
            r#"{{"id":"s","tenant":"{tenant}","sku":"vm","type":"{kind}","time":"2026-01-07T11:00:00Z","data":{data}}}"#
        ),
    };
    let own = |text: &str| Text::Owned(text.into());
    Unchecked {
        body: Bytes::from(body),
        id: own("s"),
        tenant: own(tenant),
        sku: own("vm"),
        kind: own(kind),
        severity: Severity::Warning,
        provenance: Provenance::intern("billing", "k1", assurance).unwrap(),
        digest: 0,
    }
    .check()
    .unwrap()
}

fn question(signal: &Signal, hour: u64) -> Question<'_> {
    Question {
        signal,
        // 2026-01-07, a Wednesday.
        now: UnixMillis(1_767_744_000_000 + hour * 3_600_000),
        state: StateName::Stable,
        entitled: true,
        quota_remaining: 7,
        testing: false,
        failures: 2,
        open: &[],
    }
}

fn rules(packs: &[&str]) -> Rules {
    let source = RulesSource { actions: vec!["notify".into()], ..RulesSource::default() };
    let numbered = packs.iter().enumerate();
    let source =
        numbered.fold(source, |source, (at, pack)| source.with_pack(&format!("pack-{at}.toml"), pack));
    source.compile().unwrap_or_else(|error| panic!("{error}: {:?}", error.hint))
}

/// `act b`, `deny b`, `observe b` or `observe`; of what does not fit, the detail.
fn decide(rules: &Rules, memory: &mut Option<Box<Memory>>, question: &Question<'_>) -> String {
    let by = |verdict: &str, ruling: &Ruling| format!("{verdict} {}", ruling.policy.rule);
    match rules.policies.of(question.signal.tenant()).decide(question, memory, &mut Room::default()) {
        Ok(Decision::Observe(None)) => "observe".into(),
        Ok(Decision::Observe(Some(ruling))) => by("observe", ruling),
        Ok(Decision::Deny(ruling)) => by("deny", ruling),
        Ok(Decision::Act(ruling, action)) => format!("{} {action}", by("act", ruling)),
        Err(unfit) => unfit.detail.to_string(),
    }
}

fn once(rules: &Rules, kind: &str, data: &str) -> String {
    decide(rules, &mut None, &question(&signal("acme", kind, data, Assurance::B), 12))
}

fn complaint(pack: &str) -> (String, String) {
    let wrong = |error: ConfigError| (error.to_string(), error.hint.unwrap_or_default());
    let source = RulesSource { actions: vec!["notify".into()], ..RulesSource::default() };
    source.with_pack("p.toml", pack).compile().map(|_| ()).map_err(wrong).unwrap_err()
}

fn rule(id: &str, types: &str, when: &str, decide: &str) -> String {
    let action = if decide == "act" { "action = \"notify\"\n" } else { "" };
    format!(
        "[[rule]]\nid = \"{id}\"\ntypes = [{types}]\nwhen = '{when}'\ndecide = \"{decide}\"\n{action}reason = \"r\"\n"
    )
}

#[test]
fn a_rule_that_always_holds_needs_no_example_of_the_contrary() {
    let example = "[[rule.example]]\nsignal = { type = \"t\" }\nexpect = \"deny\"\n";
    let untested = |when: &str| {
        let pack = format!("name = \"p\"\n{}{example}", rule("a", "\"t\"", when, "deny"));
        trial::run(&Pack::parse("p.toml", &pack).map(Arc::new).unwrap()).untested
    };
    assert_eq!(untested("true"), []);
    assert_eq!(untested("signal.sku != \"x\""), [trial::Untested::Passes("a".into())]);
    assert_eq!(untested("!has(signal.data.x)"), [trial::Untested::Passes("a".into())]);
}

#[test]
fn the_first_rule_that_holds_decides_in_the_order_of_packs_and_of_the_file() {
    let one = format!(
        "name = \"one\"\n{}{}",
        rule("a", "\"t\"", "signal.data.x > 5.0", "deny"),
        rule("b", "\"t\"", "signal.data.x > 2.0", "act")
    );
    let two = format!(
        "name = \"two\"\n{}{}",
        rule("c", "\"t\"", "true", "observe"),
        rule("d", "", "signal.type == \"u\"", "deny")
    );
    let rules = rules(&[&one, &two]);
    assert_eq!(once(&rules, "t", r#"{"x":6}"#), "deny a");
    assert_eq!(once(&rules, "t", r#"{"x":3}"#), "act b notify");
    assert_eq!(once(&rules, "t", r#"{"x":1}"#), "observe c");
    assert_eq!(once(&rules, "u", "{}"), "deny d", "a rule without types is tried on every type");
    assert_eq!(once(&rules, "v", "{}"), "observe");
}

#[test]
fn an_expression_that_fails_is_an_answer_of_its_own() {
    let pack = format!(
        "name = \"p\"\n{}{}",
        rule("a", "\"t\"", "signal.data.x > 5.0", "deny"),
        rule("b", "\"t\"", "true", "deny")
    );
    let rules = rules(&[&pack]);
    assert_eq!(once(&rules, "t", "{}"), "p/a: `signal.data.x` is not there");
    let detail = once(&rules, "t", r#"{"x":"secret"}"#);
    assert!(detail.starts_with("p/a: ") && !detail.contains("secret"), "{detail}");
}

#[test]
fn everything_that_may_be_asked_for_is_there() {
    let holds = [
        "signal.id == \"s\" && signal.type == \"t\" && signal.tenant == \"acme\" && signal.sku == \"vm\"",
        "signal.severity == \"warning\"",
        "signal.time == timestamp(\"2026-01-07T11:00:00Z\")",
        "signal.data.list.exists(item, item == 2.0)",
        "governor.state == \"stable\" && governor.entitled && !governor.testing",
        "governor.quota_remaining == 7.0 && governor.failures == 2.0",
        "governor.now - signal.time == duration(\"1h\") && governor.now.getDayOfWeek() == 3",
        "source.name == \"billing\" && source.key == \"k1\" && source.assurance == \"B\"",
    ];
    for when in holds {
        let pack = format!("name = \"p\"\n{}", rule("a", "\"t\"", when, "deny"));
        assert_eq!(once(&rules(&[&pack]), "t", r#"{"list":[1,2]}"#), "deny a", "{when}");
    }
    let pack =
        format!("name = \"p\"\n{}", rule("a", "\"t\"", "has(signal.time) || signal.data.x == 1.0", "deny"));
    let binary = signal("acme", "t", r#"{"x":1}"#, Assurance::D);
    assert_eq!(
        decide(&rules(&[&pack]), &mut None, &question(&binary, 12)),
        "deny a",
        "binary mode: the body is the data"
    );
    let binary = signal("acme", "t", "no json", Assurance::D);
    assert!(decide(&rules(&[&pack]), &mut None, &question(&binary, 12)).starts_with("p/*: "));
}

const MEMORIES: &str = r#"name = "m"
[memory]
sum = { kind = "sum", of = "signal.data.amount", types = ["t"], window_seconds = 86400, when = "signal.data.amount > 0.0" }
count = { kind = "count", types = ["t", "u"], window_seconds = 86400 }
mean = { kind = "mean", of = "signal.data.amount", types = ["t"], window_seconds = 86400 }
last = { kind = "last", of = "signal.data.amount", types = ["t"] }
"#;

#[test]
fn memories_count_what_was_decided_and_nothing_else() {
    let pack = format!(
        "{MEMORIES}{}{}{}",
        rule("bad", "\"t\"", "has(signal.data.bad) && signal.data.bad > 1.0", "deny"),
        rule("much", "\"t\"", "memory.sum > 25.0", "deny"),
        rule(
            "seen",
            "\"u\"",
            "memory.count == 4.0 && has(memory.last) && memory.last == 20.0 && memory.mean == 15.0",
            "deny"
        ),
    );
    let rules = rules(&[&pack]);
    let mut memory = None;
    let mut ask = |kind: &str, data: &str, hour| {
        decide(&rules, &mut memory, &question(&signal("acme", kind, data, Assurance::B), hour))
    };
    assert_eq!(ask("t", r#"{"amount":10}"#, 1), "observe");
    assert!(ask("t", r#"{"amount":100,"bad":"x"}"#, 1).starts_with("m/bad: "));
    assert_eq!(ask("t", r#"{"amount":20}"#, 2), "deny much", "10 + 20, and nothing of what did not fit");
    assert_eq!(ask("u", "{}", 3), "observe", "three so far");
    assert_eq!(ask("u", "{}", 3), "deny seen");
    assert_eq!(ask("t", r#"{"amount":20}"#, 30), "observe", "the day is over");
    assert_eq!(ask("t", r#"{"amount":1e308}"#, 30), "deny much");
    assert_eq!(
        ask("t", r#"{"amount":1e308}"#, 30),
        "m/memory.mean: it would no longer be a finite number",
        "the first by name"
    );
    assert!(ask("t", "{}", 30).starts_with("m/memory."), "what is remembered must be there");
}

#[test]
fn a_signal_beyond_the_quota_is_remembered_and_not_decided() {
    let pack = format!("{MEMORIES}{}", rule("much", "\"t\"", "memory.sum > 25.0", "deny"));
    let rules = rules(&[&pack]);
    let (mut memory, mut room) = (None, Room::default());
    let spent = signal("acme", "t", r#"{"amount":20}"#, Assurance::B);
    rules.policies.of("acme").remember(&question(&spent, 1), &mut memory, &mut room).unwrap();
    assert_eq!(decide(&rules, &mut memory, &question(&spent, 1)), "deny much");
}

#[test]
fn cells_of_packs_that_are_gone_make_room() {
    let mut memory = None;
    let spent = signal("acme", "t", r#"{"amount":20}"#, Assurance::B);
    for window in 60..160 {
        let pack = format!(
            "name = \"p\"\n[memory]\ncount = {{ kind = \"count\", types = [\"t\"], window_seconds = {window} }}\n"
        );
        decide(&rules(&[&pack]), &mut memory, &question(&spent, 1));
    }
    assert_eq!(memory.unwrap().cells(), 1);
}

#[test]
fn tenants_may_have_packs_of_their_own() {
    let pack = |name: &str| format!("name = \"{name}\"\n{}", rule(name, "\"t\"", "true", "deny"));
    let mut source = RulesSource::default().with_pack("a.toml", &pack("a")).with_pack("b.toml", &pack("b"));
    source.everyone = vec![0];
    source.tenants.insert("acme".into(), vec![1, 0]);
    let rules = source.compile().unwrap();
    assert_eq!(once(&rules, "t", "{}"), "deny b");
    let other = signal("other", "t", "{}", Assurance::B);
    assert_eq!(decide(&rules, &mut None, &question(&other, 1)), "deny a");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let cases = [
        ("name = \"p\"\n[[rules]]\n", "p.toml:2: unknown key `rules`", "the nearest valid name is `rule`"),
        ("name = \"P\"\n", "p.toml:1:9: `P` is not a name", ""),
        (
            &rule_pack("signal.dat.x > 1.0"),
            "p.toml:5:9: `when` of rule `a`: unknown name `signal.dat`",
            "`signal.data`",
        ),
        (&rule_pack("signal.data.x * 2 > 1.0"), "p.toml:5:", "2.0"),
        (&rule_pack("signal.data.x >"), "p.toml:5:", ""),
        (&rule_pack("signal.id"), "p.toml:5:15: `when` of rule `a`: the result is a string", ""),
        (&rule_pack("memory.x > 1.0"), "p.toml:5:9: ", ""),
        (
            &rule_pack("signal.time > timestamp(\"2026-01-01\")"),
            "p.toml:5:23: `when` of rule `a`: `timestamp` cannot read what it is given",
            "RFC 3339",
        ),
        (
            &rule_pack("governor.now - signal.time > duration(\"1month\")"),
            "p.toml:5:38: `when` of rule `a`: `duration` cannot read what it is given",
            "1h30m",
        ),
        (
            "name = \"p\"\n[memory]\nx = { kind = \"sum\", of = \"double(int(governor.now) / 0)\", window_seconds = 60 }\n",
            "p.toml:3:52: `of` of memory `x`: this never has a value: `/`: division by zero",
            "",
        ),
        (
            &rule_pack("true").replace("action = \"notify\"\n", ""),
            "p.toml:6:11: `action` is missing",
            "[[action]]",
        ),
        (
            &rule_pack("true").replace("notify", "notfy"),
            "p.toml:7:11: no [[action]] is named `notfy`",
            "`notify`",
        ),
        (
            &rule_pack("true").replace("\"act\"", "\"atc\""),
            "p.toml:6: `atc` is not a value of `rule.decide`",
            "`act`",
        ),
        (
            &rule_pack("true").replace("\"t\"", "\"gemba.x\""),
            "p.toml:4:11: types that begin with `gemba.`",
            "",
        ),
        (
            &(rule_pack("true") + &rule("a", "", "true", "deny")),
            "p.toml:10:7: the rule `a` is there twice",
            "",
        ),
        (
            "name = \"p\"\n[memory]\nx = { kind = \"sum\", window_seconds = 60 }\n",
            "p.toml:3:15: `of` is missing",
            "",
        ),
        (
            "name = \"p\"\n[memory]\nx = { kind = \"count\" }\n",
            "p.toml:3:15: `window_seconds` is missing",
            "",
        ),
        (
            "name = \"p\"\n[memory]\nx-y = { kind = \"count\", window_seconds = 60 }\n",
            "p.toml:3:2: `x-y` is no memory's name",
            "",
        ),
    ];
    for (pack, what, hint) in cases {
        let (found, hinted) = complaint(pack);
        assert!(found.starts_with(what), "{found:?} instead of {what:?}");
        assert!(hinted.contains(hint), "{hinted:?} instead of {hint:?} for {found}");
    }
    let several = "name = \"p\"\n[[rule]]\nid = \"a\"\ntypes = [\"t\"]\nwhen = '''\n  true &&\n  signal.dta'''\ndecide = \"deny\"\nreason = \"r\"\n";
    assert!(complaint(several).0.starts_with("p.toml:7:3: "), "{}", complaint(several).0);
}

fn rule_pack(when: &str) -> String {
    format!("name = \"p\"\n{}", rule("a", "\"t\"", when, "act"))
}

#[test]
fn rules_read_back_as_they_were_written() {
    let pack = rule_pack("true");
    let rules = rules(&[&pack]);
    let text = rules.source.to_text();
    assert_eq!(Rules::from_text(&text).unwrap().source, rules.source);
    assert!(Rules::from_text("{}").is_err());
}

#[test]
fn a_change_of_rules_leaves_a_receipt_for_each_pack_that_came_changed_or_went() {
    use crate::event::{Event, Kind, RulesText, Seq};
    let pack = |name: &str, when: &str| format!("name = \"{name}\"\n{}", rule("a", "\"t\"", when, "deny"));
    let before = rules(&[&pack("stays", "true"), &pack("changes", "true"), &pack("goes", "true")]);
    let after = rules(&[&pack("stays", "true"), &pack("changes", "false"), &pack("comes", "true")]);
    let said = RulesText::new("".into(), "root".into(), "review".into()).unwrap();
    let event = Event { seq: Seq(9), time: UnixMillis(1), kind: Kind::Rules(Arc::new(said.clone())) };
    let shown = |before: &Rules, after: &Rules| -> Vec<String> {
        let drafts = after.receipts(before, &event, &said);
        let line = |draft: &crate::receipt::Draft| {
            let pack = draft.policy.as_ref().map_or("-", |policy| &*policy.pack);
            format!(
                "{} {} {pack}: {}",
                draft.gist.id,
                draft.gist.kind.into_str(),
                draft.reason.as_deref().unwrap_or_default()
            )
        };
        drafts.iter().map(line).collect()
    };
    assert_eq!(
        shown(&before, &after),
        [
            "r-0000000000000009-00 policy_change changes: changed by root: review",
            "r-0000000000000009-01 policy_change comes: activated by root: review",
            "r-0000000000000009-02 policy_change goes: withdrawn by root: review",
        ]
    );
    let bounds = ["r-0000000000000009-00 policy_change -: bounds and assignments by root: review"];
    assert_eq!(shown(&before, &before), bounds);
}

#[test]
fn a_signal_without_data_fits_every_shipped_rule() {
    let packs = [
        include_str!("../../../config/policies/cost_governance.toml"),
        include_str!("../../../config/policies/permission_drift.toml"),
        include_str!("../../../config/policies/change_management.toml"),
        include_str!("../../../config/policies/compliance_audit.toml"),
    ];
    let rules = rules(&packs);
    let types =
        rules.policies.everyone.packs().iter().flat_map(|pack| &pack.rules).flat_map(|rule| &rule.types);
    for kind in types {
        let body = Bytes::from(format!(r#"{{"id":"s","tenant":"acme","sku":"vm","type":"{kind}"}}"#));
        let bare = Unchecked { body, ..signal("acme", kind, "{}", Assurance::B).into() }.check().unwrap();
        for signal in [
            bare,
            signal("acme", kind, "{}", Assurance::B),
            signal("acme", kind, r#"{"foreign":[1]}"#, Assurance::B),
        ] {
            assert_eq!(decide(&rules, &mut None, &question(&signal, 12)), "observe", "{kind}");
        }
    }
}

/// What the receipt of a decision shows of its facts.
fn facts_of(when: &str, memory: &str, data: &str) -> String {
    let pack = format!("name = \"p\"\n{memory}{}", rule("a", "\"t\"", when, "deny"));
    let rules = rules(&[&pack]);
    let (signal, mut room) = (signal("acme", "t", data, Assurance::B), Room::default());
    let question = question(&signal, 12);
    let decided = rules.policies.of("acme").decide(&question, &mut None, &mut room);
    assert!(matches!(decided, Ok(Decision::Deny(_))), "{when}: {decided:?}");
    room.shown.take().unwrap().into()
}

#[test]
fn what_a_rule_has_read_is_shown_as_canonical_json() {
    let memory =
        "[memory]\nsum = { kind = \"sum\", of = \"signal.data.x\", types = [\"t\"], window_seconds = 60 }\n";
    for (when, data, expected) in [
        ("true", "{}", "{}"),
        (
            "signal.data.x > 5.0 && memory.sum > 1.0 && governor.state == \"stable\"",
            r#"{"x":6.50e0,"y":1}"#,
            r#"{"governor.state":"stable","memory.sum":6.5,"signal.data.x":6.5}"#,
        ),
        (
            "signal.time < governor.now && signal.data.x == 1.0",
            r#"{"x":1}"#,
            r#"{"governor.now":"2026-01-07T12:00:00Z","signal.data.x":1,"signal.time":"2026-01-07T11:00:00Z"}"#,
        ),
        ("signal.data.x == 1.0 && !has(signal.data.gone)", r#"{"x":1}"#, r#"{"signal.data.x":1}"#),
        (
            "signal.data.x == 1.0 && signal.data.list.exists(item, item.a == \"\\u00e9\\n\")",
            r#"{"x":1, "list":[ {"b":1e2, "a":"\u00e9\n"} ]}"#,
            r#"{"signal.data.list":[{"a":"é\n","b":100}],"signal.data.x":1}"#,
        ),
        (
            "signal.data.x == 1.0 && signal.data.n == null",
            r#"{"x":1,"n":null}"#,
            r#"{"signal.data.n":null,"signal.data.x":1}"#,
        ),
    ] {
        let shown = facts_of(when, memory, &data.replace("{}", r#"{"x":0}"#));
        assert_eq!(shown, expected, "{when}");
        let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(serde_jcs::to_string(&value).unwrap(), shown);
    }
}

#[test]
fn what_is_shown_of_the_facts_is_bounded_whatever_a_sender_writes() {
    use crate::limits::{FACT_BYTES_MAX, FACTS_BYTES_MAX};
    let long = "é".repeat(100_000);
    let shown = facts_of("signal.data.x != \"\"", "", &format!(r#"{{"x":"{long}"}}"#));
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let text = value["signal.data.x"].as_str().unwrap();
    assert!(text.ends_with("é…") && text.len() <= FACT_BYTES_MAX + "…".len(), "{text}");
    // A list is cut as text; many facts are cut as a whole.
    let when = (0..30).map(|n| format!("signal.data.f{n:02} != null")).collect::<Vec<_>>().join(" && ");
    let data =
        (0..30).map(|n| format!(r#""f{n:02}":["{}"]"#, "\u{1}\\u0001".repeat(0) + &"\\u0001".repeat(300)));
    let shown = facts_of(&when, "", &format!("{{{}}}", data.collect::<Vec<_>>().join(",")));
    assert!(shown.len() <= FACTS_BYTES_MAX + 1, "{}", shown.len());
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(value["truncated"], true);
    assert_eq!(serde_jcs::to_string(&value).unwrap(), shown);
}

mod alerts;
