//! The README's first screen, run as it is written.

use std::process::Command;

use crate::node::Node;

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

/// The block of the README that sends one signal with `openssl` and `curl`.
fn transcript() -> (String, String) {
    let readme = readme();
    let block =
        readme.split("<!-- transcript -->\n```console\n").nth(1).expect("the README has a transcript");
    let block = block.split("```").next().unwrap();
    let (mut commands, mut answers) = (String::new(), String::new());
    for line in block.lines() {
        match line.strip_prefix("$ ").or_else(|| line.strip_prefix("> ")) {
            Some(command) => commands.push_str(&format!("{command}\n")),
            None => answers.push_str(&format!("{line}\n")),
        }
    }
    (commands, answers)
}

/// What differs from one run to the next: digits of times, hashes and keys.
fn without_chance(text: &str) -> String {
    let text = text.replace(['\n', ' '], "");
    let mut out = String::new();
    let mut rest = text.as_str();
    let chance = ["\"hash\":\"", "\"signature\":\"", "\"salt\":\"", "\"key_id\":\"", "\"timestamp\":"];
    while let Some((at, key)) = chance.iter().filter_map(|key| Some((rest.find(key)?, key))).min() {
        let value = at + key.len();
        out.push_str(&rest[..value]);
        rest = rest[value..].trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    out + rest
}

#[test]
fn the_transcript_on_the_first_screen_is_true() {
    let (commands, expected) = transcript();
    assert!(commands.contains("openssl") && commands.contains("curl"), "{commands}");
    let node = Node::start();
    // The second in which the README lets the node decide may be too short here.
    let wait = "for try in $(seq 300); do curl -sS localhost:9090/v1/signals/acme/s-1 \
                -H \"authorization: Bearer $(cat data/admin.token)\" | grep -q decided && break; sleep 0.1; done;";
    assert!(commands.contains("\nsleep 1;"), "{commands}");
    let here = commands
        .replace("\nsleep 1;", &format!("\n{wait}"))
        .replace("localhost:8080", &node.ingress.to_string())
        .replace("localhost:9090", &node.admin.to_string());
    let output = Command::new("bash").args(["-euc", &here]).current_dir(&node.dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(without_chance(&said), without_chance(&expected), "{said}");
}

#[test]
fn the_four_signals_of_the_readme_are_taken_and_three_of_them_acted_on() {
    let Some(python) = crate::senders::python() else { return };
    let readme = readme();
    let demo = readme.split("<!-- demo -->\n```python\n").nth(1).expect("the README has a demo");
    let demo = demo.split("```").next().unwrap();
    let node = Node::start();
    let here = demo.replace("localhost:8080", &node.ingress.to_string());
    let output = Command::new(python).args(["-c", &here]).current_dir(&node.dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for (number, line) in said.lines().enumerate() {
        let answer: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&answer["status"], &answer["signal_id"]),
            (&"accepted".into(), &format!("demo-{number}").into())
        );
        let status = node.decided("acme", &format!("demo-{number}"));
        let receipt = node.ask(&format!("/v1/receipts/{}", status["receipts"][0].as_str().unwrap())).json();
        let kind = if number == 2 { "observed" } else { "action_generated" };
        assert_eq!(receipt["receipt_type"], kind, "{receipt}");
    }
    assert_eq!(said.lines().count(), 4);
}
