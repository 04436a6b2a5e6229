//! What an order that waits for a second person comes to, taken down when it is given and compared when it is carried out: cases by
//! their ids and the events that changed them last, halts and alerts by when they began, rules and the configuration by what their
//! files say.

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::Serialize;

use super::live::Prepared;
use crate::case::CaseId;
use crate::jidoka::rules::RulesSource;
use crate::limits::{CONCERNS_BYTES_MAX, CONCERNS_NAMED};
use crate::operator::Resolved;

/// A case, and the last event that changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaseVersion {
    pub id: CaseId,
    pub changed_by: u64,
}

/// Cases, in the order of their ids.
#[must_use]
pub fn cases(cases: &[CaseVersion]) -> Resolved {
    let mut hash = Context::new(&SHA256);
    for CaseVersion { id, changed_by } in cases {
        hash.update(&id.0.0.to_be_bytes());
        hash.update(&changed_by.to_be_bytes());
    }
    let digest = bytes(hash.finish().as_ref());
    let names = named(cases.iter().map(|case| case.id.to_string()), cases.len());
    let letters = if cases.len() == 1 { "letter" } else { "letters" };
    let changes_nothing = cases.is_empty();
    let told = told(&format!("{} open dead {letters}", cases.len()), &names, &hex(&digest), digest);
    Resolved { changes_nothing, ..told }
}

/// What people read of it, and what makes it another one.
#[must_use]
pub fn told_of(what: &str, identity: &impl Serialize) -> Resolved {
    // What has a text form only is written without fail.
    let identity = serde_json::to_vec(identity).unwrap_or_default();
    let digest = bytes(digest(&SHA256, &identity).as_ref());
    Resolved { concerns: cut(what).into(), digest, changes_nothing: false }
}

/// A time as people read it.
#[must_use]
pub fn utc(millis: u64) -> String {
    let seconds = i64::try_from(millis / 1000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// Rules as their files say, where others are `configured`.
#[must_use]
pub fn rules(read: &RulesSource, configured: &RulesSource) -> Resolved {
    let digest = bytes(digest(&SHA256, read.to_text().as_bytes()).as_ref());
    let text = |of: &RulesSource, file: &str| {
        of.packs.iter().find(|pack| pack.file == file).map(|pack| pack.text.clone())
    };
    let mut files: Vec<&str> =
        read.packs.iter().chain(&configured.packs).map(|pack| pack.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    files.retain(|file| text(read, file) != text(configured, file));
    let names = named(files.iter().map(|file| (*file).to_owned()), files.len());
    let names = if names.is_empty() { "none".to_owned() } else { names };
    let changes_nothing = files.is_empty();
    Resolved { changes_nothing, ..told("packs that change", &names, &hex(&digest), digest) }
}

/// A configuration as its files say.
#[must_use]
pub fn configuration(read: &dyn Prepared) -> Resolved {
    let mut hash = Context::new(&SHA256);
    hash.update(read.sha256().as_bytes());
    hash.update(&read.secrets_digest());
    let changes = read.changes();
    let change =
        |key: &str, old: &serde_json::Value, new: &serde_json::Value| format!("{key}: {old} -> {new}");
    let names = named(changes.iter().map(|one| change(&one.key, &one.old, &one.new)), changes.len());
    let names = if names.is_empty() { "none".to_owned() } else { names };
    let told = told("settings that change", &names, &read.sha256(), bytes(hash.finish().as_ref()));
    Resolved { changes_nothing: changes.is_empty() && read.waits().is_empty(), ..told }
}

/// The first of them, and how many more there are.
fn named(names: impl Iterator<Item = String>, count: usize) -> String {
    let first: Vec<String> = names.take(CONCERNS_NAMED).collect();
    match count - first.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn told(what: &str, names: &str, sha256: &str, digest: [u8; 32]) -> Resolved {
    let concerns = if names.is_empty() { what.to_owned() } else { format!("{what}: {}", cut(names)) };
    let concerns = format!("{concerns} (sha256 {})", &sha256[..16]).into();
    Resolved { concerns, digest, changes_nothing: false }
}

fn cut(text: &str) -> String {
    match text.floor_char_boundary(CONCERNS_BYTES_MAX) {
        all if all == text.len() => text.to_owned(),
        some => format!("{}…", &text[..some]),
    }
}

fn bytes(digest: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest);
    bytes
}

fn hex(digest: &[u8]) -> String {
    faster_hex::hex_string(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Seq;

    #[test]
    fn cases_are_counted_named_and_told_apart() {
        let case = |seq| CaseVersion { id: CaseId(Seq(seq)), changed_by: seq };
        let ids = |numbers: std::ops::Range<u64>| numbers.map(case).collect::<Vec<_>>();
        let told = cases(&ids(0..2)).concerns;
        let begin = "2 open dead letters: d-0000000000000000, d-0000000000000001 (sha256 ";
        assert!(told.starts_with(begin), "{told}");
        assert!(cases(&ids(0..1)).concerns.starts_with("1 open dead letter: d-0000000000000000 (sha256 "));
        assert!(cases(&[]).concerns.starts_with("0 open dead letters (sha256 "));
        let many = cases(&ids(0..10_000));
        assert!(
            many.concerns.contains(&format!(" and {} more", 10_000 - CONCERNS_NAMED)),
            "{}",
            many.concerns
        );
        assert_ne!(cases(&ids(0..5)).digest, cases(&ids(1..6)).digest);
        let mut changed = ids(0..5);
        changed[2].changed_by = 9;
        assert_ne!(cases(&ids(0..5)).digest, cases(&changed).digest, "one failed anew");
        assert!(cases(&[]).changes_nothing && !cases(&changed).changes_nothing);
        let then = cases(&ids(0..5));
        assert!(then.is_as_seen(Some(&then)).is_ok() && then.is_as_seen(None).is_ok());
        let refused = cases(&ids(1..6)).is_as_seen(Some(&then)).unwrap_err().to_string();
        assert!(refused.contains("then 5 open dead letters: d-0000000000000000"), "{refused}");
        assert!(refused.contains("now 5 open dead letters: d-0000000000000001"), "{refused}");
    }
}
