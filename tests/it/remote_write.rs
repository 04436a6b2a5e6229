//! Samples that are sent to Prometheus: what arrives, which version is spoken, and what receivers make of them.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::node::{Node, PATIENCE, signal};
use crate::prometheus::Prometheus;
use crate::targets::{Does, Seen, Target, Then};
use crate::tls::{Authority, served};

const JSON: &str = "application/json";
/// What a receiver of 2.0 says that wrote everything.
const WRITTEN: &str = "x-prometheus-remote-write-samples-written: 1000000\r\n";

/// A node that sends as `section` says.
fn node(dir: &Path, section: &str) -> Node {
    let config = format!(
        "[node]\nprofile = \"dev\"\nname = \"n1\"\n[[source]]\nname = \"signals\"\nscheme = \"hmac\"\n{section}"
    );
    std::fs::write(dir.join("gemba.toml"), config).unwrap();
    Node::start_in(dir, &[("GEMBA_CONFIG", "gemba.toml")])
}

fn section(url: &str, more: &str) -> String {
    format!("[prometheus]\nremote_write_url = \"{url}\"\ninterval_seconds = 1\n{more}\n")
}

/// So many samples, as the node counts them.
fn counted(node: &Node, series: &str) -> u64 {
    let page = node.ask("/metrics").text();
    page.lines().find_map(|line| line.strip_prefix(&format!("{series} "))?.parse().ok()).unwrap_or(0)
}

fn lost(node: &Node, cause: &str) -> u64 {
    counted(node, &format!("gemba_telemetry_lost_total{{sink=\"remote_write\",cause=\"{cause}\"}}"))
}

fn sent(node: &Node) -> u64 {
    counted(node, "gemba_telemetry_sent_total{sink=\"remote_write\"}")
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn samples_arrive_at_a_prometheus_and_end_with_the_node() {
    let Some(prometheus) = Prometheus::start(None) else { return };
    let dir = tempfile::tempdir().unwrap();
    let labels = "external_labels = { cluster = \"eu\", job = \"governance\" }";
    let mut node = node(dir.path(), &section(&format!("http://{}/api/v1/write", prometheus.address), labels));
    assert_eq!(node.post(JSON, signal("acme", "vm", "s-1").as_bytes()).status, 202);
    let query = "gemba_signals_total{result=\"accepted\",cluster=\"eu\",job=\"governance\",instance=\"n1\"}";
    wait_until(query, || prometheus.asked(query).as_deref() == Some("1"));
    let bucket = "gemba_request_seconds_bucket{le=\"+Inf\"}";
    wait_until(bucket, || prometheus.asked(bucket).as_deref() == Some("1"));
    assert_eq!(["queue", "refused", "rejected", "too_old"].map(|cause| lost(&node, cause)), [0; 4]);
    assert!(node.terminate().success());
    // This Prometheus knows 1.0 alone, and the node found out.
    assert!(node.everything_said().contains("1.0 is spoken from here on"));
    // Not after five minutes, but now: the node said that every series ended.
    wait_until("the series end", || prometheus.asked(query).is_none() && prometheus.asked(bucket).is_none());
    let ended = format!("last_over_time({query}[10m])");
    assert_eq!(prometheus.asked(&ended).as_deref(), Some("1"), "it was there");
}

/// The fields of a message of protobuf that have bytes, by number.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (first, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return value;
            }
        }
        unreachable!()
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                varint(&mut bytes);
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)).unwrap(),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(length);
        found.push((key >> 3, value.to_vec()));
        bytes = rest;
    }
    found
}

fn opened(request: &Seen) -> Vec<u8> {
    assert_eq!(request.header("content-encoding"), "snappy");
    snap::raw::Decoder::new().decompress_vec(&request.body).unwrap()
}

#[test]
fn a_receiver_of_version_2_is_spoken_to_in_it() {
    let target = Target::start(|_| Does::With(200, WRITTEN));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &section(&target.url(), ""));
    let requests = target.wait_for(3);
    for request in &requests {
        let proto = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
        assert_eq!(request.header("content-type"), proto);
        assert_eq!(request.header("x-prometheus-remote-write-version"), "2.0.0");
        assert!(request.header("user-agent").starts_with("gemba/"));
        let fields = fields(&opened(request));
        let symbols: Vec<String> = fields
            .iter()
            .filter(|(number, _)| *number == 4)
            .map(|(_, text)| String::from_utf8(text.clone()).unwrap())
            .collect();
        assert_eq!(symbols[0], "");
        for wanted in
            ["__name__", "queue_depth", "instance", "n1", "job", "gemba", "Items that wait in a lane."]
        {
            assert!(symbols.iter().any(|symbol| symbol == wanted), "{wanted}");
        }
        assert!(fields.iter().filter(|(number, _)| *number == 5).count() > 200);
    }
    wait_until("they are counted", || sent(&node) > 600);
    assert_eq!(lost(&node, "rejected"), 0);
}

