//! The board: who may see it, that it tells at once and resumes, that nobody else's page orders through it, and that it is fit to be looked at.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::http::{Answer, exchange, read_answer};
use crate::node::{Node, PATIENCE, free_ports, signal};
use crate::program::{PROGRAM, Process};
use crate::signals::wait_until;
use crate::targets::{Does, Target};
use crate::tools::missing;
use crate::wire::{assert_problem, connect, raw, send};

const JSON: &str = "application/json";
const OWN: [&str; 2] = ["x-gemba-board: 1", "origin: http://localhost"];
const REASON: &str = r#"{"reason":"a test"}"#;

/// A node with a token of each role, which keep their secrets in files, and these parts of a configuration.
fn node(dir: &Path, more: &str) -> Node {
    write(dir, &["viewer", "operator", "admin"], more);
    Node::start_in(dir, &[("GEMBA_CONFIG", "gemba.toml")])
}

fn write(dir: &Path, roles: &[&str], more: &str) {
    let token = |role: &&str| format!("[[admin.token]]\nname = \"{role}\"\nrole = \"{role}\"\n");
    let tokens: String = roles.iter().map(token).collect();
    let source = "[[source]]\nname = \"signals\"\nscheme = \"hmac\"\n";
    std::fs::write(
        dir.join("gemba.toml"),
        format!("[node]\nprofile = \"dev\"\nname = \"n1\"\n{source}{tokens}{more}"),
    )
    .unwrap();
}

fn ask(node: &Node, line: &str, headers: &[&str], body: &str) -> Answer {
    let length = format!("content-length: {}", body.len());
    let headers = [headers, &[&length, "connection: close"]].concat();
    exchange(node.admin, &raw(&format!("{line} HTTP/1.1"), &headers, body.as_bytes()))
}

fn bearer(node: &Node, role: &str) -> String {
    format!("authorization: Bearer {}", node.secret(&format!("{role}.token")))
}

fn login(node: &Node, token: &str, headers: &[&str]) -> Answer {
    ask(node, "POST /board/session", headers, &format!("{{\"token\":\"{token}\"}}"))
}

/// The cookie of a session with this role, as a browser sends it back.
fn cookie(node: &Node, role: &str) -> String {
    let answer = login(node, &node.secret(&format!("{role}.token")), &OWN);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json(), serde_json::json!({"name": role, "role": role}));
    let cookie = answer.header("set-cookie").unwrap();
    format!("cookie: other=1; {}", cookie.split(';').next().unwrap())
}

/// A stream of events.
struct Events {
    socket: TcpStream,
    read: String,
}

impl Events {
    fn open(at: SocketAddr, headers: &[&str]) -> Self {
        let mut socket = connect(at);
        send(&mut socket, &raw("GET /board/events HTTP/1.1", headers, b""));
        Self { socket, read: String::new() }
    }

    /// Reads until this was told; returns everything.
    fn until(&mut self, words: &str) -> &str {
        let begun = Instant::now();
        let mut piece = [0; 4096];
        while !self.read.contains(words) {
            assert!(begun.elapsed() < PATIENCE, "never: {words}: {}", self.read);
            let came = self.socket.read(&mut piece).unwrap();
            assert!(came > 0, "the stream ended before: {words}: {}", self.read);
            self.read.push_str(&String::from_utf8_lossy(&piece[..came]));
        }
        &self.read
    }

    fn last_id(&self) -> String {
        let id = self.read.rsplit("\nid: ").next().unwrap();
        id.split('\n').next().unwrap().trim().to_owned()
    }
}

fn halt(node: &Node, tenant: &str, headers: &[&str]) -> Answer {
    ask(node, &format!("POST /v1/governors/{tenant}/vm/halt"), headers, REASON)
}

