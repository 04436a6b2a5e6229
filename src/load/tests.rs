//! The generator against servers that answer, refuse, close and reset.

mod ends;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

use clap::Parser;

use super::response::{Parsed, parse};
use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

/// Writes a file that nobody else may read.
fn private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn options(directory: &Path, listener: &TcpListener, flags: &str) -> Options {
    let secret = directory.join("secret");
    private(&secret, "0123456789abcdef0123456789abcdef\n");
    let url = format!("http://{}", listener.local_addr().unwrap());
    let fixed = ["load", "--url", &url, "--secret-file", secret.to_str().unwrap(), "--seed", "1"];
    Command::parse_from(fixed.into_iter().chain(flags.split_whitespace())).options
}

/// Reads requests and hands each body, with its number on this connection, to `answer`, until that closes.
fn serve(listener: TcpListener, answer: impl Fn(usize, &str) -> Option<String> + Send + Sync + 'static) {
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || connection(socket.unwrap(), &*answer));
        }
    });
}

fn connection(mut socket: TcpStream, answer: &dyn Fn(usize, &str) -> Option<String>) {
    let (mut input, mut piece, mut count) = (String::new(), [0; 4096], 0);
    loop {
        let Some(head) = input.find("\r\n\r\n") else {
            match socket.read(&mut piece) {
                Ok(0) | Err(_) => return,
                Ok(read) => input.push_str(std::str::from_utf8(&piece[..read]).unwrap()),
            }
            continue;
        };
        let length = input.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let end = head + 4 + length.map_or(0, |length| length.parse::<usize>().unwrap());
        while input.len() < end {
            let read = socket.read(&mut piece).unwrap();
            input.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        }
        count += 1;
        let Some(text) = answer(count, &input[..end]) else { return };
        if socket.write_all(text.as_bytes()).is_err() {
            return;
        }
        if text.contains("connection: close") {
            // A socket that is closed with unread requests takes its last answers with it (RFC 9112, 9.6).
            socket.shutdown(std::net::Shutdown::Write).unwrap();
            while matches!(socket.read(&mut piece), Ok(1..)) {}
            return;
        }
        input.drain(..end);
    }
}

/// Requests that the schedule held; a busy machine may leave the last ones unsent.
fn due(summary: &Summary) -> u64 {
    summary.requests.sent + summary.requests.unsent
}

fn field<'a>(request: &'a str, name: &str) -> &'a str {
    let begin = format!("\"{name}\":\"");
    request.split(&begin).nth(1).unwrap().split('"').next().unwrap()
}

fn answer(status: &str, more: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{more}\r\n{body}", body.len())
}

/// What a node does with single signals: counts, knows repeats, and answers for them on its operator plane.
#[derive(Default)]
struct Node(Mutex<std::collections::HashMap<String, usize>>);

