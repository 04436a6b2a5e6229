//! The examples for people in `docs/examples`: every one is run, in each of its forms.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::node::{Node, signal};
use crate::tools::missing;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples");

/// A program that sends one signal.
struct Sender {
    file: &'static str,
    program: &'static str,
    /// A command of the shell that succeeds where everything is there that the program needs.
    needs: &'static str,
}

const SENDERS: [Sender; 5] = [
    Sender { file: "send.sh", program: "sh", needs: "curl --version && openssl version" },
    Sender { file: "send.py", program: "python3", needs: PYTHON },
    Sender { file: "send.mjs", program: "node", needs: "node -e fetch" },
    Sender { file: "send.pl", program: "perl", needs: "perl -MDigest::SHA -MHTTP::Tiny -MJSON::PP -e 1" },
    Sender { file: "Send.java", program: "java", needs: "javac -version" },
];

const VERIFIER: &str = "verify_receipt.py";
const PYTHON: &str = "python3 --version";

/// Scheme, path and source of a development node; the source's secret is named after it.
const FORMS: [(&str, &str, &str); 2] =
    [("hmac", "/v1/signals", "signals"), ("standard-webhooks", "/v1/sources/webhooks", "webhooks")];

/// Whether a file of the examples can be run here.
fn can_run(file: &str, needs: &str) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", needs]).stdout(Stdio::null()).stderr(Stdio::null());
    let tool = format!("what docs/examples/{file} needs");
    shell.status().unwrap().success() || missing::<()>(&tool, "tests/examples/install").is_some()
}

fn senders() -> impl Iterator<Item = &'static Sender> {
    SENDERS.iter().filter(|sender| can_run(sender.file, sender.needs))
}

impl Sender {
    fn command(&self, scheme: &str, url: &str, secret: &Path, id: &str) -> Command {
        let mut command = Command::new(self.program);
        command.arg(Path::new(DIR).join(self.file)).args([scheme, url]).arg(secret).arg(id);
        command
    }

    /// Sends a signal to a node: whether the program was content, the status and the answer that it printed.
    fn send(&self, node: &Node, (scheme, path, source): (&str, &str, &str), id: &str) -> Sent {
        let url = format!("http://{}{path}", node.ingress);
        let secret = node.file(&format!("{source}.secret"));
        Sent::read(self.file, &self.command(scheme, &url, &secret, id).output().unwrap())
    }
}

/// What a program made of the answer.
struct Sent {
    succeeded: bool,
    status: String,
    answer: serde_json::Value,
}

impl Sent {
    fn read(file: &str, output: &Output) -> Self {
        let said = String::from_utf8_lossy(&output.stdout);
        let context = || format!("{file}: {said}{}", String::from_utf8_lossy(&output.stderr));
        let (status, answer) = said.trim_end().split_once(' ').unwrap_or_else(|| panic!("{}", context()));
        let answer = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {}", context()));
        Self { succeeded: output.status.success(), status: status.to_owned(), answer }
    }
}

#[test]
fn each_example_sends_a_signal_under_both_schemes() {
    let node = Node::start();
    for sender in senders() {
        let file = sender.file;
        for form in FORMS {
            let (scheme, _, source) = form;
            let id = format!("{file}-{scheme}");
            let sent = sender.send(&node, form, &id);
            assert!(sent.succeeded, "{file}: {}", sent.answer);
            assert_eq!(
                (sent.status.as_str(), &sent.answer["status"], &sent.answer["signal_id"]),
                ("202", &"accepted".into(), &id.as_str().into()),
                "{file}"
            );
            let status = node.decided("acme", &id);
            assert_eq!(status["status"], "decided", "{file}: {status}");
            let receipt = status["receipts"][0].as_str().unwrap();
            let receipt = node.ask(&format!("/v1/receipts/{receipt}")).json();
            assert_eq!(receipt["source"], source, "{file}: {receipt}");
            let again = sender.send(&node, form, &id);
            assert!(again.succeeded, "{file}: {}", again.answer);
            assert_eq!(
                (&again.answer["seq"], &again.answer["duplicate"]),
                (&sent.answer["seq"], &true.into()),
                "{file}"
            );
        }
        let (scheme, path, _) = FORMS[0];
        let refused = sender.send(&node, (scheme, path, "webhooks"), "under-a-wrong-secret");
        assert_eq!(
            (refused.succeeded, refused.status.as_str()),
            (false, "401"),
            "{file}: {}",
            refused.answer
        );
    }
}

/// A request as a server of the test received it.
struct Received {
    begun: Instant,
    head: String,
    body: Vec<u8>,
}

/// Takes one request and answers it; with the status 0 the connection ends without an answer.
fn answer(listener: &TcpListener, status: u16) -> Received {
    let mut socket = accept(listener);
    let begun = Instant::now();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    socket.read_exact(&mut body).unwrap();
    if status != 0 {
        let text = format!(
            "HTTP/1.1 {status} Said\r\nretry-after: 2\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
        );
        socket.write_all(text.as_bytes()).unwrap();
    }
    Received { begun, head, body }
}