#[test]
fn the_page_is_for_all_and_what_it_shows_for_those_with_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), "");
    let page = ask(&node, "GET /board", &["accept: text/html,*/*;q=0.8"], "");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let files = [
        ("/board/board.css", "text/css"),
        ("/board/board.js", "text/javascript"),
        ("/board/board.svg", "image/svg+xml"),
    ];
    for (path, kind) in files {
        let file = ask(&node, &format!("GET {path}"), &[], "");
        assert!(file.status == 200 && file.header("content-type").unwrap().starts_with(kind), "{file:?}");
        let tag = format!("if-none-match: {}", file.header("etag").unwrap());
        let known = ask(&node, &format!("GET {path}"), &[&tag], "");
        assert_eq!((known.status, known.body.len()), (304, 0), "{path}");
        let zipped = ask(&node, &format!("GET {path}"), &["accept-encoding: gzip"], "");
        assert_eq!(zipped.header("content-encoding"), Some("gzip"), "{path}");
    }
    for answer in [&page, &ask(&node, "GET /board/board.js", &[], "")] {
        let policy = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
        assert_eq!(answer.header("content-security-policy"), Some(policy));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
    for path in ["/board", "/board/events", "/board/session"] {
        for headers in [
            &["accept: */*"][..],
            &["accept: */*", "authorization: Bearer wrong"],
            &["cookie: gemba_board=1"],
        ] {
            let refused = ask(&node, &format!("GET {path}"), headers, "");
            assert_eq!(refused.status, 401, "{path} {headers:?}");
            assert_problem(path, &refused);
        }
    }
    assert_eq!(node.post(JSON, signal("acme", "vm", "s-1").as_bytes()).status, 202);
    node.decided("acme", "s-1");
    let viewer = bearer(&node, "viewer");
    wait_until("the governor is counted", || {
        ask(&node, "GET /board", &[&viewer], "").text().contains("stable 1")
    });
    let text = ask(&node, "GET /board", &[&viewer, "accept: */*"], "").text();
    assert!(text.starts_with("n1 (all, gemba ") && text.contains("): ready, healthy;"), "{text}");
    for said in ["journal      ok", "arrivals ", "alerts: none", "restarts"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let json = ask(&node, "GET /board", &[&viewer, "accept: application/json"], "").json();
    assert_eq!((&json["node"]["role"], &json["alerts"]), (&"all".into(), &Value::Array(Vec::new())));
    assert_eq!(json["lanes"]["events"]["depth"], 0);
}

#[test]
fn a_session_may_what_its_token_may_and_no_page_of_others_orders_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), "");
    let token = node.secret("operator.token");
    let refused = login(&node, "wrong", &OWN);
    assert_eq!(refused.status, 401);
    assert!(refused.header("set-cookie").is_none() && !refused.text().contains("wrong"), "{refused:?}");
    let said = ask(&node, "POST /board/session", &OWN, "{\"token\":3}").text();
    assert!(said.contains("the body must be"), "{said}");
    assert_eq!(login(&node, &token, &["origin: http://evil.example", OWN[0]]).status, 403);
    assert_eq!(login(&node, &token, &["origin: http://localhost"]).status, 403, "a form of the same origin");
    let set = login(&node, &token, &OWN).header("set-cookie").unwrap().to_owned();
    for attribute in ["; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=43200"] {
        assert!(set.contains(attribute), "{set}");
    }
    assert!(!set.contains("Secure"));
    let secure = login(&node, &token, &[OWN[0], "origin: https://localhost"]);
    assert!(secure.header("set-cookie").unwrap().ends_with("; Secure"));

    let operator = cookie(&node, "operator");
    let known = ask(&node, "GET /board/session", &[&operator], "").json();
    assert_eq!(known, serde_json::json!({"name": "operator", "role": "operator"}));
    assert_eq!(ask(&node, "GET /v1/status", &[&operator], "").status, 200);
    for forged in [
        &[&*operator][..],
        &[&operator, OWN[0]],
        &[&operator, OWN[1]],
        &[&operator, OWN[0], "origin: http://evil.example"],
        &[&operator, OWN[0], "origin: null"],
        &[&operator, OWN[0], OWN[1], "sec-fetch-site: cross-site"],
        &[&operator, OWN[0], OWN[1], "sec-fetch-site: same-site"],
    ] {
        let answer = halt(&node, "acme", forged);
        assert_eq!(answer.status, 403, "{forged:?}: {answer:?}");
        assert_problem("halt", &answer);
    }
    let halted = halt(&node, "acme", &[&operator, OWN[0], OWN[1]]);
    assert_eq!(halted.status, 200, "{halted:?}");
    let receipt = format!("/v1/receipts/{}", halted.json()["receipt_id"].as_str().unwrap());
    wait_until("the receipt is in the log", || {
        ask(&node, &format!("GET {receipt}"), &[&operator], "").status == 200
    });
    let receipt = ask(&node, &format!("GET {receipt}"), &[&operator], "").text();
    assert!(receipt.contains("halt by operator: a test"), "{receipt}");
    let viewer = cookie(&node, "viewer");
    assert_eq!(halt(&node, "acme", &[&viewer, OWN[0], OWN[1]]).status, 403, "the role of its token");

    assert_eq!(ask(&node, "DELETE /board/session", &[&operator], "").status, 403, "from anywhere");
    let ended = ask(&node, "DELETE /board/session", &[&operator, OWN[0], OWN[1]], "");
    assert!(ended.status == 200 && ended.header("set-cookie").unwrap().contains("Max-Age=0"), "{ended:?}");
    assert_eq!(ask(&node, "GET /board/session", &[&operator], "").status, 401);
    assert_eq!(ask(&node, "GET /board/session", &[&viewer], "").status, 200, "others go on");
}

