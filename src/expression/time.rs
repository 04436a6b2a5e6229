//! Timestamps and durations, read, written and taken apart as CEL's specification has it.

use chrono::{DateTime, Datelike, FixedOffset, Offset, TimeDelta, Timelike, Utc};

use super::tree::{Part, Zone};
use crate::rfc3339::{hours_and_minutes, in_range};

/// The longest duration, of either sign: 10 000 years, as of `google.protobuf.Duration`. Any two timestamps are less
/// than that apart.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;
const NANOS_PER_SECOND: u128 = 1_000_000_000;
/// Digits of a fraction that can be more than nothing: of the largest unit, 18 are less than a nanosecond.
const FRACTION_DIGITS: usize = 18;

pub(super) fn from_seconds(seconds: i64) -> Option<DateTime<FixedOffset>> {
    Some(DateTime::from_timestamp(seconds, 0)?.fixed_offset()).filter(in_range)
}

pub(super) fn later(time: DateTime<FixedOffset>, by: TimeDelta) -> Option<DateTime<FixedOffset>> {
    time.checked_add_signed(by).filter(in_range)
}

pub(super) fn earlier(time: DateTime<FixedOffset>, by: TimeDelta) -> Option<DateTime<FixedOffset>> {
    time.checked_sub_signed(by).filter(in_range)
}

pub(super) fn sum(left: TimeDelta, right: TimeDelta) -> Option<TimeDelta> {
    left.checked_add(&right).filter(held)
}

pub(super) fn difference(left: TimeDelta, right: TimeDelta) -> Option<TimeDelta> {
    left.checked_sub(&right).filter(held)
}

/// Whether a duration is one that expressions may hold.
fn held(duration: &TimeDelta) -> bool {
    let most = TimeDelta::seconds(DURATION_SECONDS_MAX);
    (-most..=most).contains(duration)
}

pub(super) fn timestamp_text(time: DateTime<FixedOffset>) -> String {
    let utc = time.with_timezone(&Utc);
    let text = utc.format("%Y-%m-%dT%H:%M:%S").to_string();
    format!("{text}{}Z", fraction(utc.timestamp_subsec_nanos()))
}

pub(super) fn duration_text(duration: TimeDelta) -> String {
    let sign = if duration < TimeDelta::zero() { "-" } else { "" };
    let duration = duration.abs();
    format!("{sign}{}{}s", duration.num_seconds(), fraction(duration.subsec_nanos().unsigned_abs()))
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

/// A duration's total in this unit, towards zero, but of milliseconds only those beyond the whole seconds; `None` for a
/// part that only timestamps have.
pub(super) fn duration_part(part: Part, duration: TimeDelta) -> Option<i64> {
    match part {
        Part::Hours => Some(duration.num_hours()),
        Part::Minutes => Some(duration.num_minutes()),
        Part::Seconds => Some(duration.num_seconds()),
        Part::Milliseconds => Some(i64::from(duration.subsec_nanos() / 1_000_000)),
        Part::FullYear | Part::Month | Part::Date | Part::DayOfMonth | Part::DayOfWeek | Part::DayOfYear => {
            None
        }
    }
}

/// `UTC` or an offset such as `-02:30`; names of zones are not known here.
pub(super) fn zone(text: &str) -> Option<Zone> {
    if text == "UTC" {
        return Some(Zone::East(0));
    }
    if let Some(west) = text.strip_prefix('-') {
        return hours_and_minutes(west.as_bytes()).map(|seconds| Zone::East(-seconds));
    }
    hours_and_minutes(text.strip_prefix('+').unwrap_or(text).as_bytes()).map(Zone::East)
}

/// The whole text: a sign, then pairs of number and unit such as `1h30m` or `1.5s`; or nothing but `0`. What is less than
/// a nanosecond is cut off, pair by pair.
pub(super) fn duration(text: &str) -> Option<TimeDelta> {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(TimeDelta::zero());
    }
    let mut rest = rest.as_bytes();
    let mut total = 0_u128;
    loop {
        let (nanos, after) = pair(rest)?;
        total = total.checked_add(nanos)?;
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    let seconds = i64::try_from(total / NANOS_PER_SECOND).ok()?;
    let duration = TimeDelta::new(seconds, u32::try_from(total % NANOS_PER_SECOND).ok()?).filter(held)?;
    Some(if text.starts_with('-') { -duration } else { duration })
}

/// The nanoseconds of the first number and its unit, and what comes after them.
fn pair(text: &[u8]) -> Option<(u128, &[u8])> {
    const UNITS: [(&[u8], u128); 6] = [
        (b"ms", 1_000_000),
        (b"us", 1_000),
        (b"ns", 1),
        (b"h", 3_600 * NANOS_PER_SECOND),
        (b"m", 60 * NANOS_PER_SECOND),
        (b"s", NANOS_PER_SECOND),
    ];
    let (whole, rest) = digits(text);
    let (fraction, rest) = rest.strip_prefix(b".").map_or((&[][..], rest), digits);
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (unit, nanos) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
    let number = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0_u128, |number, digit| number.checked_mul(10)?.checked_add(u128::from(digit - b'0')))
    };
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS)];
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let total = number(whole)?.checked_mul(*nanos)?.checked_add(number(fraction)? * nanos / scale)?;
    Some((total, &rest[unit.len()..]))
}

/// The digits at the beginning, and what comes after them.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}
