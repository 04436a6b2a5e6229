//! What an operator asks afterwards: a signal's whole story, receipts by what they say, and who did what.

use std::process::Command;

use serde_json::{Value, json};

use crate::actions;
use crate::http::{Answer, exchange};
use crate::node::{Node, signal};
use crate::program::command;
use crate::signals::wait_until;
use crate::targets::{Does, Target};
use crate::wire::raw;

/// A node with an action `page` that fails at its target, and one `note` that does not.
fn node(dir: &std::path::Path, target: &Target) -> Node {
    let webhook = |name: &str| {
        let url = target.url();
        format!("[[action]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"{url}\"\nallow_private = true\n")
    };
    actions::node(dir, &[webhook("page"), webhook("note")].concat())
}

fn said(node: &Node, words: &[&str]) -> String {
    let mut command: Command = command(&node.dir);
    command.args(words).args(["--admin", &node.admin.to_string(), "--token-file", "data/admin.token"]);
    let output =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn ask_as(node: &Node, line: &str, token: &str, body: &str) -> Answer {
    let bearer = format!("authorization: Bearer {token}");
    let length = format!("content-length: {}", body.len());
    exchange(
        node.admin,
        &raw(&format!("{line} HTTP/1.1"), &[&bearer, &length, "connection: close"], body.as_bytes()),
    )
}

fn order(node: &Node, path: &str, token: &str, reason: &str) -> Value {
    let answer = ask_as(node, &format!("POST {path}"), token, &json!({"reason": reason}).to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn receipts(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["receipts"].as_array().unwrap().clone()
}

#[test]
fn a_signals_story_tells_its_rule_its_action_and_its_proof() {
    let target = Target::start(|_| Does::Answer(200));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &target);
    actions::ask_for(&node, "note", "s-1");
    actions::ended(&node, "s-1");
    let story = node.ask("/v1/signals/acme/s-1/story").json();
    assert_eq!((&story["status"], &story["source"]), (&json!("decided"), &json!("signals")), "{story}");
    let signal = &story["signal"];
    let body = r#"{"id":"s-1","tenant":"acme","sku":"s-1","type":"note","data":{"n":1.50}}"#;
    let sha256 = faster_hex::hex_string(
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes()).as_ref(),
    );
    assert_eq!(
        (&signal["sha256"], &signal["scheme"], &signal["assurance"]),
        (&json!(sha256), &json!("hmac"), &json!("C")),
        "{story}"
    );
    // The digest goes over the bytes that are shown, and anyone can compute it.
    assert_eq!((&story["body"], &story["body_bytes"]), (&json!(body), &json!(body.len())), "{story}");
    assert_eq!((&story["body_truncated"], &story["body_gone"]), (&json!(false), &Value::Null), "{story}");
    let steps = story["steps"].as_array().unwrap();
    let kinds: Vec<&str> = steps.iter().map(|step| step["receipt_type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["action_generated", "action_successful"]);
    let rule = &steps[0]["rule"];
    assert_eq!((&rule["pack"], &rule["rule"]), (&json!("test"), &json!("note")));
    assert_eq!((&rule["text"]["when"], &rule["text"]["decide"]), (&json!("true"), &json!("act")), "{rule}");
    assert_eq!(
        (&steps[0]["state_before"], &steps[0]["state_after"]),
        (&json!("stable"), &json!("action_pending"))
    );
    assert_eq!((&steps[0]["reason"], &steps[0]["who"]), (&json!("tested"), &Value::Null));
    assert_eq!(steps[0]["action_id"], steps[1]["action_id"]);
    for step in steps {
        let receipt = node.ask(&format!("/v1/receipts/{}", step["receipt_id"].as_str().unwrap())).json();
        assert_eq!((&receipt["log_index"], &receipt["timestamp"]), (&step["log_index"], &step["time"]));
    }
    let told = said(&node, &["signal", "show", "acme", "s-1"]);
    let first = "acme/s-1 from signals: decided (seq ";
    assert!(told.starts_with(first), "{told}");
    for part in [
        "verified by hmac with key",
        "rule test/note: true",
        "because tested",
        "call 1 after",
        "log index",
        &sha256,
        body,
    ] {
        assert!(told.contains(part), "no {part} in: {told}");
    }
    let printed: Value =
        serde_json::from_str(&said(&node, &["signal", "show", "acme", "s-1", "--json"])).unwrap();
    assert_eq!(printed["receipts"].as_array().unwrap().len(), 2);

    // An operator's order is a part of it, and a rule that holds no more is named without its text.
    std::fs::write(dir.path().join("pack.toml"), "name = \"test\"\n").unwrap();
    order(&node, "/v1/policy/reload", &node.secret("admin.token"), "a test");
    let story = node.ask("/v1/signals/acme/s-1/story").json();
    assert_eq!(
        (&story["steps"][0]["rule"]["rule"], &story["steps"][0]["rule"]["text"]),
        (&json!("note"), &Value::Null)
    );
    assert!(said(&node, &["signal", "show", "acme", "s-1"]).contains("its pack was changed since"));
    assert_eq!(node.ask("/v1/signals/acme/nobody/story").status, 404);
    assert_eq!(node.ask("/v1/signals/acme/s-1/story?x=1").status, 400);
}

#[test]
fn a_dead_letters_story_has_the_order_that_closed_it() {
    let target = Target::start(|_| Does::Answer(400));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &target);
    actions::ask_for(&node, "page", "s-1");
    let failed = actions::ended(&node, "s-1");
    let id = format!("d-{:016x}", failed["signal_seq"].as_u64().unwrap());
    wait_until("the case is open", || node.ask(&format!("/v1/deadletters/{id}")).status == 200);
    order(&node, &format!("/v1/deadletters/{id}/discard"), &node.secret("admin.token"), "not needed");
    wait_until("the story has the order", || {
        node.ask("/v1/signals/acme/s-1/story").json()["steps"].as_array().unwrap().len() == 3
    });
    let story = node.ask("/v1/signals/acme/s-1/story").json();
    let last = &story["steps"][2];
    assert_eq!((&last["receipt_type"], &last["who"]), (&json!("operator"), &json!("root")), "{story}");
    assert!(story["steps"][1]["reason"].as_str().unwrap().contains("400"), "{story}");
    let calls = &story["steps"][1]["facts"];
    assert_eq!((&calls["count"], &calls["calls"][0]["call"]), (&json!(1), &json!(1)), "{story}");
    assert!(calls["calls"][0]["missed"].as_str().unwrap().contains("400"), "{story}");
    assert!(said(&node, &["signal", "show", "acme", "s-1"]).contains("ordered by root"));
}

fn sha256(bytes: &[u8]) -> Value {
    json!(faster_hex::hex_string(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref()))
}

/// Of a batch, a line and a long signal the bytes are those of the signal alone; a new start reads them from the journal again.
#[test]
fn a_story_has_the_signals_bytes_as_they_stood_in_the_signed_body() {
    let target = Target::start(|_| Does::Answer(200));
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(dir.path(), &target);
    let own = |id: &str, space: &str, data: &str| {
        format!(
            "{{{space}\"id\":\"{id}\",\"tenant\":\"acme\",\"sku\":\"vm\",\"type\":\"seen\",\"data\":{data}}}"
        )
    };
    let (first, second) = (own("b-1", " ", "1.50"), own("b-2", "\t", "\"\u{fc}\\u0041\""));
    let batch = format!("[ {first} ,\n{second}]");
    assert_eq!(node.post("application/cloudevents-batch+json", batch.as_bytes()).status, 202);
    let lines = [own("l-1", "", "null"), own("l-2", "  ", "[]")];
    assert_eq!(node.post("application/x-ndjson", lines.join("\r\n ").as_bytes()).status, 202);
    let spaced = format!(" {} ", own("w-1", "", "{}"));
    let long = own("w-2", "", &format!("\"{}\"", "x".repeat(20_000)));
    for single in [&spaced, &long] {
        assert_eq!(node.post("application/json", single.as_bytes()).status, 202);
    }
    let expected =
        [("b-1", &first), ("b-2", &second), ("l-1", &lines[0]), ("l-2", &lines[1]), ("w-1", &spaced)];
    for is_again in [false, true] {
        for (id, body) in &expected {
            node.decided("acme", id);
            let story = node.ask(&format!("/v1/signals/acme/{id}/story")).json();
            assert_eq!(story["body"], json!(body), "{story}");
            assert_eq!(
                story["signal"]["sha256"],
                sha256(story["body"].as_str().unwrap().as_bytes()),
                "{story}"
            );
        }
        node.decided("acme", "w-2");
        let story = node.ask("/v1/signals/acme/w-2/story").json();
        let shown = story["body"].as_str().unwrap();
        assert_eq!((shown, &story["body_truncated"]), (&long[..16 * 1024], &json!(true)));
        assert_eq!(
            (&story["body_bytes"], &story["signal"]["sha256"]),
            (&json!(long.len()), &sha256(long.as_bytes()))
        );
        if !is_again {
            node.kill();
            node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
        }
    }
}

/// The journal gives a segment back once all in it is settled and archived, which is when more signals came than are kept in memory.
#[test]
fn a_story_says_that_the_journal_has_the_bytes_no_more_and_a_dead_letter_keeps_them() {
    let target = Target::start(|_| Does::Answer(400));
    let dir = tempfile::tempdir().unwrap();
    drop(node(dir.path(), &target));
    let variables = [
        ("GEMBA_CONFIG", "gemba.toml"),
        ("GEMBA_KANBAN__SEGMENT_MIB", "4"),
        ("GEMBA_RATE_LIMIT__PER_SECOND", "1000000"),
    ];
    let node = Node::start_in(dir.path(), &variables);
    let early = signal("acme", "vm", "early");
    assert_eq!(node.post("application/json", early.as_bytes()).status, 202);
    actions::ask_for(&node, "page", "dead");
    actions::ended(&node, "dead");
    let story = |id: &str| node.ask(&format!("/v1/signals/acme/{id}/story")).json();
    assert_eq!(story("early")["body"], json!(early));
    for batch in 0..75 {
        let lines: Vec<String> =
            (0..1000).map(|number| signal("acme", "vm", &format!("s-{batch}-{number}"))).collect();
        assert_eq!(node.post("application/x-ndjson", lines.join("\n").as_bytes()).status, 202);
    }
    wait_until("the first segment is given back", || story("early")["body"].is_null());
    let gone = story("early");
    assert!(gone["body_gone"].as_str().unwrap().contains("it keeps this one no more"), "{gone}");
    assert_eq!(
        (&gone["body_bytes"], &gone["signal"]["sha256"]),
        (&Value::Null, &sha256(early.as_bytes())),
        "{gone}"
    );
    assert!(
        said(&node, &["signal", "show", "acme", "early"]).contains("body: the journal keeps a signal until")
    );
    let kept = story("dead");
    assert_eq!(sha256(kept["body"].as_str().unwrap().as_bytes()), kept["signal"]["sha256"], "{kept}");
}

/// What an edge is asked, its peer answers and is named; what it is ordered, it does not do.
fn names_the_peer(decider: &Node, told: impl Fn(&[&str]) -> (Option<i32>, String, String)) {
    let json_of = |words: &[&str]| {
        let told = told(words);
        serde_json::from_str::<Value>(told.1.lines().next().unwrap()).unwrap_or_else(|_| panic!("{told:?}"))
    };
    let answered_by = json!({"name": "proc-1", "address": decider.admin.to_string()});
    assert_eq!(json_of(&["receipts", "list", "--tenant", "acme", "--json"])["node"], "proc-1");
    let shown = told(&["governor", "show", "acme", "s-1", "--json"]).1;
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["answered_by"], answered_by);
    // An order at the wrong node makes no second governor there.
    let order = ["governor", "halt", "acme", "s-1", "--reason", "a drill"];
    let refused = told(&order);
    let says = [
        format!("does not know the governor acme/s-1, and proc-1 at {} does", decider.admin),
        format!("gemba governor halt acme s-1 --admin {}", decider.admin),
    ];
    assert!(refused.0 == Some(1) && says.iter().all(|says| refused.2.contains(says)), "{refused:?}");
    let here = told(&[&order[..], &["--here"]].concat());
    assert!(here.0 == Some(1) && here.2.contains("this node is an edge"), "{here:?}");
}

/// An edge knows that it accepted a signal: it names the nodes that may know more, and the commands ask them. The token goes to those
/// of the own configuration alone.
#[test]
fn whichever_node_is_asked_the_one_that_knows_answers() {
    let target = Target::start(|_| Does::Answer(200));
    let dir = tempfile::tempdir().unwrap();
    let decider = node(dir.path(), &target);
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("data")).unwrap();
    let token = home.path().join("data/admin.token");
    std::fs::copy(decider.file("admin.token"), &token).unwrap();
    // A listener that would take the token, and gets nothing.
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    let plane = |address: std::net::SocketAddr| format!("http://{address}");
    let (nobody, strange) = (std::net::SocketAddr::from(([127, 0, 0, 1], 1)), stranger.local_addr().unwrap());
    let configure = |peers: &[(&str, String)]| {
        let peers = peers.iter().map(|(name, url)| format!("{{ name = \"{name}\", url = \"{url}\" }}"));
        let config = format!(
            "[node]\nname = \"edge-1\"\nprofile = \"dev\"\nrole = \"edge\"\n[rabbitmq]\nhosts = [\"127.0.0.1:1\"]\n\
             username = \"guest\"\n[admin]\npeers = [{}]\n",
            peers.collect::<Vec<_>>().join(", ")
        );
        std::fs::write(home.path().join("gemba.toml"), config).unwrap();
    };
    let known = [("edge-1", plane(strange)), ("gone", plane(nobody)), ("proc-1", plane(decider.admin))];
    configure(&[&known[..], &[("stranger", plane(strange))]].concat());
    let edge = Node::start_in(home.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    // The edge's answers name the stranger; the configuration of the commands does not.
    configure(&known);

    actions::ask_for(&decider, "note", "s-1");
    actions::ended(&decider, "s-1");
    let peers = json!([
        {"name": "gone", "url": "http://127.0.0.1:1"},
        {"name": "proc-1", "url": plane(decider.admin)},
        {"name": "stranger", "url": plane(strange)},
    ]);
    for path in [
        "/v1/signals/acme/s-1",
        "/v1/signals/acme/s-1/story",
        "/v1/governors/acme/s-1",
        "/v1/receipts",
        "/v1/audit",
    ] {
        let answer = edge.ask(path);
        assert_eq!((answer.status, &answer.json()["peers"]), (404, &peers), "{path}: {}", answer.text());
    }
    let told = |node: &Node, words: &[&str]| {
        let mut command = command(&node.dir);
        command.env("GEMBA_CONFIG", "gemba.toml").args(words).args(["--admin", &node.admin.to_string()]);
        let output = command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let story = told(&edge, &["signal", "show", "acme", "s-1"]);
    assert!(story.0 == Some(0) && story.1.contains("action_successful"), "{story:?}");
    let governor = told(&edge, &["governor", "show", "acme", "s-1"]);
    let by = format!("answered by proc-1 at {}", decider.admin);
    assert!(
        governor.0 == Some(0) && governor.1.contains("stable") && governor.1.contains(&by),
        "{governor:?}"
    );
    names_the_peer(&decider, |words: &[&str]| told(&edge, words));
    assert!(story.1.contains(&by), "{story:?}");
    let at_home = told(&decider, &["governor", "show", "acme", "s-1"]);
    assert!(!at_home.1.contains("answered by"), "{at_home:?}");
    let receipts = told(&edge, &["receipts", "list", "--tenant", "acme"]);
    assert!(receipts.0 == Some(0) && receipts.1.contains("action_generated"), "{receipts:?}");
    assert!(receipts.2.contains("receipts of a node are missing: gone"), "{receipts:?}");
    assert!(receipts.1.contains(" NODE\n") && receipts.1.contains(" proc-1\n"), "{receipts:?}");
    let missing = told(&edge, &["signal", "show", "acme", "nobody"]);
    assert!(missing.0 == Some(1) && missing.2.contains("its peers were asked, too: gone: "), "{missing:?}");

    // What the edge accepted and nobody has decided yet it tells itself, with its bytes.
    let body = signal("acme", "vm", "e-1");
    assert_eq!(edge.post("application/json", body.as_bytes()).status, 202);
    let accepted = edge.ask("/v1/signals/acme/e-1/story").json();
    assert_eq!(
        (&accepted["status"], &accepted["body"], &accepted["peers"]),
        (&json!("accepted"), &json!(body), &peers)
    );
    assert_eq!(accepted["signal"]["sha256"], sha256(body.as_bytes()));
    let story = told(&edge, &["signal", "show", "acme", "e-1"]);
    assert!(story.0 == Some(0) && story.1.contains(&body), "{story:?}");

    // Without peers of its own a command tells whom the answer names, and goes nowhere.
    let elsewhere = tempfile::tempdir().unwrap();
    let mut asked = command(elsewhere.path());
    asked
        .args(["governor", "show", "acme", "s-1", "--admin", &edge.admin.to_string(), "--token-file"])
        .arg(&token);
    let output =
        asked.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("another node may know: gone at http://127.0.0.1:1"),
        "{said}"
    );
    assert!(
        stranger.accept().is_err(),
        "the token goes to the configured peers alone, and not to the node itself"
    );
}

#[test]
fn receipts_are_listed_by_what_they_say_the_newest_first() {
    let target = Target::start(|_| Does::Answer(200));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &target);
    for number in 0..7 {
        let id = format!("s-{number}");
        actions::ask_for(&node, if number % 2 == 0 { "note" } else { "page" }, &id);
        actions::ended(&node, &id);
    }
    assert_eq!(node.post("application/json", signal("other", "vm", "o-1").as_bytes()).status, 202);
    node.decided("other", "o-1");
    let list = |query: &str| receipts(&node.ask(&format!("/v1/receipts?{query}")));
    let indices: Vec<u64> = list("").iter().map(|receipt| receipt["log_index"].as_u64().unwrap()).collect();
    assert!(indices.len() >= 15 && indices.is_sorted_by(|a, b| a > b), "{indices:?}");
    let by_rule = list("rule=test/note&type=action_generated");
    assert_eq!(by_rule.len(), 4);
    assert!(by_rule.iter().all(|receipt| receipt["policy"]["rule"] == "note"));
    assert_eq!(list("type=action_successful,action_failed&tenant=acme").len(), 7);
    assert_eq!(list("tenant=other").len(), 1);
    assert_eq!(list("tenant=other&sku=disk").len(), 0);
    let time = by_rule[1]["timestamp"].as_u64().unwrap();
    let since = list(&format!("rule=note&type=action_generated&since={time}"));
    assert_eq!(since, by_rule[..since.len()]);
    assert!(since.iter().all(|receipt| receipt["timestamp"].as_u64().unwrap() >= time) && since.len() >= 2);
    assert_eq!(list("until=1970-01-02T00:00:00Z"), Vec::<Value>::new());

    // A receipt stands in the page byte for byte.
    let page = node.ask("/v1/receipts?limit=1").text();
    let id = list("limit=1")[0]["receipt_id"].as_str().unwrap().to_owned();
    assert!(page.contains(&node.ask(&format!("/v1/receipts/{id}")).text()));

    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = node.ask(&format!("/v1/receipts?limit=4{after}")).json();
        paged.extend(
            page["receipts"].as_array().unwrap().iter().map(|receipt| receipt["log_index"].as_u64().unwrap()),
        );
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(paged, indices);
    let told = said(&node, &["receipts", "list", "--rule", "note", "--tenant", "acme", "--limit", "3"]);
    assert_eq!(told.lines().count(), 4, "{told}");
    assert!(told.lines().skip(1).all(|line| line.contains("test/note")), "{told}");
    let lines = said(&node, &["receipts", "list", "--json", "--since", "1h", "--limit", "5"]);
    assert_eq!(lines.lines().count(), 5);

    for wrong in [
        "type=nothing",
        "type=",
        "since=yesterday",
        "since=-1",
        "after=x",
        "limit=0",
        "limit=1001",
        "tenant=A%20b",
        "sku=",
        "rule=",
        "who=root",
        "type=operator&type=observed",
    ] {
        assert_eq!(node.ask(&format!("/v1/receipts?{wrong}")).status, 400, "{wrong}");
    }
}

