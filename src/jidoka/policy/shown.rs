//! What a receipt shows of the facts on which a rule decided, as the rule read them: canonical JSON (RFC 8785), one member
//! for each name that the rule asks for and that is there. Bounded, whatever a sender writes.

use chrono::SecondsFormat;

use super::pack::Pack;
use crate::expression::{Facts, List, Map, Slot, Value};
use crate::limits::{FACT_BYTES_MAX, FACTS_BYTES_MAX};
use crate::receipt::canonical::string;

/// The facts in these slots, which are sorted by their names.
pub fn shown(pack: &Pack, slots: &[Slot], facts: &Facts<'_>) -> Box<str> {
    let mut out = Vec::with_capacity(128);
    out.push(b'{');
    for slot in slots {
        let Some(value) = facts.value(*slot) else { continue };
        let begin = out.len();
        if begin > 1 {
            out.push(b',');
        }
        string(&mut out, pack.names.path(*slot));
        out.push(b':');
        put(&mut out, value);
        if out.len() + CUT.len() > FACTS_BYTES_MAX {
            out.truncate(begin);
            out.extend_from_slice(if begin > 1 { CUT } else { &CUT[1..] });
            break;
        }
    }
    out.push(b'}');
    String::from_utf8(out).unwrap_or_default().into()
}

/// Sorts after every name, since names begin with `governor`, `memory`, `signal` or `source`.
const CUT: &[u8] = br#","truncated":true"#;

fn put(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        // No fact is one: JSON has doubles, and canonical JSON no others.
        Value::Int(int) => string(out, &int.to_string()),
        Value::Double(double) => canonical(out, double),
        Value::Text(text) => string(out, &short(text)),
        Value::Timestamp(time) => string(out, &time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        Value::Duration(duration) => {
            let nanos = duration.subsec_nanos().unsigned_abs();
            let sign = if duration.num_seconds() < 0 || duration.subsec_nanos() < 0 { "-" } else { "" };
            let fraction = format!("{nanos:09}");
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            string(out, &format!("{sign}{}{point}{fraction}s", duration.num_seconds().unsigned_abs()));
        }
        Value::List(List::Json(json)) | Value::Map(Map::Json(json)) => nested(out, json.text()),
        // No fact is one that an expression made; a signal without data has an empty document.
        Value::List(List::Lent(_) | List::Owned(_)) => out.extend_from_slice(b"[]"),
        Value::Map(Map::Lent(_) | Map::Owned(_)) => out.extend_from_slice(b"{}"),
    }
}

/// At most [`FACT_BYTES_MAX`] bytes of a text, and a mark where it was longer.
fn short(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= FACT_BYTES_MAX {
        return text.into();
    }
    let end = text.floor_char_boundary(FACT_BYTES_MAX);
    format!("{}…", &text[..end]).into()
}

/// A list or an object of the signal's; a longer one is shown as the beginning of its text.
fn nested(out: &mut Vec<u8>, json: &str) {
    if json.len() > FACT_BYTES_MAX {
        return string(out, &short(json));
    }
    match serde_json::from_str::<serde_json::Value>(json) {
        Ok(value) => canonical(out, &value),
        Err(_) => string(out, json),
    }
}

fn canonical(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    match serde_jcs::to_vec(value) {
        Ok(bytes) => out.extend_from_slice(&bytes),
        Err(_) => out.extend_from_slice(b"null"),
    }
}
