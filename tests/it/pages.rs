//! Lists that commands read of other nodes: what a peer answers ends, is no more than was asked for, hides nothing of the others, and is
//! told as its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::program::command;

/// A node that answers each question, which is a path with its query, as the test says.
struct Peer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// `answers` is told what is asked, and how many questions came before.
    fn start(answers: impl Fn(&str, usize) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&asked);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let lines = BufReader::new(&socket).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else { continue };
                let number = {
                    let mut told = told.lock().unwrap();
                    told.push(path.to_owned());
                    told.len() - 1
                };
                let (status, body) = answers(path, number);
                let head = format!(
                    "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                // The command may have seen enough.
                let _partly = socket.write_all(&[head.as_bytes(), body.as_bytes()].concat());
            }
        });
        Self { address, asked }
    }

    /// A node that leaves everything to others.
    fn edge() -> Self {
        Self::start(|_, _| (404, json!({"detail": "another node decides"}).to_string()))
    }

    /// A node with one page.
    fn with(receipts: &[Value]) -> Self {
        let page = page(receipts, None);
        Self::start(move |_, _| page.clone())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn page(receipts: &[Value], next: Option<&str>) -> (u16, String) {
    (200, json!({"receipts": receipts, "next": next}).to_string())
}

fn receipt(id: &str, timestamp: u64) -> Value {
    json!({"receipt_id": id, "receipt_type": "operator", "timestamp": timestamp, "tenant": "acme", "sku": "vm"})
}

const IN_2026: u64 = 1_790_000_000_000;
const IN_2100: u64 = 4_102_444_800_000;

/// What a command says, with these peers in its configuration. It ends, or the runner of the tests ends it.
fn said(dir: &Path, asked: &Peer, peers: &[(&str, &Peer)], words: &[&str]) -> (Option<i32>, String, String) {
    let list = peers
        .iter()
        .map(|(name, peer)| format!("{{ name = \"{name}\", url = \"http://{}\" }}", peer.address));
    let list = list.collect::<Vec<_>>().join(", ");
    let config = format!("[node]\nname = \"asked\"\nprofile = \"dev\"\n[admin]\npeers = [{list}]\n");
    std::fs::write(dir.join("gemba.toml"), config).unwrap();
    let token = dir.join("token");
    std::fs::write(&token, "a-token-of-these-tests-0123456789abcdef").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = command(dir);
    command.args(words).args(["--config", "gemba.toml", "--token-file", "token"]);
    command.args(["--admin", &asked.address.to_string()]);
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_peer_that_never_ends_is_left_and_the_others_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (edge, honest) = (Peer::edge(), Peer::with(&[receipt("r-honest", IN_2026)]));
    let same = Peer::start(|_, _| page(&[], Some("1")));
    let rounds = Peer::start(|_, number| page(&[], Some(if number % 2 == 0 { "1" } else { "2" })));
    let empty = Peer::start(|_, number| page(&[], Some(&(u32::MAX as usize - number).to_string())));
    let long = Peer::start(|_, _| page(&[], Some(&"1".repeat(1_025))));
    let no_list = Peer::start(|_, _| (200, "{}".to_owned()));
    let numbers = Peer::start(|_, _| (200, json!({"receipts": [1, 2], "next": null}).to_string()));
    for (peer, why) in [
        (&same, "comes back to a page that was read"),
        (&rounds, "comes back to a page that was read"),
        (&empty, "has 2500 empty pages in a row"),
        (&long, "has a `next` that names no page"),
        (&no_list, "is none"),
        (&numbers, "has rows that are no objects"),
    ] {
        let told = said(dir.path(), &edge, &[("odd", peer), ("honest", &honest)], &["audit"]);
        assert!(told.0 == Some(0) && told.1.contains("r-honest"), "{why}: {told:?}");
        assert!(
            told.2.contains("receipts of a node are missing: odd: ") && told.2.contains(why),
            "{why}: {told:?}"
        );
    }
    assert!(rounds.asked().len() <= 3, "{:?}", rounds.asked());
    // Of the node that was asked itself it is a failure, after what was found.
    let cut = Peer::start(|_, number| page(&[receipt(&format!("r-{number}"), IN_2026)], Some("1")));
    let told = said(dir.path(), &cut, &[], &["receipts", "list"]);
    assert!(told.0 == Some(3) && told.1.contains("r-0") && told.2.contains("comes back"), "{told:?}");
}

#[test]
fn no_more_is_taken_of_a_node_than_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let many: Vec<Value> = (0..5_000).map(|number| receipt(&format!("r-{number}"), IN_2026)).collect();
    let many = Peer::with(&many);
    let told = said(dir.path(), &many, &[], &["receipts", "list", "--limit", "5", "--json"]);
    assert_eq!((told.0, lines(&told.1).len()), (Some(0), 5), "{told:?}");
    // One page that is too long, and pages that are too long together.
    let long = Peer::start(|_, number| {
        let mut receipt = receipt(&format!("r-{number}"), IN_2026);
        receipt["reason"] = "x".repeat(1_500_000).into();
        page(&[receipt], Some(&number.to_string()))
    });
    let told = said(dir.path(), &long, &[], &["receipts", "list", "--limit", "5"]);
    assert!(told.0 == Some(3) && told.2.contains("answered with more than"), "{}", told.2);
    let told = said(dir.path(), &long, &[], &["receipts", "list", "--limit", "100", "--json"]);
    assert!(told.0 == Some(3) && told.2.contains("answered with more than"), "{}", told.2);
    assert_eq!(lines(&told.1).len(), 5, "1 MiB, and 64 KiB for each of 100");
}

