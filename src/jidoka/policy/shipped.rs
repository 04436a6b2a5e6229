//! The packs that are shipped: every example holds, every rule has one in which it decides and one in which it does not,
//! and a memory that is changed makes an example fail.

use std::sync::Arc;

use super::pack::Verdict;
use super::{Pack, trial};

const SHIPPED: [(&str, &str); 4] = [
    ("cost_governance.toml", include_str!("../../../config/policies/cost_governance.toml")),
    ("permission_drift.toml", include_str!("../../../config/policies/permission_drift.toml")),
    ("change_management.toml", include_str!("../../../config/policies/change_management.toml")),
    ("compliance_audit.toml", include_str!("../../../config/policies/compliance_audit.toml")),
];

fn parse(file: &str, text: &str) -> Arc<Pack> {
    Arc::new(Pack::parse(file, text).unwrap_or_else(|error| panic!("{error}")))
}

#[test]
fn every_shipped_example_holds() {
    for (file, text) in SHIPPED {
        let trial = trial::run(&parse(file, text));
        assert!(trial.failed.is_empty(), "{:#?}", trial.failed);
    }
}

#[test]
fn every_shipped_rule_and_memory_is_shown_by_examples() {
    for (file, text) in SHIPPED {
        assert_eq!(trial::run(&parse(file, text)).untested, [], "{file}");
    }
}

#[test]
fn a_shipped_memory_with_another_window_or_other_types_fails_an_example() {
    let mut tried = 0;
    for (file, text) in SHIPPED {
        for line in text.lines().filter(|line| line.contains(" = { kind = ")) {
            let types =
                line.find("types = [").map(|at| &line[at..=at + line[at..].find(']').unwrap()]).unwrap();
            let mut others = vec![line.replace(types, "types = [\"other\"]")];
            if let Some((_, window)) = line.split_once("window_seconds = ") {
                let seconds: u64 = window.split([',', ' ']).next().unwrap().parse().unwrap();
                let with = |other: u64| line.replace(&seconds.to_string(), &other.to_string());
                others.extend([with(seconds * 2), with(seconds / 2)]);
            }
            for other in others {
                tried += 1;
                let changed = parse(file, &text.replace(line, &other));
                assert!(!trial::run(&changed).failed.is_empty(), "no example of {file} notices {other}");
            }
        }
    }
    assert_eq!(tried, 21, "9 memories, 6 of them with a window");
}

/// The page names every shipped rule with its types, what it decides, and how urgent its alert is.
#[test]
fn the_page_has_a_row_of_every_shipped_rule() {
    let page = include_str!("../../../docs/policies.md");
    for (file, text) in SHIPPED {
        for rule in &parse(file, text).rules {
            let types: Vec<String> = rule.types.iter().map(|kind| format!("`{kind}`")).collect();
            let verdict = match rule.verdict {
                Verdict::Act => "act",
                Verdict::Deny => "deny",
                Verdict::Observe => "observe",
            };
            let alert = rule
                .alert
                .as_ref()
                .map_or(String::new(), |alert| format!("{} ", alert.importance.into_str()));
            let row = format!("| `{}` | {} | {verdict} | {alert}| ", rule.id, types.join(", "));
            assert!(page.lines().any(|line| line.starts_with(&row)), "docs/policies.md has no row: {row}");
        }
    }
}
