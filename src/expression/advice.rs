//! What to write instead: the hints of expressions, wherever an expression stands. Pure.

use super::kinds::{Kinds, One};
use super::names::Names;
use super::paths::nearest;

/// The longest message of the parser that is passed on.
const MESSAGE_CHARS_MAX: usize = 200;

/// What the parser says of a text, without its list of all tokens that there are, and what to write.
pub(super) fn of_syntax(text: &str, message: &str) -> (String, Option<String>) {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.split_once(" expecting ").map_or(message, |(said, _)| said);
    if message.contains("<EOF>") {
        return ("the expression ends too early".to_owned(), written_otherwise(text));
    }
    let found = message.split_once('\'').and_then(|(_, found)| found.strip_suffix('\''));
    let is_of_input = message.contains("input '") || message.contains("error at: '");
    let what = match found {
        Some(found) if is_of_input => format!("`{}` does not go here", found.trim()),
        Some(_) | None => message.to_owned(),
    };
    let usual = "this is CEL: text stands in quotes, `==` compares, `&&` and `||` join conditions";
    (
        what.chars().take(MESSAGE_CHARS_MAX).collect(),
        written_otherwise(text).or_else(|| Some(usual.to_owned())),
    )
}

/// What is written as in a different language.
fn written_otherwise(text: &str) -> Option<String> {
    let bare = outside_quotes(text);
    if bare.contains("{{") || bare.contains("${") {
        let join = "'spend: ' + string(signal.data.spend)";
        return Some(format!(
            "this is CEL, not a template: put text in quotes and join it with `+`, as in `{join}`"
        ));
    }
    let is_lone = |(at, _): (usize, &str)| {
        let before = bare[..at].chars().next_back();
        let after = bare[at + 1..].chars().next();
        after != Some('=') && !before.is_some_and(|before| "=!<>".contains(before))
    };
    if bare.match_indices('=').any(is_lone) {
        return Some("`==` compares; there is no `=`".to_owned());
    }
    let is_prose = |c: char| c.is_alphanumeric() || " _-.,:/%".contains(c);
    for (word, sign) in [("and", "&&"), ("or", "||"), ("not", "!")] {
        if bare.split_whitespace().any(|each| each.eq_ignore_ascii_case(word))
            && (bare != text || bare.contains("=="))
        {
            return Some(format!("write `{sign}` for `{word}`"));
        }
    }
    let is_text = !text.trim().is_empty() && text.chars().all(is_prose);
    is_text.then(|| in_quotes(text.trim()))
}

/// What to write for a name that is not known.
pub(super) fn of_name(text: &str, path: &[&str], names: &Names) -> Option<String> {
    let whole = path.join(".");
    // The name without what stands before its dot.
    let is_end = |name: &&str| name.rsplit_once('.').is_some_and(|(_, end)| Some(&end) == path.first());
    if let Some((begin, _)) = names.valid().find(is_end).and_then(|name| name.rsplit_once('.')) {
        return Some(format!("write `{begin}.{whole}`"));
    }
    let given = path[..path.len().min(2)].join(".");
    let near = nearest(&given, names.valid());
    if near.is_some() || path.len() > 1 {
        return near.or_else(|| begins(names));
    }
    let is_of_a_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    Some(in_quotes(if text.trim().chars().all(is_of_a_name) { text.trim() } else { &whole }))
}

/// What names begin with here.
fn begins(names: &Names) -> Option<String> {
    let mut begins: Vec<&str> = names.valid().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    begins.sort_unstable();
    begins.dedup();
    (!begins.is_empty()).then(|| format!("names begin with `{}.` here", begins.join(".`, `")))
}

fn in_quotes(text: &str) -> String {
    format!("text needs quotes of its own: `'{text}'`")
}

/// What to write where text is joined with something else.
pub(super) fn of_join(left: Kinds, right: Kinds, readable: Kinds) -> Option<String> {
    let other = match (left.meets(Kinds::STRING), right.meets(Kinds::STRING)) {
        (true, false) => right,
        (false, true) => left,
        (true, true) | (false, false) => return None,
    };
    other.meets(readable).then(|| format!("`string(…)` makes text of {}", One(other)))
}

/// The text with everything in quotes taken out.
fn outside_quotes(text: &str) -> String {
    let mut bare = String::new();
    let mut quote = None;
    let mut is_escaped = false;
    for c in text.chars() {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if c == '\\' => is_escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None => bare.push(c),
        }
    }
    bare
}
