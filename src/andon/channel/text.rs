//! Words that channels share: a title, a line for each alert, and how a text is cut. Lengths are characters. Pure.

use std::collections::BTreeSet;

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

/// What it is about, in one line. What concerns a node names it.
pub fn title(notice: &Notice) -> String {
    let summary = plain(&notice.summary);
    let node = match notice.alerts.first() {
        Some(alert) if alert.tenant.is_none() => format!(" on {}", plain(&notice.node)),
        Some(_) | None => String::new(),
    };
    match (notice.tells, &notice.acknowledged) {
        (NoticeKind::Firing, _) => format!("{}{node}: {summary}", capital(notice.importance.into())),
        (NoticeKind::Resolved, _) => format!("Resolved{node}: {summary}"),
        (NoticeKind::Acknowledged, Some((by, _))) => {
            format!("Acknowledged by {}{node}: {summary}", plain(by))
        }
        (NoticeKind::Acknowledged, None) => format!("Acknowledged{node}: {summary}"),
    }
}

/// What a notice is about, with the others of its group: its sentence is about the newest alert alone.
pub fn summary(notice: &Notice) -> String {
    const NAMED: usize = 3;
    let whose = |alert: &ListedAlert| match (&alert.tenant, &alert.sku, &*alert.name) {
        (Some(tenant), Some(sku), _) => format!("{tenant}/{sku}"),
        (Some(tenant), None, _) => tenant.to_string(),
        (None, _, "") => <&str>::from(alert.kind).to_owned(),
        (None, _, name) => name.to_owned(),
    };
    let Some(first) = notice.alerts.first() else { return notice.summary.to_string() };
    let is_meant = |alert: &&ListedAlert| alert.ended.is_some() == first.ended.is_some();
    let mut names: Vec<String> = notice.alerts.iter().filter(is_meant).map(whose).collect();
    let mut known = BTreeSet::new();
    names.retain(|name| known.insert(name.clone()));
    let others = names.get(1..).unwrap_or_default();
    let Some(named) = others.chunks(NAMED).next() else { return notice.summary.to_string() };
    let count = if first.ended.is_some() { notice.resolved } else { notice.firing } as usize;
    // Those with a name that stands there already are not counted: they are of it.
    let listed = notice.alerts.iter().filter(is_meant).count();
    let more = others.len() - named.len() + count.saturating_sub(listed);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}; also {}{more}", notice.summary, named.join(", "))
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// One alert in one line.
pub fn line(alert: &ListedAlert) -> String {
    written(alert, true)
}

/// The same below the title of its notice: the one alert of a notice is not told twice.
pub fn line_below(alert: &ListedAlert, notice: &Notice) -> String {
    written(alert, notice.alerts.len() != 1 || notice.summary != alert.message)
}

/// By what it was opened: its rule, target, stage, source or channel; the kind of what has no name.
fn opened_by(alert: &ListedAlert) -> String {
    match &*alert.name {
        "" => <&str>::from(alert.kind).replace('_', " "),
        name => name.to_owned(),
    }
}

fn written(alert: &ListedAlert, with_message: bool) -> String {
    let mut parts = Vec::new();
    let whose = alert.tenant.as_deref().map(|tenant| match &alert.sku {
        Some(sku) => format!("{tenant}/{sku}"),
        None => tenant.to_owned(),
    });
    let message = Some(&*alert.message).filter(|message| with_message && !message.is_empty());
    parts.push(match (whose, message) {
        // Messages of governors name them.
        (Some(whose), Some(message)) if message.starts_with(&whose) => message.to_owned(),
        (Some(whose), Some(message)) => format!("{whose}: {message}"),
        (Some(whose), None) => whose,
        (None, message) => message.unwrap_or_default().to_owned(),
    });
    let mut aside = Vec::new();
    let opened_by = opened_by(alert);
    if !alert.message.contains(&opened_by) {
        aside.push(opened_by);
    }
    if alert.members > 0 {
        aside.push(with_noun(alert.members.into(), "governor", "governors"));
    }
    if !aside.is_empty() {
        parts.push(format!("({})", aside.join(", ")));
    }
    let mut line = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    if !line.is_empty() {
        line.push_str(", ");
    }
    match alert.ended {
        Some(ended) => line.push_str(&format!("from {} to {}", time(alert.since), time(ended))),
        None => line.push_str(&format!("since {}", time(alert.since))),
    }
    plain(&line)
}

/// Alerts that a notice counts, and does not list.
pub fn unlisted(notice: &Notice, listed: usize) -> usize {
    let all = notice.firing as usize + notice.resolved as usize;
    all.max(notice.alerts.len()).saturating_sub(listed)
}

/// The summary of a digest that stands for this many notifications.
pub fn digest_summary(notice: &Notice, groups: usize) -> String {
    let groups = (groups, counted(groups, "notification"));
    let are = |count: usize| if count == 1 { "is" } else { "are" };
    match notice.tells {
        NoticeKind::Firing => {
            format!("{} in {}, told as one", counted(notice.firing as usize, "alert"), groups.1)
        }
        NoticeKind::Resolved => {
            let count = notice.resolved as usize;
            format!("{} in {} {} over", counted(count, "alert"), groups.1, are(count))
        }
        NoticeKind::Acknowledged => format!("{} {} acknowledged", groups.1, are(groups.0)),
    }
}

/// A number and what it counts, such as `2 alerts`.
pub fn counted(count: usize, what: &str) -> String {
    with_noun(count as u64, what, &format!("{what}s"))
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
    use super::super::tests::notice;
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

    #[test]
    fn a_title_names_the_node_and_the_others_of_a_group() {
        let mut one = notice("disk", 1);
        assert_eq!(
            (title(&one), summary(&one)),
            ("Critical: the breaker of disk is open".into(), (*one.summary).into())
        );
        assert_eq!(line_below(&one.alerts[0], &one), "acme/vm, since 2027-01-15T08:00:00.000Z");
        one.alerts[0].tenant = None;
        assert_eq!(title(&one), "Critical on n-1: the breaker of disk is open");
        assert_eq!(line_below(&one.alerts[0], &one), "since 2027-01-15T08:00:00.000Z");
        one.alerts[0].members = 1;
        assert_eq!(line_below(&one.alerts[0], &one), "(1 governor), since 2027-01-15T08:00:00.000Z");
        one.alerts[0].name = "storage/full".into();
        assert_eq!(
            line_below(&one.alerts[0], &one),
            "(storage/full, 1 governor), since 2027-01-15T08:00:00.000Z"
        );
        (one.alerts[0].name, one.alerts[0].members) = ("".into(), 0);
        assert_eq!(
            line(&one.alerts[0]),
            "the breaker of disk is open (governor breaker), since 2027-01-15T08:00:00.000Z"
        );

        let mut many = notice("disk", 7);
        (many.firing, many.summary) = (40, "40 alerts: the breaker of disk is open".into());
        for (number, alert) in many.alerts.iter_mut().enumerate() {
            alert.sku = Some(format!("vm-{}", number.min(5)).into());
        }
        many.alerts[6].ended = Some(many.time);
        let expected =
            "40 alerts: the breaker of disk is open; also acme/vm-1, acme/vm-2, acme/vm-3 and 36 more";
        assert_eq!(summary(&many), expected);
        assert!(
            line_below(&many.alerts[0], &many).starts_with("acme/vm-0: the breaker of disk is open, since")
        );
    }
}