#[test]
fn every_answer_of_a_receiver_is_counted() {
    const PARTLY: &str = "x-prometheus-remote-write-samples-written: 5\r\n";
    const CUT: &[u8] =
        b"HTTP/1.1 200 .\r\nx-prometheus-remote-write-samples-written: 1000000\r\ncontent-length: 9\r\n\r\n";
    for (answers, first, then, cause) in [
        // A part is written: what is not is never sent again.
        (Does::With(200, PARTLY), "2.0.0", "2.0.0", Some("rejected")),
        // Receivers that know 1.0 alone.
        (Does::Answer(204), "2.0.0", "0.1.0", None),
        (Does::Answer(415), "2.0.0", "0.1.0", None),
        (Does::Answer(400), "2.0.0", "0.1.0", None),
        // It wrote a part and refuses the rest: a receiver of 2.0 says so.
        (Does::With(400, PARTLY), "2.0.0", "2.0.0", Some("rejected")),
        // The status is said, and nothing behind it comes.
        (Does::Raw(CUT, Then::Close), "2.0.0", "2.0.0", None),
        // Nothing is sent again that is refused, and sending goes on.
        (Does::Answer(409), "2.0.0", "2.0.0", Some("refused")),
        (Does::Answer(413), "2.0.0", "2.0.0", Some("refused")),
        (Does::Answer(301), "2.0.0", "2.0.0", Some("refused")),
        // The same again.
        (Does::With(429, "retry-after: 1\r\n"), "2.0.0", "2.0.0", None),
        (Does::Answer(500), "2.0.0", "2.0.0", None),
        (Does::Reset, "2.0.0", "2.0.0", None),
    ] {
        let target = Target::start(move |before| match before {
            0 => answers,
            _ => Does::With(200, WRITTEN),
        });
        let dir = tempfile::tempdir().unwrap();
        let node = node(dir.path(), &section(&target.url(), ""));
        let seen = target.wait_for(3);
        let version = |request: &Seen| request.header("x-prometheus-remote-write-version").to_owned();
        assert_eq!((&*version(&seen[0]), &*version(&seen[1])), (first, then), "{answers:?}");
        wait_until("they are counted", || sent(&node) > 0);
        let all = ["queue", "too_old", "refused", "rejected"];
        for counted in all {
            let has = lost(&node, counted) > 0;
            assert_eq!(has, cause == Some(counted), "{answers:?}: {counted}");
        }
        let same = opened(&seen[0]) == opened(&seen[1]);
        let is_taken = matches!(answers, Does::Raw(..));
        assert_eq!(same, cause.is_none() && first == then && !is_taken, "{answers:?}");
    }
}

#[test]
fn a_receiver_that_refuses_samples_in_both_versions_goes_on_to_be_spoken_to_in_the_newer() {
    let target =
        Target::start(|before| if before < 3 { Does::Answer(400) } else { Does::With(200, WRITTEN) });
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &section(&target.url(), ""));
    let seen = target.wait_for(4);
    let versions: Vec<&str> =
        seen.iter().take(4).map(|request| request.header("x-prometheus-remote-write-version")).collect();
    assert_eq!(versions, ["2.0.0", "0.1.0", "2.0.0", "2.0.0"]);
    wait_until("they are counted", || sent(&node) > 0 && lost(&node, "refused") > 0);
}

#[test]
fn a_receiver_that_hangs_does_not_hold_up_the_node() {
    let target = Target::start(|_| Does::Hang);
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(dir.path(), &section(&target.url(), ""));
    target.wait_for(1);
    assert_eq!(node.post(JSON, signal("acme", "vm", "s-1").as_bytes()).status, 202);
    node.decided("acme", "s-1");
    assert_eq!(sent(&node), 0);
    assert!(node.terminate().success());
}

#[test]
fn the_node_says_who_it_is_and_tells_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let keep = |name: &str, secret: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.path().join(name);
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    keep("token", "a-very-secret-token\n");
    keep("password", "open sesame\n");
    for (login, header) in [
        ("bearer_token_file = \"token\"", "Bearer a-very-secret-token"),
        ("username = \"node\"\npassword_file = \"password\"", "Basic bm9kZTpvcGVuIHNlc2FtZQ=="),
    ] {
        let target = Target::start(|_| Does::Answer(403));
        let mut node = node(dir.path(), &section(&target.url(), login));
        assert_eq!(target.wait_for(2)[1].header("authorization"), header);
        wait_until("they are refused", || lost(&node, "refused") > 0);
        assert!(node.terminate().success());
        let said = node.everything_said();
        assert!(said.contains("the receiver refuses samples"), "{said}");
        for secret in ["a-very-secret", "sesame", "bm9kZTpv"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
}

#[test]
fn a_receiver_may_ask_for_a_certificate() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    authority.write(dir.path(), "client", &["n1"]);
    let target = Target::wrapped(|_| Does::With(200, WRITTEN), served(authority.server(true)));
    let url = format!("https://{}/hook", target.address);
    let files = |client: &str| format!("[prometheus.remote_write_tls]\nca_file = \"ca.pem\"\n{client}");
    let mut without = node(dir.path(), &section(&url, &files("")));
    assert!(without.terminate().success());
    assert!(without.everything_said().contains("samples are not taken"));
    assert!(target.seen().is_empty(), "nobody is listened to without a certificate");
    let client = "cert_file = \"client.crt\"\nkey_file = \"client.key\"\n";
    let node = node(dir.path(), &section(&url, &files(client)));
    target.wait_for(2);
    wait_until("they are counted", || sent(&node) > 0);
}
