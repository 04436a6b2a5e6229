//! Times in the text form of RFC 3339, section 5.6. The one parser for them: what ingress accepts as `time` is exactly
//! what `timestamp()` reads in an expression.
//!
//! - Years 0001 to 9999, as written and in UTC; a fraction has 1 to 9 digits; an offset goes from `-23:59` to `+23:59`.
//! - `T` and `Z` may be in lower case, as the RFC allows. A space instead of `T` is refused.
//! - Second 60 is read where a leap second can be, 23:59:60 UTC at the end of a month, as the second that follows, as
//!   POSIX counts. Anywhere else it is refused.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, TimeDelta};

/// The first and the last second of the years 1 to 9999.
const SECONDS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const FRACTION_DIGITS_MAX: usize = 9;

/// The time that a text stands for, in the offset it is written with.
#[must_use]
pub fn parse(text: &str) -> Option<DateTime<FixedOffset>> {
    let (head, tail) = text.as_bytes().split_at_checked(19)?;
    let shaped = head.iter().zip(b"0000-00-00T00:00:00").all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        _ => byte.eq_ignore_ascii_case(shape),
    });
    if !shaped {
        return None;
    }
    let number = |at: usize| u32::from(head[at] - b'0') * 10 + u32::from(head[at + 1] - b'0');
    let year = i32::try_from(number(0) * 100 + number(2)).ok()?;
    let (hour, minute, second) = (number(11), number(14), number(17));
    let (nanos, zone) = fraction(tail)?;
    let offset = FixedOffset::east_opt(offset(zone)?)?;

    let leap = second == 60;
    let time = NaiveDate::from_ymd_opt(year, number(5), number(8)).filter(|_| year > 0)?.and_hms_nano_opt(
        hour,
        minute,
        if leap { 59 } else { second },
        nanos,
    )?;
    let mut time = time.and_local_timezone(offset).single().filter(in_range)?;
    if leap {
        let before = time.to_utc();
        time = time.checked_add_signed(TimeDelta::seconds(1)).filter(in_range)?;
        // One second later it must be midnight, and the first of a month.
        if before.month() == time.to_utc().month() {
            return None;
        }
    }
    Some(time)
}

/// Whether a time is in the years 1 to 9999, in UTC.
#[must_use]
pub fn in_range(time: &DateTime<FixedOffset>) -> bool {
    SECONDS.contains(&time.timestamp())
}

/// Nanoseconds, and what comes after them.
fn fraction(tail: &[u8]) -> Option<(u32, &[u8])> {
    let Some(fraction) = tail.strip_prefix(b".") else { return Some((0, tail)) };
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=FRACTION_DIGITS_MAX).contains(&digits) {
        return None;
    }
    let (digits, zone) = fraction.split_at(digits);
    let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(FRACTION_DIGITS_MAX);
    Some((padded.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0')), zone))
}

/// Seconds east of UTC.
fn offset(zone: &[u8]) -> Option<i32> {
    match zone {
        [b'Z' | b'z'] => Some(0),
        [b'+', rest @ ..] => hours_and_minutes(rest),
        [b'-', rest @ ..] => hours_and_minutes(rest).map(|seconds| -seconds),
        _ => None,
    }
}

/// `HH:MM` from 00:00 to 23:59, in seconds.
#[must_use]
pub fn hours_and_minutes(text: &[u8]) -> Option<i32> {
    let [h, hh, b':', m, mm] = *text else { return None };
    if ![h, hh, m, mm].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |tens: u8, ones: u8| i32::from(tens - b'0') * 10 + i32::from(ones - b'0');
    let (hours, minutes) = (number(h, hh), number(m, mm));
    (hours < 24 && minutes < 60).then_some((hours * 60 + minutes) * 60)
}