#[test]
fn a_stream_tells_what_changes_and_goes_on_after_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), "");
    let (viewer, operator) = (bearer(&node, "viewer"), bearer(&node, "operator"));
    let mut events = Events::open(node.admin, &[&viewer]);
    let head = events.until("event: snapshot").to_lowercase();
    for field in ["content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"] {
        assert!(head.contains(field), "{head}");
    }
    assert!(!head.contains("content-encoding"));
    events.until("\"halted\":0");
    assert_eq!(halt(&node, "acme", &[&operator]).status, 200);
    events.until("\"halted\":1");
    events.until("\n\n");
    let id = format!("last-event-id: {}", events.last_id());
    drop(events);
    assert_eq!(halt(&node, "bolt", &[&operator]).status, 200);
    let mut resumed = Events::open(node.admin, &[&viewer, &id]);
    let told = resumed.until("\"halted\":2");
    assert!(!told.contains("snapshot"), "{told}");
    let mut unknown = Events::open(node.admin, &[&viewer, "last-event-id: 1-1"]);
    assert!(unknown.until("\"halted\":2").contains("event: snapshot"));
}

#[test]
fn as_many_watch_as_may_and_whoever_orders_still_can() {
    let dir = tempfile::tempdir().unwrap();
    let viewers = ["v0", "v1", "v2", "v3"]
        .map(|name| format!("[[admin.token]]\nname = \"{name}\"\nrole = \"viewer\"\n"));
    let node = node(dir.path(), &viewers.concat());
    let viewer = bearer(&node, "v0");
    // Each is let in before the next comes: connections that have shown nothing make room for others.
    let watch = |of: &str| {
        let mut events = Events::open(node.admin, &[&bearer(&node, of)]);
        events.until("event: snapshot");
        events
    };
    let refused = |of: &str| {
        let refused = read_answer(&mut Events::open(node.admin, &[&bearer(&node, of)]).socket).unwrap();
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
        refused.text()
    };
    let mut watching: Vec<Events> = Vec::new();
    for number in 0..4 {
        let name = format!("v{number}");
        watching.extend((0..16).map(|_| watch(&name)));
        let said = refused(&name);
        assert!(said.contains("this token watches the board as often as one may"), "{said}");
    }
    let said = refused("viewer");
    assert!(said.contains("as many viewers watch the board as may"), "{said}");
    // A higher role takes the oldest one's place.
    let admin = watch("admin");
    watching.remove(0).until("one with a higher role came");
    drop(admin);
    wait_until("the admin's place is free", || {
        let mut events = Events::open(node.admin, &[&viewer]);
        let mut line = [0; 12];
        events.socket.read_exact(&mut line).unwrap();
        let is_in = line == *b"HTTP/1.1 200";
        if is_in {
            watching.push(events);
        }
        is_in
    });
    assert_eq!(halt(&node, "acme", &[&bearer(&node, "operator")]).status, 200);
    for events in &mut watching {
        events.until("\"halted\":1");
    }
    drop(watching.pop());
    wait_until("the place is free", || {
        let mut events = Events::open(node.admin, &[&viewer]);
        let mut line = [0; 12];
        events.socket.read_exact(&mut line).unwrap();
        line == *b"HTTP/1.1 200"
    });
}

#[test]
fn a_session_and_its_stream_end_with_their_token() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), "");
    let (viewer, token) = (cookie(&node, "viewer"), bearer(&node, "viewer"));
    let mut streams = [Events::open(node.admin, &[&viewer]), Events::open(node.admin, &[&token])];
    for events in &mut streams {
        events.until("event: snapshot");
    }
    let mut others = Events::open(node.admin, &[&cookie(&node, "operator")]);
    others.until("event: snapshot");
    write(dir.path(), &["operator", "admin"], "");
    let reloaded = ask(&node, "POST /v1/reload", &[&bearer(&node, "admin")], REASON);
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    assert_eq!(ask(&node, "GET /board/session", &[&viewer], "").status, 401);
    for events in &mut streams {
        events.until("event: stale\ndata: {\"reason\":\"the session has ended\"}\n\n");
    }
    assert_eq!(halt(&node, "acme", &[&bearer(&node, "operator")]).status, 200);
    assert!(!others.until("\"halted\":1").contains("stale"));
}

