//! The packs that are shipped: every example beside their rules holds, and every rule has one in which it holds and one
//! in which it does not.

use std::sync::Arc;

use super::Pack;

const SHIPPED: [(&str, &str); 4] = [
    ("cost_governance.toml", include_str!("../../../config/policies/cost_governance.toml")),
    ("permission_drift.toml", include_str!("../../../config/policies/permission_drift.toml")),
    ("change_management.toml", include_str!("../../../config/policies/change_management.toml")),
    ("compliance_audit.toml", include_str!("../../../config/policies/compliance_audit.toml")),
];

fn packs() -> impl Iterator<Item = Arc<Pack>> {
    SHIPPED
        .iter()
        .map(|(file, text)| Arc::new(Pack::parse(file, text).unwrap_or_else(|error| panic!("{error}"))))
}

#[test]
fn every_shipped_example_holds() {
    let mut wrong = Vec::new();
    for pack in packs() {
        for rule in &pack.rules {
            for example in &rule.examples {
                let outcome = example.run(rule, &pack);
                if !outcome.passed {
                    wrong.push(format!(
                        "{}: {}: expected {:?}, came {outcome:?}",
                        example.place, rule.id, example.expect
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_shipped_rule_has_an_example_where_it_fires_and_one_where_it_does_not() {
    let mut wrong = Vec::new();
    for pack in packs() {
        for rule in &pack.rules {
            for (fires, what) in [(true, "fires"), (false, "does not fire")] {
                if !rule.examples.iter().any(|example| example.fires(rule) == fires) {
                    wrong.push(format!("{}/{}: no example in which it {what}", pack.name, rule.id));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