#[test]
fn a_peer_hides_nothing_of_the_others_and_each_row_names_its_node() {
    let dir = tempfile::tempdir().unwrap();
    let future = |number: u64| {
        let mut receipt = receipt(&format!("r-odd-{number}"), IN_2100 + 200 - number);
        receipt["node"] = "honest".into();
        receipt
    };
    let odd = Peer::with(&(0..200).map(future).collect::<Vec<_>>());
    let honest: Vec<Value> = (0..3).map(|number| receipt(&format!("r-{number}"), IN_2026 - number)).collect();
    let (edge, honest) = (Peer::edge(), Peer::with(&honest));
    let peers = [("odd", &odd), ("honest", &honest)];
    let told = said(dir.path(), &edge, &peers, &["audit", "--json", "--limit", "100"]);
    let acts = lines(&told.1);
    let of = |node: &str| acts.iter().filter(|act| act["node"] == node).count();
    assert_eq!((told.0, of("odd"), of("honest"), acts.len()), (Some(0), 100, 3, 103), "{told:?}");
    assert!(
        acts.iter().all(|act| (act["node"] == "odd") == act["receipt_id"].as_str().unwrap().contains("odd"))
    );
    for (words, column) in
        [(&["receipts", "list"][..], "NODE"), (&["audit"], "NODE"), (&["audit", "--csv"], "node")]
    {
        let told = said(dir.path(), &edge, &peers, words);
        let first = told.1.lines().take(2).collect::<String>();
        assert!(first.contains(column), "{first}");
        let row = told.1.lines().find(|line| line.contains("r-2")).unwrap();
        assert!(row.contains("honest"), "{row}");
    }
    // A node that has all of it needs no name.
    let told = said(dir.path(), &honest, &peers, &["audit", "--csv"]);
    assert!(told.1.starts_with("time,type,") && !told.1.contains("node"), "{told:?}");
}

#[test]
fn the_name_of_a_page_changes_nothing_else_of_the_question() {
    let dir = tempfile::tempdir().unwrap();
    for (rows, words) in [
        ("receipts", &["receipts", "list"][..]),
        ("deadletters", &["deadletter", "list"]),
        ("governors", &["governor", "list"]),
    ] {
        let peer = Peer::start(move |_, number| {
            let next = (number == 0).then_some("1&limit=1 #x");
            (200, json!({rows: [{"id": "x"}], "next": next}).to_string())
        });
        let told = said(dir.path(), &peer, &[], words);
        assert_eq!(told.0, Some(0), "{told:?}");
        let asked = peer.asked();
        assert!(asked.len() == 2 && asked[1].ends_with("&after=1%26limit%3D1%20%23x"), "{asked:?}");
    }
}

#[test]
fn an_answer_about_something_else_is_refused_and_one_of_a_peer_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Peer::edge();
    let tells = |story: Value| Peer::start(move |_, _| (200, story.to_string()));
    let story = |tenant: &str, id: &str| json!({"tenant": tenant, "id": id, "source": "a", "status": "decided", "seq": 1, "answered_by": "edge"});
    let (right, other) = (tells(story("acme", "s-1")), tells(story("acme", "s-2")));
    let others = tells(story("other", "s-1"));
    let words = ["signal", "show", "acme", "s-1", "--json"];
    for (wrong, why) in [(&other, "another id: s-2"), (&others, "another tenant: other")] {
        let told = said(dir.path(), &edge, &[("odd", wrong)], &words);
        assert!(told.0 == Some(1) && told.2.contains(why) && told.1.is_empty(), "{told:?}");
        let told = said(dir.path(), &edge, &[("odd", wrong), ("right", &right)], &words);
        let found: Value = serde_json::from_str(&told.1).unwrap();
        assert_eq!(found["id"], "s-1", "{told:?}");
        assert_eq!(found["answered_by"], json!({"name": "right", "address": right.address.to_string()}));
        let told = said(dir.path(), &edge, &[("odd", wrong), ("right", &right)], &words[..4]);
        assert!(told.1.contains(&format!("answered by right at {}", right.address)), "{told:?}");
    }
    let from = [&words[..], &["--source", "b"]].concat();
    let told = said(dir.path(), &edge, &[("odd", &right)], &from);
    assert!(told.0 == Some(1) && told.2.contains("another source: a"), "{told:?}");
    let governor = tells(json!({"tenant": "acme", "sku": "disk", "state": "stable"}));
    let told = said(dir.path(), &edge, &[("odd", &governor)], &["governor", "show", "acme", "vm"]);
    assert!(told.0 == Some(1) && told.2.contains("another sku: disk"), "{told:?}");
}
