//! `gemba signal`: what became of a signal at a running node.

use clap::Subcommand;
use serde_json::Value;

use super::client::{Reach, Sent};
use super::output::{self, Failure, cell, moment, plain};
use crate::percent::encode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell a signal's story: what was verified, decided, by which rule and why, done, and which receipts prove it
    Show {
        /// Tenant of the signal
        tenant: String,
        /// The sender's id
        id: String,
        /// The source that it came from; needed where several have a signal of this id
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        let Self::Show { tenant, id, source, reach, json } = self;
        let query = source.as_ref().map_or_else(String::new, |source| format!("source={}", encode(source)));
        let sent = Sent { parts: &[&tenant, &id], query: &query, ..Sent::default() };
        // An edge knows that it accepted a signal, and no more.
        let is_decided = |story: &Value| story.get("status").and_then(Value::as_str) != Some("accepted");
        let mut named = vec![("tenant", tenant.as_str()), ("id", id.as_str())];
        named.extend(source.as_ref().map(|source| ("source", source.as_str())));
        let story = reach.client()?.ask_on("signal show", &sent, &named, is_decided)?;
        if json {
            return output::print_json(&story.value());
        }
        output::print((told(&story.value) + &story.by()).as_bytes())
    }
}

/// The story in lines: the signal, then each receipt with what it rests on below it.
fn told(story: &Value) -> String {
    let said = |name: &str| cell(story.get(name));
    let mut text = format!(
        "{}/{} from {}: {} (seq {})\n",
        said("tenant"),
        said("id"),
        said("source"),
        said("status"),
        said("seq")
    );
    if let Some(signal) = story.get("signal").filter(|signal| signal.is_object()) {
        let said = |name: &str| cell(signal.get(name));
        let scheme = signal.get("scheme").and_then(Value::as_str).map(|scheme| format!(" by {scheme}"));
        text += &format!(
            "  sku {}, verified{} with key {}, assurance {}\n  sha256 {}\n",
            said("sku"),
            scheme.unwrap_or_default(),
            said("source_key"),
            said("assurance"),
            said("sha256")
        );
    }
    let bytes = story.get("body_bytes").and_then(Value::as_u64);
    let truncated = story.get("body_truncated").and_then(Value::as_bool) == Some(true);
    match (story.get("body").and_then(Value::as_str), bytes) {
        (Some(body), Some(bytes)) => {
            let beginning = if truncated { ", its beginning" } else { "" };
            text += &format!("  body ({bytes} bytes{beginning}): {}\n", plain(body));
        }
        (None, Some(bytes)) => {
            text += &format!("  body ({bytes} bytes, not text; --json has it as base64)\n");
        }
        (_, None) => text += &format!("  body: {}\n", said("body_gone")),
    }
    let steps = story.get("steps").and_then(Value::as_array).into_iter().flatten();
    steps.for_each(|step| tell_step(step, &mut text));
    text
}

fn tell_step(step: &Value, text: &mut String) {
    let said = |name: &str| cell(step.get(name));
    let has = |name: &str| step.get(name).is_some_and(|value| !value.is_null());
    let states = if !has("state_after") {
        String::new()
    } else if step.get("state_before") == step.get("state_after") {
        format!(" ({})", said("state_after"))
    } else {
        format!(" ({} -> {})", said("state_before"), said("state_after"))
    };
    let time = moment(step.get("time"));
    text.push_str(&format!("{time} {}{states}\n", said("receipt_type")));
    if let Some(rule) = step.get("rule").filter(|rule| rule.is_object()) {
        let when = rule.get("text").and_then(|text| text.get("when"));
        // It may stand on several lines of its pack.
        let when = when
            .and_then(Value::as_str)
            .map(|when| plain(&when.split_whitespace().collect::<Vec<_>>().join(" ")));
        let when = when.unwrap_or_else(|| "its pack was changed since".to_owned());
        text.push_str(&format!("  rule {}/{}: {when}\n", cell(rule.get("pack")), cell(rule.get("rule"))));
    }
    let facts = step.get("facts");
    if facts.and_then(|facts| facts.get("earlier")).is_some() {
        text.push_str("  calls before a start are not known\n");
    }
    let calls = facts.and_then(|facts| facts.get("calls")).and_then(Value::as_array);
    for call in calls.into_iter().flatten() {
        let said = |name: &str| cell(call.get(name));
        let ended =
            if call.get("missed").is_some_and(Value::is_null) { "done".to_owned() } else { said("missed") };
        text.push_str(&format!(
            "  call {} after {} ms, {} ms: {ended}\n",
            said("call"),
            said("after_ms"),
            said("took_ms")
        ));
    }
    // A receipt of a decision has states, and facts that were read for it.
    let facts = if has("state_after") { "it read" } else { "it says" };
    for (name, what) in
        [("reason", "because"), ("who", "ordered by"), ("facts", facts), ("action_id", "action")]
    {
        if has(name) && !(name == "facts" && calls.is_some()) {
            text.push_str(&format!("  {what} {}\n", said(name)));
        }
    }
    text.push_str(&format!("  receipt {}, log index {}\n", said("receipt_id"), said("log_index")));
}
