//! The three configurations in `config` tell their reader what each key does, and leave out only what has a default.
//! That they run is tested over several machines.

use std::collections::BTreeSet;
use std::path::Path;

use crate::documentation::known_keys;

const FILES: [&str; 3] = ["dev.toml", "staging.toml", "prod.toml"];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The keys that a file sets, each with its table, and whether a comment stands on its line or right above.
fn keys(text: &str) -> Vec<(String, bool)> {
    let (mut table, mut is_above, mut found) = ("", false, Vec::new());
    for line in text.lines() {
        let (code, comment) =
            line.split_once('#').map_or((line, None), |(code, comment)| (code, Some(comment)));
        let code = code.trim();
        if code.starts_with('[') {
            table = code.trim_matches(['[', ']']);
        } else if let Some((key, _)) = code.split_once(" = ") {
            found.push((format!("{table}.{key}"), is_above || comment.is_some()));
        }
        is_above = code.is_empty() && comment.is_some();
    }
    found
}

#[test]
fn every_key_of_the_three_profiles_is_explained() {
    for file in FILES {
        let keys = keys(&read(&format!("config/{file}")));
        assert!(keys.len() > 15, "{file}: {keys:?}");
        // Once is enough where a list has several tables.
        let explained: BTreeSet<&String> =
            keys.iter().filter(|(_, is_explained)| *is_explained).map(|(key, _)| key).collect();
        let bare: Vec<_> = keys.iter().map(|(key, _)| key).filter(|key| !explained.contains(key)).collect();
        assert!(bare.is_empty(), "config/{file} does not say what these are: {bare:?}");
    }
    let text = "[a] # of the table\nb = 1\n# above\nc = 1\nd = 1 # beside\n[[e]]\n# far\n\nb = \"#\"\n";
    let found = keys(text);
    let of = |key: &str| found.iter().find(|(found, _)| found == key).unwrap().1;
    assert_eq!([of("a.b"), of("a.c"), of("a.d")], [false, true, true]);
}

#[test]
fn what_the_three_profiles_leave_out_is_optional() {
    let set: BTreeSet<String> =
        FILES.iter().flat_map(|file| keys(&read(&format!("config/{file}")))).map(|(key, _)| key).collect();
    let page = read("docs/configuration.md");
    let lists = ["source.key", "policy.tenant", "channel.", "alerts.route.", "admin.peers."];
    let mut wrong = Vec::new();
    for key in known_keys().iter().filter(|key| !set.contains(*key)) {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{key}` |"))).unwrap();
        let is_required = row.split('|').nth(3).unwrap().trim() == "required";
        // A list that need not be there, and what only another kind of action has.
        let is_of_other = lists.iter().any(|list| key.starts_with(list)) || key == "action.routing_key";
        if is_required && !is_of_other {
            wrong.push(key.clone());
        }
    }
    assert!(wrong.is_empty(), "these have no default and are in none of the three: {wrong:?}");
    let known = known_keys();
    let unknown: Vec<_> = set.iter().filter(|key| !known.contains(key)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
