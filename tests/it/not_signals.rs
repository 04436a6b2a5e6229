//! Signed requests that are refused for what they say: the exact status, the reason, and nothing taken.

use std::time::{Duration, Instant};

use crate::http::{Answer, read_answer};
use crate::node::{Node, PATIENCE, signal};
use crate::wire::{Probe, assert_problem, connect, raw, send};

const JSON: &str = "application/json";
const BATCH: &str = "application/cloudevents-batch+json";
const LINES: &str = "application/x-ndjson";

fn good() -> String {
    signal("acme", "vm", "bad")
}

/// The signal with one member more.
fn with(member: &str) -> Vec<u8> {
    good().replacen('{', &format!("{{{member},"), 1).into_bytes()
}

/// The signal with `from` written as `to`.
fn instead(from: &str, to: &str) -> Vec<u8> {
    let text = good();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

fn nested(depth: usize) -> Vec<u8> {
    // The signal itself is the first level.
    with(&format!(r#""deep":{}{}"#, "[".repeat(depth - 1), "]".repeat(depth - 1)))
}

#[test]
fn what_is_no_signal_is_told_why_and_not_taken() {
    let node = Node::start();
    let mut probe = Probe::new(&node);
    let members = |count: usize| -> String {
        (0..count).map(|key| format!(r#""k{key}":0"#)).collect::<Vec<_>>().join(",")
    };
    let table: Vec<(&str, &str, Vec<u8>)> = vec![
        ("empty", "EOF", Vec::new()),
        ("no JSON", "not strict JSON", b"hello".to_vec()),
        ("half of it", "EOF", good().into_bytes()[..40].to_vec()),
        ("an array", "a signal is a JSON object, and this is an array", b"[]".to_vec()),
        ("a string", "a signal is a JSON object, and this is a string", b"\"signal\"".to_vec()),
        ("null", "a signal is a JSON object, and this is null", b"null".to_vec()),
        ("twin keys", "stands twice", with(r#""id":"bad""#)),
        ("twin keys, one escaped", "stands twice", with(r#""\u0069d":"bad""#)),
        ("twin keys in data", "stands twice", with(r#""x":{"a":1,"a":2}"#)),
        ("depth 33", "nested deeper than 32", nested(33)),
        ("depth 10,000", "nested deeper than 32", nested(10_000)),
        ("too many values", "more than 10000 values", with(&format!(r#""x":[0{}]"#, ",0".repeat(10_000)))),
        ("too many keys", "more than 1000 keys", with(&format!(r#""x":{{{}}}"#, members(1001)))),
        ("trailing bytes", "trailing characters", [good().as_bytes(), b"x"].concat()),
        ("a second signal", "trailing characters", good().repeat(2).into_bytes()),
        ("trailing NUL", "trailing characters", [good().as_bytes(), b"\0"].concat()),
        ("invalid UTF-8", "not UTF-8", [b"{\"x\":\"\xff\",", &good().as_bytes()[1..]].concat()),
        ("overlong UTF-8", "not UTF-8", [b"{\"x\":\"\xc0\xaf\",", &good().as_bytes()[1..]].concat()),
        (
            "a surrogate in UTF-8",
            "not UTF-8",
            [b"{\"x\":\"\xed\xa0\x80\",", &good().as_bytes()[1..]].concat(),
        ),
        ("BOM", "not strict JSON", [b"\xef\xbb\xbf", good().as_bytes()].concat()),
        ("lone surrogate", "not strict JSON", with(r#""x":"\ud800""#)),
        ("surrogates the wrong way", "not strict JSON", with(r#""x":"\udc00\ud800""#)),
        ("a number beyond all", "number out of range", with(r#""x":1e400"#)),
        ("NaN", "not strict JSON", with(r#""x":NaN"#)),
        ("a comment", "not strict JSON", with(r#"/* x */"x":1"#)),
        ("a comma too many", "not strict JSON", with(r#""x":[1,]"#)),
        ("a raw control byte", "control character", with("\"x\":\"\n\"")),
        ("no id", "`id` is missing", instead(r#""id":"bad","#, "")),
        ("no tenant", "`tenant` is missing", instead(r#""tenant":"acme","#, "")),
        ("no sku", "`sku` is missing", instead(r#""sku":"vm","#, "")),
        ("no type", "`type` is missing", instead(r#""type":"cost.usage","#, "")),
        ("empty id", "`id` must have", instead(r#""bad""#, r#""""#)),
        ("id of 129 bytes", "`id` must have", instead("bad", &"x".repeat(129))),
        ("id beyond ASCII", "`id` must have", instead("bad", "bäd")),
        ("id with a line end", "`id` must have", instead("bad", r"b\nad")),
        ("id is a number", "`id` must be a string, and is a number", instead(r#""bad""#, "7")),
        ("id is null", "`id` is missing", instead(r#""bad""#, "null")),
        ("null, then a value", "stands twice", with(r#""id":null"#)),
        ("capital tenant", "`tenant` must match", instead("acme", "Acme")),
        ("tenant that climbs", "`tenant` must match", instead("acme", "../acme")),
        ("tenant of 65 bytes", "`tenant` must match", instead("acme", &"a".repeat(65))),
        ("sku with a slash", "`sku` must match", instead("vm", "v/m")),
        ("empty sku", "`sku` must match", instead(r#""vm""#, r#""""#)),
        ("type of 129 bytes", "`type` must have", instead("cost.usage", &"t".repeat(129))),
        ("reserved type", "reserved", instead("cost.usage", "gemba.entitlement.active")),
        ("unknown reserved type", "reserved", instead("cost.usage", "gemba.x")),
        ("severity", "`severity` must be", with(r#""severity":"fatal""#)),
        ("time", "`time` must be", with(r#""time":"yesterday""#)),
        ("specversion", "`specversion` must be 1.0", with(r#""specversion":"0.3""#)),
        (
            "specversion is a number",
            "`specversion` must be a string, and is a number",
            with(r#""specversion":1.0"#),
        ),
        ("severity is an array", "`severity` must be a string, and is an array", with(r#""severity":[]"#)),
        ("time is an object", "`time` must be a string, and is an object", with(r#""time":{}"#)),
        ("time is true", "`time` must be a string, and is a boolean", with(r#""time":true"#)),
    ];
    for (name, why, body) in table {
        let answer = node.post(JSON, &body);
        assert_eq!(answer.status, 422, "{name}: {}", answer.text());
        assert_problem(name, &answer);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(why), "{name}: {detail}");
        assert!(answer.json().get("errors").is_none(), "{name}: only a batch has items");
        probe.nothing_was_taken(name);
    }
    assert_eq!(node.post(JSON, &nested(32)).status, 202, "depth 32 is the limit");
    probe.only_probes_are_counted(1);
}

#[test]
fn a_batch_with_one_bad_item_is_refused_whole_and_the_item_named() {
    let node = Node::start();
    let mut probe = Probe::new(&node);
    let nobody = r#"{"id":"x","tenant":"acme","type":"t"}"#;
    let table = [
        ("array", BATCH, format!("[{},{nobody},{}]", good(), signal("acme", "vm", "other"))),
        ("lines", LINES, format!("{}\n{nobody}\n{}\n", good(), signal("acme", "vm", "other"))),
    ];
    for (name, content_type, body) in table {
        let answer = node.post(content_type, body.as_bytes());
        assert_eq!(answer.status, 422, "{name}: {}", answer.text());
        assert_problem(name, &answer);
        let errors = answer.json()["errors"].clone();
        assert_eq!(errors, serde_json::json!([{"index": 1, "detail": "`sku` is missing"}]), "{name}");
        probe.nothing_was_taken(name);
        assert_eq!(node.ask("/v1/signals/acme/other").status, 404, "{name}: no other item was taken");
    }
    let many = |count: usize| (0..count).map(|n| signal("acme", "vm", &format!("m-{n}"))).collect::<Vec<_>>();
    let table: [(&str, u16, &str, String); 9] = [
        ("empty array", 422, BATCH, "[]".into()),
        ("no line", 422, LINES, String::new()),
        ("1,001 items", 422, BATCH, format!("[{}]", many(1001).join(","))),
        ("1,001 lines", 422, LINES, many(1001).join("\n")),
        ("an unreadable item", 422, BATCH, format!("[{},{{]", good())),
        ("an object, no array", 400, BATCH, good()),
        ("an array without end", 400, BATCH, format!("[{}", good())),
        ("something behind the array", 400, BATCH, format!("[{}],", good())),
        ("an empty line", 400, LINES, format!("{}\n\n{}\n", good(), signal("acme", "vm", "other"))),
    ];
    for (name, status, content_type, body) in table {
        let answer = node.post(content_type, body.as_bytes());
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert_problem(name, &answer);
        probe.nothing_was_taken(name);
    }
    probe.only_probes_are_counted(0);
}

#[test]
fn an_id_with_two_bodies_is_a_conflict_wherever_they_stand() {
    let node = Node::start();
    let mut probe = Probe::new(&node);
    let first = signal("acme", "vm", "twice");
    let second = first.replace("81.25", "81.26");
    assert_eq!(node.post(JSON, first.as_bytes()).status, 202);
    probe.skip(1);
    let conflict = |name: &str, answer: &Answer| {
        assert_eq!(answer.status, 409, "{name}: {}", answer.text());
        assert_problem(name, answer);
    };
    let answer = node.post(JSON, second.as_bytes());
    conflict("alone", &answer);
    assert!(answer.json()["detail"].as_str().unwrap().contains("seq 3"), "{}", answer.text());
    probe.nothing_was_taken("alone");

    let batch = format!("[{},{second},{}]", good(), signal("acme", "vm", "other"));
    let answer = node.post(BATCH, batch.as_bytes());
    conflict("in a batch", &answer);
    assert_eq!(answer.json()["errors"][0]["index"].as_u64(), Some(1), "{}", answer.text());
    probe.nothing_was_taken("in a batch");

    let batch = format!("[{},{}]", good(), good().replace("81.25", "1"));
    conflict("twice in one batch", &node.post(BATCH, batch.as_bytes()));
    probe.nothing_was_taken("twice in one batch");
    assert_eq!(node.ask("/v1/signals/acme/other").status, 404);
    assert_eq!(node.decided("acme", "twice")["seq"].as_u64(), Some(3), "the first stays");
    probe.only_probes_are_counted(1);
}

#[test]
fn a_spent_tenant_waits_and_its_neighbour_does_not() {
    let node = Node::start_with(&[
        ("GEMBA_RATE_LIMIT__PER_SECOND", "5"),
        ("GEMBA_RATE_LIMIT__BURST", "5"),
        ("GEMBA_INGRESS__THREADS", "1"),
    ]);
    let until = Instant::now() + PATIENCE;
    let mut accepted = 0;
    let refused = loop {
        let answer = node.post(JSON, signal("busy", "vm", &format!("b-{accepted}")).as_bytes());
        if answer.status != 202 {
            break answer;
        }
        accepted += 1;
        assert!(Instant::now() < until, "{accepted} were accepted");
    };
    assert!(accepted >= 5, "the burst is 5, {accepted} passed");
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert_problem("rate", &refused);
    let seconds: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(node.ask(&format!("/v1/signals/busy/b-{accepted}")).status, 404);

    let one_spent = format!("[{},{}]", signal("calm", "vm", "c-1"), signal("busy", "vm", "b-x"));
    let busy_again =
        node.post(BATCH, format!("[{}]", vec![signal("busy", "vm", "b-y"); 5].join(",")).as_bytes());
    assert_eq!(busy_again.status, 429, "{}", busy_again.text());
    if node.post(BATCH, one_spent.as_bytes()).status == 429 {
        assert_eq!(node.ask("/v1/signals/calm/c-1").status, 404, "a unit is refused whole");
    }
    let neighbour = node.post(JSON, signal("neighbour", "vm", "n-1").as_bytes());
    assert_eq!(neighbour.status, 202, "{}", neighbour.text());
}

#[test]
fn a_forger_is_refused_each_time_and_uses_up_no_tenants_rate() {
    let node = Node::start_with(&[
        ("GEMBA_RATE_LIMIT__PER_SECOND", "1"),
        ("GEMBA_RATE_LIMIT__BURST", "5"),
        ("GEMBA_INGRESS__THREADS", "1"),
    ]);
    let body = signal("acme", "vm", "forged");
    let length = format!("content-length: {}", body.len());
    let signature = format!("x-signature: {}", "0".repeat(64));
    let headers = [length.as_str(), "content-type: application/json", signature.as_str()];
    let forged = raw("POST /v1/signals HTTP/1.1", &headers, body.as_bytes());
    let mut socket = connect(node.ingress);
    for _ in 0..300 {
        send(&mut socket, &forged);
        let answer = read_answer(&mut socket).expect("an answer");
        assert_problem("forged", &answer);
        assert_eq!(answer.status, 401);
    }
    // The whole burst at once: one token less and it would not fit.
    let items: Vec<String> = (0..5).map(|number| signal("acme", "vm", &format!("g-{number}"))).collect();
    let burst = format!("[{}]", items.join(","));
    assert_eq!(node.post(BATCH, burst.as_bytes()).status, 202);
    assert_eq!(node.ask("/v1/signals/acme/forged").status, 404);
    let until = Instant::now() + PATIENCE;
    while node.metric("gemba_signals_total{result=\"bad_signature\"}") < 300.0 {
        assert!(Instant::now() < until, "every forgery is counted");
        std::thread::sleep(Duration::from_millis(20));
    }
}