/// The tools of `tests/board/install`.
fn tool(name: &str) -> Option<PathBuf> {
    let path = Path::new(PROGRAM).ancestors().nth(2).unwrap().join("board-tools").join(name);
    if path.exists() { Some(path) } else { missing(name, "tests/board/install") }
}

/// With buffering on, as nginx has it where nobody says otherwise: what is told is fewer bytes than one of its buffers.
#[test]
fn the_stream_passes_a_proxy_that_buffers() {
    let Some(nginx) = tool("nginx") else { return };
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), "");
    let at = SocketAddr::from(([127, 0, 0, 1], free_ports(1)));
    let home = dir.path().join("nginx");
    std::fs::create_dir(&home).unwrap();
    let config = format!(
        "daemon off; master_process off; pid {home}/pid; error_log stderr notice; events {{}}\n\
         http {{ access_log off; gzip on; proxy_buffering on; proxy_buffers 8 64k; proxy_buffer_size 64k; proxy_http_version 1.1;\n\
         client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;\n\
         server {{ listen {at}; location / {{ proxy_pass http://{}; }} }} }}\n",
        node.admin,
        home = home.display()
    );
    std::fs::write(home.join("nginx.conf"), config).unwrap();
    let mut command = Command::new(nginx);
    command.args(["-p", home.to_str().unwrap(), "-c", home.join("nginx.conf").to_str().unwrap()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let _nginx = Process::spawn(command, PATIENCE);
    wait_until("nginx listens", || TcpStream::connect(at).is_ok());
    let mut events = Events::open(at, &[&bearer(&node, "viewer"), "accept-encoding: gzip"]);
    events.until("event: snapshot");
    events.until("event: change");
    let begun = Instant::now();
    assert_eq!(halt(&node, "acme", &[&bearer(&node, "operator")]).status, 200);
    events.until("\"halted\":1");
    eprintln!("the change came through nginx after {:?}", begun.elapsed());
}

/// A browser does what people do, on a node whose signals are hostile; see `tests/board/browse.py`.
#[test]
fn a_browser_shows_the_board_to_everybody() {
    let (Some(python), Some(axe)) = (tool("bin/python"), tool("axe.min.js")) else { return };
    let built = Path::new(PROGRAM).ancestors().nth(2).unwrap();
    let shell = built.join("chromium/shell");
    if !shell.exists() {
        return missing("Chromium", "tests/chromium/install").unwrap_or_default();
    }
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Does::Answer(400));
    let pack = "name = \"p\"\n[[rule]]\nid = \"act\"\ntypes = [\"cost.usage\"]\nwhen = \"true\"\ndecide = \"act\"\naction = \"page\"\nreason = \"a reason\"\n";
    std::fs::write(dir.path().join("pack.toml"), pack).unwrap();
    let action = format!(
        "[policy]\npacks = [\"pack.toml\"]\n[[action]]\nname = \"page\"\nkind = \"webhook\"\nurl = \"{}\"\nallow_private = true\n",
        target.url()
    );
    let node = node(dir.path(), &(action + "[operator]\nneeds_second = [\"line halt\"]\n"));
    let hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>";
    for (number, tenant) in ["acme", "bolt", "core"].into_iter().enumerate() {
        let body = signal(tenant, "vm", &format!("{hostile}{number}"))
            .replace("\"spend\"", &format!("\"{hostile}\":1,\"spend\""));
        assert_eq!(node.post(JSON, body.as_bytes()).status, 202);
    }
    wait_until("a dead letter is open", || {
        let found = ask(&node, "GET /v1/deadletters?status=open", &[&bearer(&node, "viewer")], "").json();
        found["deadletters"].as_array().is_some_and(|found| found.len() == 3)
    });
    let shots = built.join("board");
    std::fs::create_dir_all(&shots).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/board/browse.py");
    let output = Command::new(python)
        .arg(script)
        .args([&format!("http://{}", node.admin), hostile])
        .args([&shell, &axe, &shots])
        .env("GEMBA_VIEWER", node.secret("viewer.token"))
        .env("GEMBA_PID", node.pid().to_string())
        .env("GEMBA_OPERATOR", node.secret("operator.token"))
        .env("GEMBA_ADMIN", node.secret("admin.token"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    std::io::stderr().write_all(&output.stderr).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
