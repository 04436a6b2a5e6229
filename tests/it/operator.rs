//! The operator plane: who may ask what, what is answered, and that nothing secret is ever said.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

use crate::http::{Answer, exchange, read_answer};
use crate::node::{Node, PATIENCE, signal};
use crate::program::command;
use crate::wire::{assert_problem, connect, raw, rest, send};

const JSON: &str = "application/json";

fn ask(node: &Node, method: &str, path: &str, authorization: Option<&str>) -> Answer {
    let authorization = authorization.map(|value| format!("authorization: {value}"));
    let headers: Vec<&str> = authorization.as_deref().into_iter().chain(["connection: close"]).collect();
    exchange(node.admin, &raw(&format!("{method} {path} HTTP/1.1"), &headers, b""))
}

/// A permission change that a shipped pack acts on.
fn owner(id: &str) -> String {
    let signal = signal("acme", "vm", id).replace("cost.usage", "permission.change");
    signal.replace(r#"{"spend":81.25}"#, r#"{"user":"zoe","role":"owner"}"#)
}

/// All that a HEAD is answered with.
fn head_of(node: &Node, path: &str, token: &str) -> String {
    let authorization = format!("authorization: Bearer {token}");
    let mut socket = connect(node.admin);
    send(&mut socket, &raw(&format!("HEAD {path} HTTP/1.1"), &[&authorization, "connection: close"], b""));
    String::from_utf8(rest(&mut socket)).unwrap()
}

/// A node with a token of each role, in a directory that the caller keeps.
fn node_with_roles(dir: &Path) -> Node {
    // The packs' paths are relative to where the node runs.
    let packs = concat!(env!("CARGO_MANIFEST_DIR"), "/config/policies");
    let mut config = include_str!("../../config/dev.toml").replace("config/policies", packs);
    for role in ["viewer", "operator", "admin"] {
        config.push_str(&format!("\n[[admin.token]]\nname = \"{role}\"\nrole = \"{role}\"\n"));
    }
    std::fs::write(dir.join("gemba.toml"), config).unwrap();
    Node::start_in(dir, &[("GEMBA_CONFIG", "gemba.toml")])
}

#[test]
fn every_route_answers_those_who_may_ask_and_no_one_else() {
    let dir = tempfile::tempdir().unwrap();
    let node = node_with_roles(dir.path());
    assert_eq!(node.post(JSON, signal("acme", "vm", "s-1").as_bytes()).status, 202);
    let status = node.decided("acme", "s-1");
    let receipt = format!("/v1/receipts/{}", status["receipts"][0].as_str().unwrap());
    let tokens = ["viewer", "operator", "admin"].map(|role| node.secret(&format!("{role}.token")));

    let with_token = [
        ("/v1/signals/acme/s-1", 200),
        ("/v1/signals/acme/unknown", 404),
        ("/v1/signals/ACME/s-1", 400),
        (receipt.as_str(), 200),
        ("/v1/receipts/r-00000000ffffffff-00", 404),
        ("/v1/receipts/r-ffffffffffffffff-ff", 404),
        ("/v1/receipts/1", 400),
        ("/v1/receipts/r-1-0", 400),
        ("/v1/receipts/r-00000000FFFFFFFF-00", 400),
        ("/v1/receipts/r-0000000000000001-00x", 400),
        ("/v1/receipts/%zz", 400),
        ("/v1/governors", 200),
        ("/v1/governors?tenant=acme", 200),
        ("/v1/governors/acme/vm", 200),
        ("/v1/governors/acme/unknown", 404),
        ("/metrics/tenants", 200),
    ];
    for (path, status) in with_token {
        for token in &tokens {
            let answer = ask(&node, "GET", path, Some(&format!("Bearer {token}")));
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
            if status != 200 {
                assert_problem(path, &answer);
            }
            let head = head_of(&node, path, token);
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "HEAD {path}: {head}");
            assert!(head.ends_with("\r\n\r\n"), "HEAD {path}: {head}");
        }
        let admin = &tokens[2];
        let wrong = [
            None,
            Some("Bearer wrong".to_owned()),
            Some("Bearer ".to_owned()),
            Some(admin.clone()),
            Some(format!("Basic {admin}")),
            Some(format!("Bearer {admin}x")),
            Some(format!("Bearer {}", &admin[1..])),
        ];
        for authorization in wrong.iter().filter(|_| path != "/v1/receipts/%zz") {
            let answer = ask(&node, "GET", path, authorization.as_deref());
            assert_eq!(answer.status, 401, "{path} with {authorization:?}");
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(challenge.starts_with("Bearer"), "{challenge}");
            assert_problem(path, &answer);
        }
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        for authorization in [None, Some("Bearer wrong"), Some(&format!("Bearer {}", tokens[0]))] {
            assert_eq!(ask(&node, "GET", path, authorization).status, 200, "{path} needs no token here");
        }
    }
    let bearer = format!("Bearer {}", tokens[2]);
    for path in ["/livez", "/metrics", "/v1/governors", "/v1/governors/acme/vm", receipt.as_str()] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = ask(&node, method, path, Some(&bearer));
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method} {path}");
            assert_problem(path, &answer);
        }
    }
    for path in ["/", "/v1", "/v1/nothing", "/v1/signals/acme", "/livez/", "//livez", "/v1/governors/a/b/c"] {
        let answer = ask(&node, "GET", path, Some(&bearer));
        assert_eq!(answer.status, 404, "{path}");
        assert_problem(path, &answer);
    }
}

