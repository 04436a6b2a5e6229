//! A signal's whole story: what its receipts say, one after the other, in words of fields.

use serde_json::Value;

use super::bodies::KeptSignal;
use crate::andon::log::LoggedReceipt;
use crate::jidoka::rules::Rules;
use crate::limits::STORY_BODY_BYTES;
use crate::signal::Signal;
use crate::view::{SignalStatus, Story, StoryBody, StoryRule, StorySignal, StoryStep};

/// Tells it. `kept` is what there is of the signal itself, and `scheme` how its source signs, where that is known here; `rules` are
/// those that hold, since a receipt names a rule and does not repeat it.
#[must_use]
pub fn told(
    (tenant, id): (Box<str>, Box<str>),
    SignalStatus { status, source, seq, receipts }: SignalStatus,
    found: &[LoggedReceipt],
    (kept, scheme): (KeptSignal, Option<&'static str>),
    rules: Option<&Rules>,
) -> Story {
    let read: Vec<(&LoggedReceipt, Value)> =
        found.iter().map(|found| (found, serde_json::from_slice(&found.json).unwrap_or_default())).collect();
    let own = read.iter().find(|(found, _)| found.of_signal).map(|(_, receipt)| receipt);
    let kept = match kept {
        // The receipt has the last word on what was decided.
        KeptSignal::Whole(signal) if !is_told_of(&signal, (&tenant, &id), own) => KeptSignal::Gone(ANOTHER),
        kept @ (KeptSignal::Whole(_) | KeptSignal::Gone(_)) => kept,
    };
    let signal = match (own, &kept) {
        (Some(receipt), _) => {
            let said = |name| text(receipt, name).unwrap_or_default();
            Some(StorySignal {
                sku: said("sku"),
                sha256: said("signal_hash"),
                scheme,
                source_key: said("source_key"),
                assurance: said("assurance"),
            })
        }
        (None, KeptSignal::Whole(signal)) => Some(StorySignal {
            sku: signal.sku().to_owned(),
            sha256: faster_hex::hex_string(&signal.hash()),
            scheme,
            source_key: signal.provenance.key.to_string(),
            assurance: signal.provenance.assurance.as_str().to_owned(),
        }),
        (None, KeptSignal::Gone(_)) => None,
    };
    let body = match kept {
        KeptSignal::Whole(signal) => shown(signal.body()),
        KeptSignal::Gone(why) => StoryBody { body_gone: Some(why), ..StoryBody::default() },
    };
    let mut packs = Packs { rules, read: Vec::new() };
    let steps = read.iter().map(|(found, receipt)| step(found, receipt, &mut packs)).collect();
    Story { tenant, id, status, source, seq, receipts, signal, body, steps, peers: Vec::new() }
}

/// Why bytes are not shown that stand under the signal's number.
const ANOTHER: &str = "what stands at its place in the journal is not the signal that its receipt tells of";

/// Whether this is the signal that was asked for, and that its receipt was signed for.
fn is_told_of(signal: &Signal, (tenant, id): (&str, &str), receipt: Option<&Value>) -> bool {
    let hash = || faster_hex::hex_string(&signal.hash());
    let signed = receipt.and_then(|receipt| text(receipt, "signal_hash"));
    signal.tenant() == tenant && signal.id() == id && signed.is_none_or(|signed| signed == hash())
}

/// A signal's bytes, or their beginning.
fn shown(bytes: &[u8]) -> StoryBody {
    let is_truncated = bytes.len() > STORY_BODY_BYTES;
    let mut body =
        StoryBody { body_bytes: Some(bytes.len()), body_truncated: is_truncated, ..StoryBody::default() };
    if let Ok(text) = std::str::from_utf8(bytes) {
        body.body = Some(text[..text.floor_char_boundary(STORY_BODY_BYTES)].to_owned());
    } else {
        // In binary mode it may be anything.
        let beginning = &bytes[..bytes.len().min(STORY_BODY_BYTES)];
        body.body_base64 = Some(data_encoding::BASE64.encode(beginning));
    }
    body
}

fn step(found: &LoggedReceipt, receipt: &Value, packs: &mut Packs<'_>) -> StoryStep {
    let gist = found.gist;
    let policy = receipt.get("policy").filter(|policy| policy.is_object());
    let rule = policy.map(|policy| {
        let named = |name| text(policy, name).unwrap_or_default();
        let (pack, rule, content_hash) = (named("pack"), named("rule"), named("content_hash"));
        let text = packs.rule_text(&content_hash, &rule);
        StoryRule { pack, rule, content_hash, text }
    });
    StoryStep {
        time: gist.time.0,
        receipt_type: gist.kind.into_str(),
        success: gist.success,
        state_before: (!gist.kind.is_of_alert()).then(|| gist.before.into_str()),
        state_after: (!gist.kind.is_of_alert()).then(|| gist.after.into_str()),
        rule,
        reason: text(receipt, "reason"),
        who: found.actor.as_deref().map(Into::into),
        facts: receipt.get("facts").filter(|facts| !facts.is_null()).cloned(),
        action_id: text(receipt, "action_id"),
        receipt_id: gist.id.to_string(),
        log_index: found.log_index,
    }
}

fn text(of: &Value, name: &str) -> Option<String> {
    of.get(name)?.as_str().map(str::to_owned)
}

/// Packs that hold, each read once for a story.
struct Packs<'r> {
    rules: Option<&'r Rules>,
    /// By content hash; `None` where the pack does not hold.
    read: Vec<(String, Option<Value>)>,
}

impl Packs<'_> {
    /// A rule as its pack has it, where that pack holds.
    fn rule_text(&mut self, content_hash: &str, rule: &str) -> Option<Value> {
        if !self.read.iter().any(|(hash, _)| hash == content_hash) {
            let text = self.rules.and_then(|rules| rules.pack_text(content_hash));
            let pack = text.and_then(|text| toml::from_str(text).ok());
            self.read.push((content_hash.to_owned(), pack));
        }
        let (_, pack) = self.read.iter().find(|(hash, _)| hash == content_hash)?;
        let rules = pack.as_ref()?.get("rule")?.as_array()?;
        rules.iter().find(|table| text(table, "id").as_deref() == Some(rule)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_as_it_is_up_to_its_bound() {
        let text = |bytes: &[u8]| shown(bytes);
        let whole = "x".repeat(STORY_BODY_BYTES);
        assert_eq!(text(whole.as_bytes()).body, Some(whole.clone()));
        assert!(!text(whole.as_bytes()).body_truncated);
        let longer = text(format!("{whole}y").as_bytes());
        assert_eq!(
            (longer.body, longer.body_truncated, longer.body_bytes),
            (Some(whole), true, Some(STORY_BODY_BYTES + 1))
        );
        // Never in the middle of a character.
        let umlauts = format!("x{}", "ü".repeat(STORY_BODY_BYTES / 2));
        let cut = text(umlauts.as_bytes());
        assert_eq!(cut.body.map(|body| body.len()), Some(STORY_BODY_BYTES - 1));
        assert!(cut.body_truncated);
        let binary = text(b"\xff\x00");
        assert_eq!((binary.body, binary.body_base64.as_deref()), (None, Some("/wA=")));
    }
}