impl Node {
    fn answer(&self, request: &str, more: &str) -> String {
        let mut known = self.0.lock().unwrap();
        if let Some(path) = request.strip_prefix("GET /v1/signals/tenant-") {
            assert!(request.contains("\r\nauthorization: Bearer 0123456789abcdef-operator\r\n"));
            let id = path.split([' ', '/']).nth(1).unwrap();
            let Some(seq) = known.get(id) else { return answer("404 Not Found", more, "") };
            return answer(
                "200 OK",
                more,
                &format!(r#"{{"status":"decided","seq":{seq},"receipts":["r-{seq:016x}-00"]}}"#),
            );
        }
        let id = field(request, "id");
        if field(request, "severity") != "info" {
            return answer("422 Unprocessable Content", more, "{}");
        }
        let next = known.len() + 1;
        let seq = *known.entry(id.to_owned()).or_insert(next);
        let repeat = if seq == next { "" } else { r#","duplicate":true"# };
        let body = format!(r#"{{"status":"accepted","signal_id":"{id}","seq":{seq}{repeat}}}"#);
        answer("202 Accepted", more, &body)
    }
}

#[test]
fn every_kind_of_request_gets_the_answer_that_it_deserves() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let log = directory.path().join("log");
    let report = directory.path().join("report");
    let flags = "--rate 2000 --duration 0.5 --connections 4 --mix valid=90,duplicate=5,malformed=5 --verify";
    let mut options = options(directory.path(), &listener, flags);
    options.admin_url = options.url.clone();
    options.admin_token_file = directory.path().join("token");
    options.accepted_log = Some(log.clone());
    options.report = Some(report.clone());
    private(&options.admin_token_file, "0123456789abcdef-operator\n");
    let node = Node::default();
    serve(listener, move |_, request| Some(node.answer(request, "")));

    let summary = run(&options, &Stop::default()).unwrap();
    write_report(&options, &summary).unwrap();
    assert!(summary.passed(), "{:?}", summary.wrong_answers);
    assert_eq!(due(&summary), 1000);
    let (signals, refused) = (&summary.signals, summary.requests.refused);
    assert_eq!(signals.accepted + signals.duplicates + refused, summary.requests.sent);
    assert!(signals.duplicates > 0 && refused > 0, "{signals:?} {refused}");
    assert_eq!(summary.requests.by_status[&202], signals.accepted + signals.duplicates);
    assert_eq!(summary.latency_millis.count, signals.accepted + signals.duplicates);
    let verification = summary.verification.as_ref().unwrap();
    assert_eq!((verification.signals, verification.decided), (signals.accepted, signals.accepted));

    let log = fs::read_to_string(log).unwrap();
    let count = |begin: &str, end: &str| {
        log.lines().filter(|line| line.starts_with(begin) && line.ends_with(end)).count() as u64
    };
    assert_eq!(count("acked tenant-", " 0"), signals.accepted);
    assert_eq!(count("acked tenant-", " 1"), signals.duplicates);
    assert_eq!(count("refused 422 tenant-", ""), refused);
    let page = fs::read_to_string(report.join("index.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("every check passed") && !page.contains("src="));
    assert!(fs::read_to_string(report.join("latency.hgrm")).unwrap().contains("#[Max"));
    assert!(render(&summary).contains("signals accepted per second"));
    assert!(serde_json::to_string(&summary).unwrap().contains(r#""p99.9":"#));
}

#[test]
fn an_orderly_close_is_no_error_even_when_requests_were_sent_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let flags = "--rate 4000 --duration 0.5 --connections 2 --pipeline 8";
    let options = options(directory.path(), &listener, flags);
    let node = Node::default();
    serve(listener, move |count, request| {
        Some(node.answer(request, if count == 50 { "connection: close\r\n" } else { "" }))
    });
    let summary = run(&options, &Stop::default()).unwrap();
    assert!(summary.passed(), "{:?}", summary.wrong_answers);
    assert_eq!(due(&summary), 2000);
    assert_eq!((summary.signals.accepted, summary.requests.unknown), (summary.requests.sent, 0));
    assert_eq!(summary.connections_broken, 0);
    assert!(summary.connections_opened >= summary.signals.accepted / 50, "{}", summary.connections_opened);
}

#[test]
fn a_lost_connection_makes_its_request_unknown_and_the_run_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options(directory.path(), &listener, "--duration 0.5 --connections 3");
    let log = directory.path().join("log");
    options.accepted_log = Some(log.clone());
    let node = Node::default();
    serve(listener, move |count, request| (count < 20).then(|| node.answer(request, "")));
    let summary = run(&options, &Stop::default()).unwrap();
    assert!(summary.passed(), "{:?}", summary.wrong_answers);
    let requests = &summary.requests;
    assert!(requests.unknown > 3 && summary.signals.accepted >= 19 * 3, "{requests:?}");
    assert_eq!(requests.sent, summary.signals.accepted + requests.unknown);
    assert_eq!(summary.connections_broken, requests.unknown);
    let log = fs::read_to_string(log).unwrap();
    let unknown = log.lines().filter(|line| line.starts_with("unknown tenant-")).count();
    assert_eq!(unknown as u64, requests.unknown);
}

#[test]
fn what_was_not_kept_fails_the_verification() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let flags = "--rate 300 --duration 0.2 --connections 1 --verify";
    let mut options = options(directory.path(), &listener, flags);
    options.admin_url = options.url.clone();
    options.admin_token_file = directory.path().join("token");
    private(&options.admin_token_file, "0123456789abcdef-operator");
    let node = Node::default();
    serve(listener, move |_, request| {
        let receipt = |kind: &str| Some(answer("200 OK", "", &format!(r#"{{"receipt_type":"{kind}"}}"#)));
        let told = |text: &str| Some(answer("200 OK", "", text));
        let of = |number: &str| request.contains(&format!("-0000000000{number} "));
        match request {
            _ if request.starts_with("GET /v1/receipts/r-1 ") => receipt("action_generated"),
            _ if request.starts_with("GET /v1/receipts/r-2 ") => receipt("action_successful"),
            _ if request.starts_with("GET /v1/receipts/r-3 ") => receipt("observed"),
            _ if of("10") => Some(answer("404 Not Found", "", "")),
            _ if of("11") => told(r#"{"status":"decided","seq":99,"receipts":["r-1"]}"#),
            _ if of("12") => told(r#"{"status":"decided","seq":13,"receipts":[]}"#),
            _ if of("13") => told(r#"{"status":"decided","seq":14,"receipts":["r-1","r-2"]}"#),
            _ if of("14") => told(r#"{"status":"decided","seq":15,"receipts":["r-1","r-2","r-3"]}"#),
            _ => Some(node.answer(request, "")),
        }
    });
    let summary = run(&options, &Stop::default()).unwrap();
    assert!(!summary.passed());
    let found = summary.verification.unwrap();
    assert_eq!(found.signals, summary.signals.accepted);
    assert_eq!(found.decided, found.signals - 4, "{:?}", found.failures);
    assert_eq!((found.lost, found.other_seq, found.without_receipt, found.decided_twice), (1, 1, 1, 1));
    assert_eq!(found.failures.len(), 4);
}

#[test]
fn wrong_answers_are_counted_and_shed_ones_are_not_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = options(directory.path(), &listener, "--rate 200 --duration 0.5 --connections 1");
    serve(listener, |count, _| {
        Some(match count % 4 {
            0 => answer("503 Service Unavailable", "retry-after: 1\r\n", ""),
            1 => answer("429 Too Many Requests", "retry-after: 1\r\n", ""),
            2 => answer("409 Conflict", "", "taken"),
            _ => answer("202 Accepted", "", r#"{"signal_id":"another","seq":1}"#),
        })
    });
    let summary = run(&options, &Stop::default()).unwrap();
    assert!(!summary.passed());
    assert_eq!(due(&summary), 100);
    let requests = &summary.requests;
    assert!(requests.shed.abs_diff(requests.wrong) <= 1 && requests.shed > 2, "{requests:?}");
    assert_eq!(requests.shed + requests.wrong, requests.sent);
    assert!(summary.wrong_answers.iter().any(|answer| answer.contains("409: taken")));
}

#[test]
fn latency_counts_from_the_intended_start() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = options(directory.path(), &listener, "--rate 100 --duration 0.6 --connections 1");
    serve(listener, |count, _| {
        // One stall of 200 ms: the twenty requests that were due meanwhile waited too.
        if count == 10 {
            thread::sleep(Duration::from_millis(200));
        }
        Some(answer("202 Accepted", "", ""))
    });
    let summary = run(&options, &Stop::default()).unwrap();
    assert!(summary.passed());
    let late = summary.accepted_nanos.count_between(50_000_000, u64::MAX);
    assert!(late >= 10, "{late}");
}

#[test]
fn http2_carries_the_same_load() {
    use hyper::service::service_fn;
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let flags =
        "--protocol h2 --rate 1000 --duration 0.5 --connections 2 --pipeline 4 --mix valid=9,malformed=1";
    let options = options(directory.path(), &listener, flags);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        runtime.block_on(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let node = std::rc::Rc::new(Node::default());
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let node = std::rc::Rc::clone(&node);
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let node = std::rc::Rc::clone(&node);
                    async move {
                        use http_body_util::BodyExt as _;
                        assert_eq!(request.headers()["x-signature"].len(), 64);
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let text = node.answer(std::str::from_utf8(&body).unwrap(), "");
                        let Parsed::Whole(answer) = parse(text.as_bytes()) else { panic!("{text}") };
                        let body =
                            http_body_util::Full::new(bytes::Bytes::from(text[answer.body].to_owned()));
                        hyper::Response::builder().status(answer.status).body(body)
                    }
                });
                let io = hyper_util::rt::TokioIo::new(socket);
                tokio::task::spawn_local(
                    hyper::server::conn::http2::Builder::new(Local).serve_connection(io, service),
                );
            }
        });
    });
    let summary = run(&options, &Stop::default()).unwrap();
    assert!(summary.passed(), "{:?}", summary.wrong_answers);
    assert_eq!(due(&summary), 500);
    assert_eq!(summary.signals.accepted + summary.requests.refused, summary.requests.sent);
    assert!(summary.requests.refused > 0);
    assert_eq!((summary.requests.unknown, summary.connections_opened), (0, 2));
}

#[derive(Clone)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

#[test]
fn nothing_to_read_or_to_reach_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options(directory.path(), &listener, "--duration 0.1");
    private(&options.secret_file, "short");
    assert_eq!(run(&options, &Stop::default()).unwrap_err().exit_code(), 2);
    options.secret_file = directory.path().join("missing");
    assert_eq!(run(&options, &Stop::default()).unwrap_err().exit_code(), 2);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = self::options(directory.path(), &listener, "--duration 0.1");
    drop(listener);
    let error = run(&options, &Stop::default()).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("is the node running?"), "{error}");
}