#[test]
fn an_audit_tells_who_did_what_and_why_and_nothing_of_signals() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = "[[admin.token]]\nname = \"root\"\nrole = \"admin\"\n[[admin.token]]\nname = \"eve\"\nrole = \"operator\"\n";
    let config = |quota: u32| format!("[node]\nprofile = \"dev\"\n{tokens}[governor]\nquota = {quota}\n");
    std::fs::write(dir.path().join("gemba.toml"), config(10)).unwrap();
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    let ask = |path: &str, token: &str| ask_as(&node, &format!("GET {path}"), &node.secret(token), "");
    assert_eq!(node.post("application/json", signal("acme", "vm", "s-1").as_bytes()).status, 202);
    let hostile = "=cmd|' /C calc'!A0 by root: \"quoted\", and\u{202e}more";
    order(&node, "/v1/governors/acme/vm/halt", &node.secret("eve.token"), hostile);
    order(&node, "/v1/governors/acme/vm/resume", &node.secret("root.token"), "it is well");
    std::fs::write(dir.path().join("gemba.toml"), config(11)).unwrap();
    let reloaded = order(&node, "/v1/reload", &node.secret("root.token"), "more room");
    assert_eq!(reloaded["changed"], true);
    let audit = |query: &str| receipts(&ask(&format!("/v1/audit?{query}"), "eve.token"));
    wait_until("the log has the change", || !audit("type=config_change").is_empty());
    let kinds = |acts: &[Value]| -> Vec<String> {
        acts.iter().map(|act| act["receipt_type"].as_str().unwrap().to_owned()).collect()
    };
    let all = audit("");
    for kind in ["config_change", "operator", "jidoka_halt"] {
        assert!(kinds(&all).iter().any(|found| found == kind), "{:?}", kinds(&all));
    }
    assert!(!kinds(&all).iter().any(|kind| kind == "observed"));
    assert_eq!(kinds(&audit("who=eve")), ["jidoka_halt"], "what a reason says is nobody's name");
    assert!(kinds(&audit("who=root")).len() >= 2);
    assert_eq!(audit("who=nobody"), Vec::<Value>::new());
    let refused = ask("/v1/audit?type=observed", "eve.token");
    assert!(refused.status == 400 && refused.text().contains("config_change"), "{}", refused.text());

    let run = |words: &[&str]| {
        let mut command = command(dir.path());
        command.arg("audit").args(words).args([
            "--admin",
            &node.admin.to_string(),
            "--token-file",
            "data/eve.token",
        ]);
        let output = command.stdout(std::process::Stdio::piped()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let table = run(&["--who", "eve"]);
    assert!(
        table.contains("jidoka_halt") && table.contains("halt by eve") && table.contains("LOG INDEX"),
        "{table}"
    );
    assert!(!table.contains('\u{202e}'));
    let cells: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[1..5], ["jidoka_halt", "eve", "acme", "vm"], "{table}");
    assert_eq!(ask(&format!("/v1/audit?who={}", "x".repeat(1024)), "eve.token").status, 200);
    assert_eq!(ask(&format!("/v1/audit?who={}", "x".repeat(1025)), "eve.token").status, 400);
    assert!(run(&["--type", "config_change"]).contains("governor.quota: 10 -> "), "what changed");
    assert_eq!(ask("/v1/audit?who=", "eve.token").status, 400);
    let csv = run(&["--csv", "--tenant", "acme"]);
    assert!(csv.starts_with("time,type,who,tenant,sku,what,reason,receipt,log_index\r\n"), "{csv}");
    assert!(csv.contains("\"halt by eve: =cmd|' /C calc'!A0 by root: \"\"quoted\"\", and"), "{csv}");
    let lines = run(&["--json"]);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["log_index"].is_u64()));
    assert_eq!(lines.lines().count(), all.len());
}