#[test]
fn health_is_told_by_stage() {
    let node = Node::start();
    assert_eq!(node.ask("/livez").json(), serde_json::json!({"status": "live"}));
    let ready = node.ask("/readyz");
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("ready")));
    let stages = ready.json()["stages"].clone();
    for stage in ["ingress", "journal"] {
        let found = stages.as_array().unwrap().iter().find(|found| found["stage"] == stage);
        assert_eq!(found.unwrap_or_else(|| panic!("{stage}: {stages}"))["ok"], true);
    }
}

#[test]
fn governors_are_listed_in_order_filtered_and_by_pages() {
    let node = Node::start();
    for tenant in ["beta", "acme", "gamma"] {
        for sku in ["vm", "db", "net"] {
            let body = signal(tenant, sku, &format!("{tenant}-{sku}"));
            assert_eq!(node.post(JSON, body.as_bytes()).status, 202);
            node.decided(tenant, &format!("{tenant}-{sku}"));
        }
    }
    let listed = |query: &str| -> Vec<String> {
        let answer = node.ask(&format!("/v1/governors{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let name = |governor: &serde_json::Value| {
            format!("{}/{}", governor["tenant"].as_str().unwrap(), governor["sku"].as_str().unwrap())
        };
        answer.json()["governors"].as_array().unwrap().iter().map(name).collect()
    };
    let all = listed("");
    let expected =
        ["acme", "beta", "gamma"].map(|t| ["db", "net", "vm"].map(|s| format!("{t}/{s}"))).concat();
    assert_eq!(all, expected);
    assert_eq!(listed("?tenant=beta"), expected[3..6]);
    assert_eq!(listed("?tenant=nobody"), [""; 0]);
    assert_eq!(listed("?limit=4"), expected[..4]);
    assert_eq!(listed("?limit=4&after=beta/db"), expected[4..8]);
    assert_eq!(listed("?after=beta%2Fdb&tenant=beta"), expected[4..6]);
    assert_eq!(listed("?after=gamma/vm"), [""; 0]);
    let mut pages = Vec::new();
    let mut after = String::new();
    loop {
        let page = listed(&format!("?limit=2{after}"));
        let Some(last) = page.last() else { break };
        after = format!("&after={last}");
        pages.extend(page);
    }
    assert_eq!(pages, expected, "pages leave nothing out and repeat nothing");
    for query in [
        "?limit=0",
        "?limit=1001",
        "?limit=-1",
        "?limit=many",
        "?limit=",
        "?after=beta",
        "?tenants=beta",
        "?tenant=%zz",
        "?tenant=%ff",
    ] {
        let answer = node.ask(&format!("/v1/governors{query}"));
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert_problem(query, &answer);
    }
    let governor = node.ask("/v1/governors/acme/vm").json();
    for field in [
        "tenant",
        "sku",
        "state",
        "quota_remaining",
        "in_flight_action",
        "breaker",
        "mailbox_depth",
        "last_seq",
    ] {
        assert!(governor.get(field).is_some(), "{field}: {governor}");
    }
    assert_eq!(
        (&governor["state"], &governor["breaker"]),
        (&"stable".into(), &"healthy".into()),
        "{governor}"
    );
}

/// Answers to `path` with exactly these header fields, an order with this `body`.
fn asked(node: &Node, request: &str, headers: &[&str], body: &str) -> Answer {
    let length = format!("content-length: {}", body.len());
    let headers: Vec<&str> = headers.iter().copied().chain([length.as_str(), "connection: close"]).collect();
    exchange(node.admin, &raw(&format!("{request} HTTP/1.1"), &headers, body.as_bytes()))
}

#[test]
fn a_token_is_shown_once_and_in_any_spelling_of_its_scheme() {
    let dir = tempfile::tempdir().unwrap();
    let node = node_with_roles(dir.path());
    let token = node.secret("viewer.token");
    let status = "GET /v1/status";
    for scheme in ["Bearer ", "bearer ", "BEARER ", "bEarer  "] {
        let header = format!("authorization: {scheme}{token}");
        assert_eq!(asked(&node, status, &[&header], "").status, 200, "{scheme}");
    }
    let good = format!("authorization: Bearer {token}");
    let twice = asked(&node, status, &[&good, &good], "");
    assert_eq!(twice.status, 400, "{}", twice.text());
    assert_problem("twice", &twice);
    for (headers, challenge, detail) in [
        (&[][..], "Bearer", "a bearer token is needed"),
        (&["authorization: Basic abc"], "Bearer", "a bearer token is needed"),
        (&["authorization: Bearer wrong"], r#"Bearer error="invalid_token""#, "not one of this node's"),
        (&["authorization: Bearer "], "Bearer", "a bearer token is needed"),
    ] {
        let answer = asked(&node, status, headers, "");
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(challenge)), "{headers:?}");
        assert!(answer.text().contains(detail), "{headers:?}: {}", answer.text());
    }
}

