//! A signal's whole story: what its receipts say, one after the other, in words of fields.

use serde_json::Value;

use crate::andon::log::LoggedReceipt;
use crate::jidoka::rules::Rules;
use crate::view::{SignalStatus, Story, StoryRule, StorySignal, StoryStep};

/// Tells it. `scheme` is how its source signs, where that is known here; `rules` are those that hold, since a receipt names a rule
/// and does not repeat it.
#[must_use]
pub fn told(
    (tenant, id): (Box<str>, Box<str>),
    SignalStatus { status, source, seq, receipts }: SignalStatus,
    found: &[LoggedReceipt],
    scheme: Option<&'static str>,
    rules: Option<&Rules>,
) -> Story {
    let read: Vec<(&LoggedReceipt, Value)> =
        found.iter().map(|found| (found, serde_json::from_slice(&found.json).unwrap_or_default())).collect();
    let own = read.iter().find(|(found, _)| found.of_signal);
    let signal = own.map(|(_, receipt)| StorySignal {
        sku: text(receipt, "sku").unwrap_or_default(),
        sha256: text(receipt, "signal_hash").unwrap_or_default(),
        scheme,
        source_key: text(receipt, "source_key").unwrap_or_default(),
        assurance: text(receipt, "assurance").unwrap_or_default(),
    });
    let mut packs = Packs { rules, read: Vec::new() };
    let steps = read.iter().map(|(found, receipt)| step(found, receipt, &mut packs)).collect();
    Story { tenant, id, status, source, seq, receipts, signal, steps }
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
