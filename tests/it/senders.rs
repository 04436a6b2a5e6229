//! Programs that we did not write send signals as their own libraries sign them.

use std::path::PathBuf;
use std::process::Command;

use crate::node::Node;
use crate::tools::missing;

/// The Python that `tests/senders/install` prepared; `None` where it did not.
pub fn python() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(target).join("senders/bin/python");
    if python.exists() { Some(python) } else { missing("target/senders", "tests/senders/install") }
}

/// What the node answers to a script of `tests/senders`, and that as one text.
fn answers(node: &Node, script: &str, path: &str, secret: &str) -> Option<(Vec<serde_json::Value>, String)> {
    let python = python()?;
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/senders").join(script);
    let url = format!("http://{}{path}", node.ingress);
    let output = Command::new(python).arg(script).arg(url).arg(node.file(secret)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let answers = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Some((answers, said))
}

#[test]
fn the_cloud_events_library_of_pypi_is_understood() {
    let node = Node::start();
    let Some((answers, said)) = answers(&node, "cloud_events.py", "/v1/signals", "signals.secret") else {
        return;
    };
    let status = |answer: &serde_json::Value| answer["status"].as_u64();
    assert_eq!(
        answers.iter().filter_map(status).collect::<Vec<_>>(),
        [202, 202, 202, 202, 202, 202, 422],
        "{said}"
    );
    assert_eq!(answers[6]["answer"]["detail"], "`sku` is missing", "{said}");
    for number in 1..=8 {
        let status = node.decided("acme", &format!("ce-{number}"));
        assert_eq!(status["status"], "decided", "{status}");
    }
}

#[test]
fn the_standard_webhooks_library_of_pypi_is_understood() {
    let node = Node::start();
    let script = "standard_webhooks.py";
    let Some((answers, said)) = answers(&node, script, "/v1/sources/webhooks", "webhooks.secret") else {
        return;
    };
    let status = |answer: &serde_json::Value| answer["status"].as_u64();
    assert_eq!(
        answers.iter().filter_map(status).collect::<Vec<_>>(),
        [202, 202, 202, 202, 202, 401],
        "{said}"
    );
    for (number, answer) in (1..).zip(&answers[..4]) {
        assert_eq!(answer["answer"]["signal_id"], format!("msg-{number}"), "{said}");
    }
    let again = &answers[4]["answer"];
    assert_eq!((&again["seq"], &again["duplicate"]), (&answers[3]["answer"]["seq"], &true.into()), "{said}");
    for number in 1..=4 {
        let status = node.decided("acme", &format!("msg-{number}"));
        assert_eq!(status["status"], "decided", "{status}");
        let receipt = node.ask(&format!("/v1/receipts/{}", status["receipts"][0].as_str().unwrap())).json();
        assert_eq!(
            (&receipt["source"], &receipt["assurance"]),
            (&"webhooks".into(), &"B".into()),
            "{receipt}"
        );
    }
    assert_eq!(node.ask("/v1/governors?tenant=evil").json()["governors"], serde_json::json!([]));
}
