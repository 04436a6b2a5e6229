//! Looks into JSON that was verified before, without a copy and without a tree: what is not asked for is passed over.
//! On bytes that are no JSON it says [`Broken`] or finds something; it never panics and always ends.

use std::borrow::Cow;

/// The bytes are not the JSON they were taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Powers of ten that a double holds exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// Integers up to here are doubles exactly.
const MANTISSA_MAX: u64 = 1 << 53;

#[inline]
pub(super) fn blank(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Where the value that begins here ends.
#[inline]
pub(super) fn skip(bytes: &[u8], at: usize) -> Result<usize, Broken> {
    match bytes.get(at) {
        Some(b'"') => string_end(bytes, at + 1).map(|(end, _)| end + 1),
        Some(b'{' | b'[') => skip_nested(bytes, at),
        Some(_) => {
            let rest = &bytes[at..];
            let length = rest
                .iter()
                .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
            Ok(at + length.unwrap_or(rest.len()))
        }
        None => Err(Broken),
    }
}

pub(super) fn skip_nested(bytes: &[u8], mut at: usize) -> Result<usize, Broken> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at) {
            Some(b'"') => at = string_end(bytes, at + 1)?.0,
            Some(b'{' | b'[') => depth += 1,
            Some(b'}' | b']') => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            Some(_) => {}
            None => return Err(Broken),
        }
        at += 1;
    }
}

/// The closing quote of the string whose content begins here, and whether a backslash stands before it.
#[inline]
pub(super) fn string_end(bytes: &[u8], mut at: usize) -> Result<(usize, bool), Broken> {
    let mut escaped = false;
    loop {
        // Eight bytes at once: a byte of `hit` has its top bit set where a quote or a backslash stands.
        while let Some(&chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            const ONES: u64 = u64::from_ne_bytes([1; 8]);
            let word = u64::from_le_bytes(chunk);
            let quote = word ^ (ONES * 0x22);
            let slash = word ^ (ONES * 0x5c);
            let hit =
                ((quote.wrapping_sub(ONES) & !quote) | (slash.wrapping_sub(ONES) & !slash)) & (ONES * 0x80);
            if hit == 0 {
                at += 8;
            } else {
                at += (hit.trailing_zeros() / 8) as usize;
                break;
            }
        }
        match bytes.get(at) {
            Some(b'"') => return Ok((at, escaped)),
            Some(b'\\') => {
                escaped = true;
                at += 2;
            }
            Some(_) => at += 1,
            None => return Err(Broken),
        }
    }
}

/// The string that begins with the quote here.
#[inline]
pub(super) fn text(bytes: &[u8], at: usize) -> Result<(Cow<'_, str>, usize), Broken> {
    if bytes.get(at) != Some(&b'"') {
        return Err(Broken);
    }
    let (end, escaped) = string_end(bytes, at + 1)?;
    let text = if escaped {
        Cow::Owned(serde_json::from_slice(&bytes[at..=end]).map_err(|_| Broken)?)
    } else {
        Cow::Borrowed(std::str::from_utf8(&bytes[at + 1..end]).map_err(|_| Broken)?)
    };
    Ok((text, end + 1))
}

/// Short decimals by one exact division, everything else as the standard library reads it; both round rightly.
#[inline]
#[expect(clippy::cast_precision_loss, reason = "the mantissa is below 2^53")]
pub(super) fn number(bytes: &[u8], begin: usize) -> Result<(f64, usize), Broken> {
    let negative = bytes.get(begin) == Some(&b'-');
    let mut at = begin + usize::from(negative);
    let mut mantissa = 0_u64;
    let first = at;
    while let Some(byte @ b'0'..=b'9') = bytes.get(at) {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        at += 1;
    }
    let mut digits = at - first;
    let mut decimals = 0;
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        let point = at;
        while let Some(byte @ b'0'..=b'9') = bytes.get(at) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
            at += 1;
        }
        decimals = at - point;
        digits += decimals;
    }
    // Nineteen digits cannot have wrapped.
    let short =
        (1..=19).contains(&digits) && mantissa <= MANTISSA_MAX && !matches!(bytes.get(at), Some(b'e' | b'E'));
    match TENS.get(decimals) {
        Some(ten) if short => {
            let number = mantissa as f64 / ten;
            Ok((if negative { -number } else { number }, at))
        }
        _ => {
            let end = skip(bytes, begin)?;
            let text = std::str::from_utf8(&bytes[begin..end]).map_err(|_| Broken)?;
            Ok((text.parse().map_err(|_| Broken)?, end))
        }
    }
}

/// The closing quote of the key that begins here, and whether it has escapes.
#[inline]
pub(super) fn key_end(bytes: &[u8], at: usize) -> Result<(usize, bool), Broken> {
    if bytes.get(at) == Some(&b'"') { string_end(bytes, at + 1) } else { Err(Broken) }
}

/// Where the value of the key that ends here begins.
#[inline]
pub(super) fn after_key(bytes: &[u8], end: usize) -> Result<usize, Broken> {
    let colon = blank(bytes, end + 1);
    if bytes.get(colon) == Some(&b':') { Ok(blank(bytes, colon + 1)) } else { Err(Broken) }
}

/// Whether the key between these quotes is this name, escapes or not.
#[inline]
pub(super) fn key_is(bytes: &[u8], begin: usize, end: usize, escaped: bool, name: &str) -> bool {
    if escaped {
        return text(bytes, begin).is_ok_and(|(key, _)| key == name);
    }
    bytes.get(begin + 1..end) == Some(name.as_bytes())
}
