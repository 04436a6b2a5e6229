//! Words that channels share: a title, a line for each alert, and how a text is cut. Lengths are characters. Pure.

use chrono::{DateTime, SecondsFormat};

use crate::alert::{AlertId, GroupKey, ListedAlert, Notice, NoticeId, NoticeKind};
use crate::event::UnixMillis;
use crate::printable::{is_order, with_noun};

/// In one line, and without orders to what shows it.
pub fn plain(text: &str) -> String {
    text.chars().map(|char| if is_order(char) { ' ' } else { char }).collect()
}

/// The beginning of a text that is longer than that.
pub fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    text.chars().take(chars.saturating_sub(1)).chain(['…']).collect()
}

/// The beginning and the end of a text that is longer than that: names and values stand at either side.
pub fn cut_in_the_middle(text: &str, chars: usize) -> String {
    let count = text.chars().count();
    if count <= chars {
        return text.to_owned();
    }
    let kept = chars.saturating_sub(1);
    let end = kept / 3;
    text.chars().take(kept - end).chain(['…']).chain(text.chars().skip(count - end)).collect()
}

/// RFC 3339, to the millisecond.
pub fn time(time: UnixMillis) -> String {
    let time = i64::try_from(time.0).ok().and_then(DateTime::from_timestamp_millis);
    time.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// What it is about, in one line.
pub fn title(notice: &Notice) -> String {
    let summary = plain(&notice.summary);
    match (notice.tells, &notice.acknowledged) {
        (NoticeKind::Firing, _) => format!("{}: {summary}", capital(notice.importance.into())),
        (NoticeKind::Resolved, _) => format!("Resolved: {summary}"),
        (NoticeKind::Acknowledged, Some((by, _))) => format!("Acknowledged by {}: {summary}", plain(by)),
        (NoticeKind::Acknowledged, None) => format!("Acknowledged: {summary}"),
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// One alert in one line, without what its notice says already.
pub fn line(alert: &ListedAlert) -> String {
    let mut line = String::new();
    if let Some(tenant) = &alert.tenant {
        line.push_str(tenant);
        if let Some(sku) = &alert.sku {
            line.push_str(&format!("/{sku}"));
        }
        line.push_str(": ");
    }
    line.push_str(&alert.message);
    if alert.members > 0 {
        line.push_str(&format!(" ({})", with_noun(alert.members.into(), "governor", "governors")));
    }
    match alert.ended {
        Some(ended) => line.push_str(&format!(", from {} to {}", time(alert.since), time(ended))),
        None => line.push_str(&format!(", since {}", time(alert.since))),
    }
    plain(&line)
}

/// Alerts that a notice counts, and does not list.
pub fn unlisted(notice: &Notice, listed: usize) -> usize {
    let all = notice.firing as usize + notice.resolved as usize;
    all.max(notice.alerts.len()).saturating_sub(listed)
}

/// Where an alert is shown.
pub fn link(base: Option<&str>, alert: AlertId) -> Option<String> {
    base.map(|base| format!("{}/board#alert={alert}", base.trim_end_matches('/')))
}

/// The first alert's link.
pub fn link_of(base: Option<&str>, notice: &Notice) -> Option<String> {
    link(base, notice.alerts.first()?.id)
}

/// The group of a notice and when it began: the same for all its notices, and a new one when it begins again.
pub fn key(notice: &NoticeId) -> GroupKey {
    GroupKey { group: notice.group, since: notice.since }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_line_and_turns_nothing_round() {
        assert_eq!(plain("a\nb\u{202e}c\u{2066}d"), "a b c d");
    }

    #[test]
    fn a_text_is_cut_by_characters_and_keeps_its_end() {
        assert_eq!((cut("häuser", 6), cut("häuser", 5)), ("häuser".into(), "häus…".into()));
        assert_eq!(cut_in_the_middle("0123456789", 10), "0123456789");
        assert_eq!(cut_in_the_middle("0123456789", 7), "0123…89");
        let long = cut_in_the_middle(&"ü".repeat(5000), 1024);
        assert_eq!(long.chars().count(), 1024);
        for chars in 0..4 {
            assert!(cut_in_the_middle("abcdef", chars).chars().count() <= chars.max(1));
        }
    }
}