#[test]
fn what_a_request_does_not_know_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = node_with_roles(dir.path());
    let header = format!("authorization: Bearer {}", node.secret("admin.token"));
    let reason = r#"{"reason":"a drill"}"#;
    for (request, body, detail) in [
        ("GET /livez?x=1", "", "unknown parameter `x`: this request has none"),
        ("GET /v1/status?x", "", "unknown parameter `x`"),
        ("GET /v1/policy?limit=1", "", "unknown parameter `limit`"),
        ("GET /v1/governors?tenant=Acme", "", "`tenant` must match"),
        ("GET /v1/deadletters?tenant=a%2Fb", "", "`tenant` must match"),
        ("GET /v1/signals/Acme/s-1", "", "`tenant` must match"),
        ("GET /v1/signals/acme/s-1?source=S", "", "`source` must match"),
        ("GET /v1/signals/acme/s-1?source=a&source=b", "", "`source` is duplicated"),
        ("POST /v1/governors/acme/vm/halt?x=1", reason, "unknown parameter `x`"),
        ("POST /v1/governors/acme/vm/halt", r#"{"reason":7}"#, "`reason` must be text"),
        ("POST /v1/governors/acme/vm/halt", r#"{"reason":" "}"#, "say why in `reason`"),
        (
            "POST /v1/governors/acme/vm/quota",
            r#"{"reason":"x","quota_remaining":-1}"#,
            "from 0 to 4294967295",
        ),
        (
            "POST /v1/governors/acme/vm/quota",
            r#"{"reason":"x","quota_remaining":1.5}"#,
            "from 0 to 4294967295",
        ),
        ("POST /v1/deadletters/d-000000000000002a/dry-run", "[1]", "not a JSON object"),
        ("POST /v1/deadletters/d-000000000000002a/dry-run", reason, "this request has no body"),
    ] {
        let answer = asked(&node, request, &[&header], body);
        assert_eq!(answer.status, 400, "{request} {body}: {}", answer.text());
        assert_problem(request, &answer);
        assert!(answer.text().contains(detail), "{request} {body}: {}", answer.text());
    }
    assert_eq!(node.ask("/v1/governors").json()["governors"], serde_json::json!([]), "nothing was ordered");
}

#[test]
fn a_signal_of_several_sources_is_told_by_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[node]\nprofile = \"dev\"\n[[source]]\nname = \"signals\"\nscheme = \"hmac\"\n\
                  [[source]]\nname = \"other\"\nscheme = \"hmac\"\nsecret_env = \"OTHER_SECRET\"\n";
    std::fs::write(dir.path().join("gemba.toml"), config).unwrap();
    let secret = "a secret of the other source";
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml"), ("OTHER_SECRET", secret)]);
    let other = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut seqs = Vec::new();
    for (path, id) in [("/v1/signals", "s-1"), ("/v1/sources/other", "s-1"), ("/v1/sources/other", "s-2")] {
        let body = signal("acme", "vm", id);
        let signature = match path {
            "/v1/signals" => node.sign(body.as_bytes()),
            _ => HEXLOWER.encode(hmac::sign(&other, body.as_bytes()).as_ref()),
        };
        let headers = [("content-type", JSON), ("x-signature", signature.as_str())];
        let answer = node.request("POST", path, &headers, body.as_bytes());
        assert_eq!(answer.status, 202, "{}", answer.text());
        seqs.push(answer.json()["seq"].clone());
    }
    assert_ne!(seqs[0], seqs[1], "two signals");
    let both = node.ask("/v1/signals/acme/s-1");
    assert_eq!(both.status, 409, "{}", both.text());
    assert!(both.text().contains("other, signals; name one with `source`"), "{}", both.text());
    for (source, seq) in [("signals", &seqs[0]), ("other", &seqs[1])] {
        let one = node.ask(&format!("/v1/signals/acme/s-1?source={source}")).json();
        assert_eq!((&one["seq"], &one["source"]), (seq, &source.into()), "{one}");
    }
    assert_eq!(node.ask("/v1/signals/acme/s-2").json()["source"], "other");
    assert_eq!(node.ask("/v1/signals/acme/s-2?source=signals").status, 404);

    let show = |words: &[&str]| {
        let mut command = command(&node.dir);
        command.args(["signal", "show", "acme"]).args(words);
        said_by(command, &node)
    };
    let (code, said) = show(&["s-1"]);
    assert_eq!(code, Some(1), "{said}");
    let (code, said) = show(&["s-1", "--source", "other"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("other") && said.contains(&seqs[1].to_string()), "{said}");
}

/// How the command ends that asks `node`, and all that it says.
fn said_by(mut command: Command, node: &Node) -> (Option<i32>, String) {
    command.args(["--admin", &format!("http://{}", node.admin), "--token-file", "data/admin.token"]);
    let output = command.stdout(Stdio::piped()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// What people get wrong first is told with what to do.
#[test]
fn first_mistakes_are_told_with_what_to_do() {
    let node = Node::start();
    let silence = |when: &str| {
        let mut command = command(&node.dir);
        command.args(["silence", "add", when, "--minutes", "5", "--reason", "a drill"]);
        said_by(command, &node)
    };
    for (when, why) in [
        ("alert.tenant = 'acme'", "`when`:1:14: `=` does not go here; `==` compares"),
        (
            "true && alert.tennant == 'acme'",
            "`when`:1:9: unknown name `alert.tennant`; the nearest valid name is `alert.tenant`",
        ),
        ("alert.tenant == acme", "text needs quotes of its own: `'acme'`"),
    ] {
        let (code, said) = silence(when);
        assert!(code == Some(2) && said.contains(why), "{when}: {said}");
    }
    for args in [&["status"][..], &["governor", "halt", "acme", "vm", "--reason", "a drill"]] {
        let mut asked = command(&node.dir);
        asked.args(args).args(["--admin", &node.ingress.to_string(), "--token-file", "data/admin.token"]);
        let output = asked.stdout(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("looks like the data plane") && said.contains("`admin.listen`"), "{said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let config = "[node]\nprofile = \"dev\"\n[policy]\npacks = [\"mine/pack.toml\"]\n";
    std::fs::write(dir.path().join("gemba.toml"), config).unwrap();
    let ends = |command: &mut Command| {
        let output = command.stdout(Stdio::piped()).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let path = dir.path().join("gemba.toml");
    let (code, said) = ends(command(&node.dir).args(["config", "check"]).env("GEMBA_CONFIG", &path));
    assert_eq!(code, Some(2), "{said}");
    let looked = format!("mine/pack.toml in {}", node.dir.canonicalize().unwrap().display());
    assert!(said.contains(&looked) && said.contains("begins where the node is started"), "{said}");
    std::fs::write(&path, "[node]\nprofile = \"dev\"\n").unwrap();
    let given = path.to_str().unwrap();
    for args in [&["--config", given][..], &[given]] {
        let (code, said) = ends(command(&node.dir).args(["config", "check"]).args(args));
        assert_eq!((code, said.contains("good")), (Some(0), true), "{said}");
    }
}

#[test]
fn governor_list_reads_page_after_page() {
    let node = Node::start();
    for number in 0..5 {
        let body = signal("acme", &format!("vm-{number}"), &format!("s-{number}"));
        assert_eq!(node.post(JSON, body.as_bytes()).status, 202);
        node.decided("acme", &format!("s-{number}"));
    }
    let page = node.ask("/v1/governors?limit=2").json();
    assert_eq!(page["next"], "acme/vm-1", "{page}");
    assert_eq!(node.ask("/v1/governors?limit=6").json()["next"], serde_json::Value::Null);
    for (limit, count, more) in [("2", 2, true), ("100", 5, false)] {
        let mut command = command(&node.dir);
        command.args(["governor", "list", "--limit", limit]);
        let (code, said) = said_by(command, &node);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!((said.matches("vm-").count(), said.contains("see --limit")), (count, more), "{said}");
    }
}

#[test]
fn viewers_keep_no_operator_of_their_address_out() {
    let dir = tempfile::tempdir().unwrap();
    let node = node_with_roles(dir.path());
    let viewer = format!("authorization: Bearer {}", node.secret("viewer.token"));
    let held: Vec<_> = (0..40)
        .map(|_| {
            let mut socket = connect(node.admin);
            send(&mut socket, &raw("GET /v1/status HTTP/1.1", &[&viewer], b""));
            let status = read_answer(&mut socket).map(|answer| answer.status);
            (status, socket)
        })
        .collect();
    assert_eq!(held.iter().filter(|(status, _)| *status == Some(200)).count(), 16);
    let operator = format!("authorization: Bearer {}", node.secret("operator.token"));
    let halt = "POST /v1/governors/acme/vm/halt";
    for _ in 0..3 {
        let answer = asked(&node, halt, &[&operator], r#"{"reason":"a drill"}"#);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    drop(held);
}

/// What was answered must not become what never was.
#[test]
fn a_receipt_that_rots_is_unavailable_and_never_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start_in(dir.path(), &[]);
    for number in 0..3 {
        let id = format!("s-{number}");
        assert_eq!(node.post(JSON, signal("acme", "vm", &id).as_bytes()).status, 202);
        node.decided("acme", &id);
    }
    assert!(node.terminate().success());
    // What was asked for lately would be in memory.
    let mut node = Node::start_in(dir.path(), &[]);
    let log = node.file("log/0000000000000000.log");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(log).unwrap();
    let mut byte = [0];
    let at = 4096 + 200;
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    for path in ["/v1/signals/acme/s-0", "/v1/signals/acme/s-2", "/v1/receipts/r-0000000000000002-00"] {
        let answer = node.ask(path);
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
    }
    node.wait_for("a receipt cannot be read");
}

/// The samples of a page of metrics by series, each there once.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series} stands twice");
    }
    samples
}

#[test]
fn the_metrics_of_the_contract_are_all_there() {
    let node = Node::start();
    let change = owner("m-1");
    assert_eq!(node.post(JSON, change.as_bytes()).status, 202);
    assert_eq!(node.post(JSON, b"{}").status, 422);
    let until = Instant::now() + PATIENCE;
    let text = loop {
        let text = node.ask("/metrics").text();
        let now = samples(&text);
        let counted = |series: &str| now.get(series).copied().unwrap_or_default() >= 1.0;
        // Every thread hands over what it measured in its own time.
        let measured = ["fsync", "journal_write", "whole"].map(|stage| {
            let series = format!("gemba_stage_seconds_count{{stage=\"{stage}\"}}");
            counted(&series)
        });
        if counted("actions_successful_total")
            && counted("gemba_signals_total{result=\"accepted\"}")
            && counted("gemba_signals_total{result=\"malformed\"}")
            && measured.iter().all(|measured| *measured)
        {
            break text;
        }
        assert!(Instant::now() < until, "{text}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let kinds = [
        ("signal_processing_latency_us", "histogram"),
        ("actions_successful_total", "counter"),
        ("actions_failed_total", "counter"),
        ("queue_depth", "gauge"),
        ("system_status", "gauge"),
        ("gemba_signals_total", "counter"),
        ("gemba_stage_seconds", "histogram"),
        ("gemba_ring_depth", "gauge"),
        ("gemba_fsync_seconds", "histogram"),
        ("gemba_batch_signals", "histogram"),
        ("gemba_governors", "gauge"),
        ("gemba_receipts_total", "counter"),
        ("gemba_checkpoint_age_seconds", "gauge"),
    ];
    for (name, kind) in kinds {
        let declared = format!("# TYPE {name} {kind}");
        assert_eq!(text.lines().filter(|line| *line == declared).count(), 1, "{declared}\n{text}");
    }
    let samples = samples(&text);
    assert!(samples["system_status"].abs() < 0.5 && samples["gemba_checkpoint_age_seconds"] >= 0.0, "{text}");
    for state in ["boot", "stable", "action_pending", "quota_exhausted", "degraded", "halted"] {
        assert!(samples.contains_key(&format!("gemba_governors{{state=\"{state}\"}}")), "{state}");
    }
    for result in [
        "accepted",
        "duplicate",
        "bad_signature",
        "malformed",
        "unsupported",
        "too_large",
        "rate_limited",
        "conflict",
        "not_found",
        "shed",
    ] {
        assert!(samples.contains_key(&format!("gemba_signals_total{{result=\"{result}\"}}")), "{result}");
    }
    assert!(samples.keys().any(|series| series.starts_with("gemba_ring_depth{ring=\"arrivals")), "{text}");
    assert!(!text.contains("acme"), "no tenant is a label");

    let bounds = ["100", "500", "1000", "5000", "10000", "50000", "100000", "+Inf"];
    let buckets = bounds.map(|le| samples[&format!("signal_processing_latency_us_bucket{{le=\"{le}\"}}")]);
    assert!(buckets.is_sorted(), "{buckets:?}");
    assert!(buckets[7] >= 2.0, "both requests are measured: {buckets:?}");
    assert!(buckets[7].total_cmp(&samples["signal_processing_latency_us_count"]).is_eq());
    assert!(samples["signal_processing_latency_us_sum"] > 0.0);
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Every way in which a secret could be written.
fn spellings(secret: &str) -> Vec<Vec<u8>> {
    let text = secret.strip_prefix("whsec_").unwrap_or(secret);
    let decoded = HEXLOWER.decode(text.as_bytes()).or_else(|_| BASE64.decode(text.as_bytes())).unwrap();
    let mut spellings = vec![text.as_bytes().to_vec(), decoded.clone()];
    for bytes in [text.as_bytes(), &decoded] {
        for encoding in [HEXLOWER, HEXUPPER, BASE64_NOPAD, BASE64URL_NOPAD] {
            spellings.push(encoding.encode(bytes).into_bytes());
        }
    }
    spellings
}

#[test]
fn no_secret_appears_anywhere_but_in_its_file() {
    const SECRETS: [&str; 5] =
        ["signals.secret", "webhooks.secret", "admin.token", "receipt.secret", "log.key"];
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start_in(dir.path(), &[("GEMBA_KANBAN__SEGMENT_MIB", "4")]);
    let secrets = SECRETS.map(|name| node.secret(name));
    let mut seen: Vec<(String, Vec<u8>)> = Vec::new();
    let mut note = |what: &str, answer: Answer| {
        seen.push((what.to_owned(), format!("{:?}", answer.headers).into_bytes()));
        seen.push((what.to_owned(), answer.body));
    };

    let change = owner("s-1");
    note("accepted", node.post(JSON, change.as_bytes()));
    note("refused", node.post(JSON, b"{}"));
    for secret in &secrets {
        // Whoever sends a secret to the wrong place does not get it back.
        let headers = [("content-type", JSON), ("x-signature", secret.as_str())];
        note("as a signature", node.request("POST", "/v1/signals", &headers, change.as_bytes()));
        note("as a source", node.request("POST", &format!("/v1/sources/{}", &secret[6..]), &headers, b"x"));
        note("as a token", ask(&node, "GET", "/v1/governors", Some(&format!("Basic {secret}"))));
    }
    let status = node.decided("acme", "s-1");
    for receipt in status["receipts"].as_array().unwrap() {
        note("receipt", node.ask(&format!("/v1/receipts/{}", receipt.as_str().unwrap())));
    }
    for path in ["/livez", "/readyz", "/metrics", "/v1/signals/acme/s-1", "/v1/governors", "/nothing"] {
        note(path, node.ask(path));
    }
    assert!(node.terminate().success());
    seen.push(("standard error".into(), node.everything_said().into_bytes()));

    let mut found = Vec::new();
    files(&dir.path().join("data"), &mut found);
    for path in found {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if SECRETS.contains(&name.as_str()) {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
        } else {
            let mut bytes = std::fs::read(&path).unwrap();
            // Space that was set aside and not written is searched no slower than it is found.
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
            seen.push((path.display().to_string(), bytes));
        }
    }
    assert!(seen.iter().any(|(_, bytes)| memchr::memmem::find(bytes, b"permission.change").is_some()));
    for (name, secret) in SECRETS.iter().zip(&secrets) {
        for spelling in spellings(secret) {
            let finder = memchr::memmem::Finder::new(&spelling);
            for (place, bytes) in &seen {
                assert!(finder.find(bytes).is_none(), "{name} stands in {place}");
            }
        }
    }
}

#[test]
fn an_edge_without_its_broker_accepts_and_is_degraded() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[node]\nprofile = \"dev\"\nrole = \"edge\"\n[kanban]\nbackend = \"rabbitmq\"\n\
                  [rabbitmq]\nhosts = [\"127.0.0.1:1\"]\nusername = \"guest\"\npassword_env = \"BROKER_PASSWORD\"\n";
    std::fs::write(dir.path().join("gemba.toml"), config).unwrap();
    let variables = [("GEMBA_CONFIG", "gemba.toml"), ("BROKER_PASSWORD", "guest")];
    let node = Node::start_in(dir.path(), &variables);
    assert_eq!(node.ask("/readyz").status, 200);
    assert_eq!(node.post("application/json", signal("acme", "vm", "s-1").as_bytes()).status, 202);
    assert!(node.metric("system_status") > 0.5);
    let tenants = node.ask("/metrics/tenants");
    assert_eq!(tenants.status, 404, "it decides on none");
    assert_problem("/metrics/tenants", &tenants);
}

/// Viewers ask for pages as fast as they can. Decisions go on, and pages are complete and in order.
#[test]
fn pages_of_governors_are_in_order_and_do_not_keep_anybody_from_deciding() {
    let rate = [("GEMBA_RATE_LIMIT__PER_SECOND", "100000"), ("GEMBA_RATE_LIMIT__BURST", "100000")];
    let node = Node::start_with(&rate);
    let batch = |from: u32, to: u32| {
        let items: Vec<String> = (from..to)
            .map(|number| signal("acme", &format!("vm-{number:05}"), &format!("s-{number}")))
            .collect();
        let answer = node.post("application/x-ndjson", items.join("\n").as_bytes());
        assert_eq!(answer.status, 202, "{}", answer.text());
    };
    for part in 0..30 {
        batch(part * 100, part * 100 + 100);
    }
    node.decided("acme", "s-2999");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut pages = 0;
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        let answer = node.ask("/v1/governors?limit=1000");
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        pages += 1;
                    }
                    pages
                })
            })
            .collect();
        for part in 30..40 {
            batch(part * 100, part * 100 + 100);
            node.decided("acme", &format!("s-{}", part * 100 + 99));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let pages: u32 = askers.into_iter().map(|asker| asker.join().unwrap()).sum();
        assert!(pages > 0);
    });
    let (mut after, mut found) = (String::new(), Vec::new());
    loop {
        let page = node.ask(&format!("/v1/governors?tenant=acme&limit=700{after}")).json();
        let governors = page["governors"].as_array().unwrap().clone();
        let Some(last) = governors.last() else { break };
        after = format!("&after=acme/{}", last["sku"].as_str().unwrap());
        found.extend(governors.iter().map(|governor| governor["sku"].as_str().unwrap().to_owned()));
    }
    let expected: Vec<String> = (0..4000).map(|number| format!("vm-{number:05}")).collect();
    assert_eq!(found, expected);
}