/// The next connection; a program that gives up instead fails the test.
fn accept(listener: &TcpListener) -> TcpStream {
    let until = Instant::now() + Duration::from_mins(1);
    listener.set_nonblocking(true).unwrap();
    loop {
        match listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(false).unwrap();
                return socket;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        assert!(Instant::now() < until, "the program does not send again");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn each_example_waits_as_it_is_told_and_sends_the_same_bytes_again() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "a secret of the tests alone\n").unwrap();
    // They mostly wait: all at a time.
    std::thread::scope(|scope| {
        for sender in senders() {
            let secret = &secret;
            scope.spawn(move || {
                let file = sender.file;
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let url = format!("http://{}/v1/signals", listener.local_addr().unwrap());
                let mut command = sender.command("hmac", &url, secret, "s-1");
                let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
                let received = [429, 503, 0, 202].map(|status| answer(&listener, status));
                let sent = Sent::read(file, &child.wait_with_output().unwrap());
                assert_eq!((sent.succeeded, sent.status.as_str()), (true, "202"), "{file}");
                for pair in received[..3].windows(2) {
                    let waited = pair[1].begun - pair[0].begun;
                    assert!(waited >= Duration::from_millis(1990), "{file} waited {waited:?}");
                }
                for request in &received {
                    assert_eq!(request.body, received[0].body, "{file}");
                    let signature = |head: &str| {
                        head.lines().find(|line| line.starts_with("x-signature:")).map(str::to_owned)
                    };
                    assert!(signature(&request.head).is_some(), "{file}: {}", request.head);
                    assert_eq!(signature(&request.head), signature(&received[0].head), "{file}");
                }
            });
        }
    });
}

#[test]
fn a_spent_rate_is_waited_out() {
    let Some(sender) = senders().next() else { return };
    let node = Node::start_with(&[("GEMBA_RATE_LIMIT__PER_SECOND", "1"), ("GEMBA_RATE_LIMIT__BURST", "1")]);
    // A batch is accepted from a full bucket, and paid off afterwards: one second for each signal.
    let batch: String = (0..8).map(|number| signal("acme", "vm", &format!("b-{number}")) + "\n").collect();
    assert_eq!(node.post("application/x-ndjson", batch.as_bytes()).status, 202);
    let sent = sender.send(&node, FORMS[0], "s-1");
    assert_eq!((sent.succeeded, sent.status.as_str()), (true, "202"), "{}: {}", sender.file, sent.answer);
    assert!(node.metric("gemba_signals_total{result=\"rate_limited\"}") >= 1.0, "{}", sender.file);
    assert_eq!(node.decided("acme", "s-1")["status"], "decided");
}

#[test]
fn a_receipt_is_verified_without_the_node() {
    if !can_run(VERIFIER, PYTHON) {
        return;
    }
    let node = Node::start();
    // The receipt shows what the rule has read: numbers that Python writes in a different form than canonical JSON.
    let body = signal("acme", "vm", "s-1").replace("81.25", "0.00001,\"budget\":2.5e-7");
    assert_eq!(node.post("application/json", body.as_bytes()).status, 202);
    let status = node.decided("acme", "s-1");
    let receipt = node.ask(&format!("/v1/receipts/{}", status["receipts"][0].as_str().unwrap())).text();
    assert!(receipt.contains("0.00001") && receipt.contains("2.5e-7"), "{receipt}");
    let write = |name: &str, text: &str| {
        let path = node.dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (body, other_body) = (write("body", &body), write("other-body", &signal("acme", "vm", "s-2")));
    let changed = write("changed.json", &receipt.replace("\"vm\"", "\"db\""));
    let receipt = write("receipt.json", &receipt);
    let (secret, other_secret) = (node.file("receipt.secret"), node.file("signals.secret"));
    let verify = |files: &[&PathBuf]| {
        Command::new("python3").arg(Path::new(DIR).join(VERIFIER)).args(files).output().unwrap()
    };
    for files in [&[&receipt, &secret][..], &[&receipt, &secret, &body][..]] {
        let output = verify(files);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for (files, why) in [
        (&[&changed, &secret][..], "the hash is not that of the receipt"),
        (&[&receipt, &other_secret][..], "the signature is not by this secret"),
        (&[&receipt, &secret, &other_body][..], "the receipt is about a different signal"),
    ] {
        let output = verify(files);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{said}");
    }
}

#[test]
fn every_example_is_run_and_described() {
    let found =
        std::fs::read_dir(DIR).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<String> = found.filter(|name| name != "README.md").collect();
    let run: BTreeSet<String> =
        SENDERS.iter().map(|sender| sender.file).chain([VERIFIER]).map(str::to_owned).collect();
    assert_eq!(found, run, "docs/examples has what no test runs, or lacks what one runs");
    let page = std::fs::read_to_string(Path::new(DIR).join("README.md")).unwrap();
    let installer = Path::new(DIR).join("../../tests/examples/install");
    let installer = std::fs::read_to_string(installer).unwrap();
    for Sender { file, program, needs } in SENDERS {
        for need in needs.split(" && ") {
            assert!(installer.contains(&format!("'{need}'")), "tests/examples/install does not check {need}");
        }
        let text = std::fs::read_to_string(Path::new(DIR).join(file)).unwrap();
        assert!(text.lines().count() <= 60, "{file} is longer than 60 lines");
        for (scheme, path, source) in FORMS {
            let usage = text.lines().find(|line| line.contains(&format!("{program} {file} {scheme} ")));
            assert!(
                usage.is_some_and(|line| line.contains(path)),
                "{file} has no usage line for {scheme} with its path"
            );
            let row = format!("| `{scheme}` | `http://localhost:8080{path}` | `data/{source}.secret` |");
            assert!(page.contains(&row), "README.md has no row {row}");
        }
        let command = format!("`{program} {file} SCHEME URL SECRET_FILE ID`");
        assert!(page.contains(&format!("[{file}]({file})")) && page.contains(&command), "{file}");
    }
    assert!(page.contains(&format!("`python3 {VERIFIER} RECEIPT.json RECEIPT_SECRET_FILE [SIGNAL_BODY]`")));
}
