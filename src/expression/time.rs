//! Timestamps and durations, read, written and taken apart as the crate `cel` does it.

use chrono::{DateTime, Datelike, FixedOffset, Offset, TimeDelta, Timelike, Utc};

use super::tree::{Part, Zone};

/// The first and the last second of the years 1 to 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// The longest duration that the parts of a text may add up to on the way, in nanoseconds.
const PARTS_MAX: i128 = i64::MAX as i128 * 1_000_000;

/// RFC 3339, in the years 1 to 9999.
pub(super) fn timestamp(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(text).ok().filter(in_range)
}

pub(super) fn from_seconds(seconds: i64) -> Option<DateTime<FixedOffset>> {
    Some(DateTime::from_timestamp(seconds, 0)?.fixed_offset()).filter(in_range)
}

fn in_range(time: &DateTime<FixedOffset>) -> bool {
    // A leap second is beyond the last nanosecond of its second.
    let last =
        time.timestamp() == *SECONDS.end() && i64::from(time.timestamp_subsec_nanos()) >= NANOS_PER_SECOND;
    SECONDS.contains(&time.timestamp()) && !last
}

pub(super) fn later(time: DateTime<FixedOffset>, nanos: i64) -> Option<DateTime<FixedOffset>> {
    time.checked_add_signed(TimeDelta::nanoseconds(nanos)).filter(in_range)
}

pub(super) fn earlier(time: DateTime<FixedOffset>, nanos: i64) -> Option<DateTime<FixedOffset>> {
    time.checked_sub_signed(TimeDelta::nanoseconds(nanos)).filter(in_range)
}

pub(super) fn between(left: DateTime<FixedOffset>, right: DateTime<FixedOffset>) -> Option<i64> {
    left.signed_duration_since(right).num_nanoseconds()
}

pub(super) fn timestamp_text(time: DateTime<FixedOffset>) -> String {
    let utc = time.with_timezone(&Utc);
    let text = utc.format("%Y-%m-%dT%H:%M:%S").to_string();
    format!("{text}{}Z", fraction(utc.timestamp_subsec_nanos() % 1_000_000_000))
}

pub(super) fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let below = u32::try_from(nanos % 1_000_000_000).unwrap_or_default();
    format!("{sign}{}{}s", nanos / 1_000_000_000, fraction(below))
}

fn fraction(nanos: u32) -> String {
    if nanos == 0 { String::new() } else { format!(".{nanos:09}").trim_end_matches('0').to_owned() }
}

pub(super) fn timestamp_part(part: Part, zone: Zone, time: DateTime<FixedOffset>) -> i64 {
    let time = match zone {
        Zone::Own => time,
        Zone::East(seconds) => {
            time.with_timezone(&FixedOffset::east_opt(seconds).unwrap_or_else(|| Utc.fix()))
        }
    };
    i64::from(match part {
        Part::FullYear => return i64::from(time.year()),
        Part::Month => time.month0(),
        Part::Date => time.day(),
        Part::DayOfMonth => time.day0(),
        Part::DayOfWeek => time.weekday().num_days_from_sunday(),
        Part::DayOfYear => time.ordinal0(),
        Part::Hours => time.hour(),
        Part::Minutes => time.minute(),
        Part::Seconds => time.second(),
        Part::Milliseconds => time.timestamp_subsec_millis(),
    })
}

/// A duration's total in this unit, towards zero; `None` for a part that only timestamps have.
pub(super) fn duration_part(part: Part, nanos: i64) -> Option<i64> {
    Some(match part {
        Part::Hours => nanos / (3600 * NANOS_PER_SECOND),
        Part::Minutes => nanos / (60 * NANOS_PER_SECOND),
        Part::Seconds => nanos / NANOS_PER_SECOND,
        Part::Milliseconds => nanos / 1_000_000,
        _ => return None,
    })
}

/// `UTC` or an offset such as `-02:30`; names of zones are not known here.
pub(super) fn zone(text: &str) -> Option<Zone> {
    if text.is_empty() || text == "UTC" {
        return Some(Zone::East(0));
    }
    let (hours, minutes) = text.split_once(':')?;
    let (hour, minute): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    if !(-23..=23).contains(&hour) || !(0..=59).contains(&minute) {
        return None;
    }
    let minute = if hours.starts_with('-') { -minute } else { minute };
    Some(Zone::East((hour * 60 + minute) * 60))
}

/// Text such as `1h30m` or `1.5s`, in nanoseconds. What follows the last unit is not looked at.
pub(super) fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0_i128;
    let mut parts = 0;
    loop {
        match part(rest) {
            Read::Part(nanos, after) => {
                total += nanos;
                if total.abs() > PARTS_MAX {
                    return None;
                }
                parts += 1;
                rest = after;
            }
            Read::Other if parts > 0 => break,
            Read::Other | Read::Wrong => return None,
        }
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

enum Read<'a> {
    Part(i128, &'a str),
    /// Here stands something else, so the text ended before.
    Other,
    Wrong,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the bounds are checked")]
fn part(text: &str) -> Read<'_> {
    const UNITS: [(&str, f64); 6] =
        [("ms", 1e6), ("us", 1e3), ("ns", 1.0), ("h", 3600e9), ("m", 60e9), ("s", 1e9)];
    let length = match float(text) {
        Ok(Some(length)) => length,
        Ok(None) => return Read::Other,
        Err(Dangling) => return Read::Wrong,
    };
    let (number, rest) = text.split_at(length);
    let Ok(number) = number.parse::<f64>() else { return Read::Other };
    let Some((unit, nanos)) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit)) else {
        return Read::Other;
    };
    let nanos = number * nanos;
    let nanos = if nanos.is_nan() {
        return Read::Wrong;
    } else if nanos.abs() > i64::MAX as f64 {
        if nanos > 0.0 { PARTS_MAX } else { -PARTS_MAX }
    } else {
        i128::from(nanos as i64)
    };
    Read::Part(nanos, &rest[unit.len()..])
}

/// An exponent without digits.
struct Dangling;

/// How long the number at the beginning is.
fn float(text: &str) -> Result<Option<usize>, Dangling> {
    let bytes = text.as_bytes();
    let digits = |at: usize| bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let whole = digits(sign);
    let mut at = sign + whole;
    if bytes.get(at) == Some(&b'.') {
        let decimals = digits(at + 1);
        if whole > 0 || decimals > 0 {
            at += 1 + decimals;
        }
    }
    if at == sign {
        // Only without a sign, and the shorter word first.
        let named = |name: &str| text.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(name));
        return Ok((named("nan") || named("inf")).then_some(3));
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        match digits(at + 1 + sign) {
            0 => return Err(Dangling),
            count => at += 1 + sign + count,
        }
    }
    Ok(Some(at))
}
