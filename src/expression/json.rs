//! Looks into JSON that was verified before, without a copy and without a tree: what is not asked for is passed over.
//! On bytes that are no JSON it says [`Broken`] or finds something; it never panics and always ends.

use std::borrow::Cow;

use super::value::{List, Map, Value};

/// The bytes are not the JSON they were taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// One value, brackets included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<'a>(pub(super) &'a [u8]);

impl<'a> Json<'a> {
    /// As it is written in the body.
    pub fn text(&self) -> &'a str {
        std::str::from_utf8(self.0).unwrap_or_default()
    }
}

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

/// Reads the value that begins here, and says where it ends.
#[inline]
pub(super) fn value(bytes: &[u8], at: usize) -> Result<(Value<'_>, usize), Broken> {
    let fixed = |text: &[u8], value| {
        let end = at + text.len();
        if bytes.get(at..end) == Some(text) { Ok((value, end)) } else { Err(Broken) }
    };
    match bytes.get(at) {
        Some(b'"') => text(bytes, at).map(|(text, end)| (Value::Text(text), end)),
        Some(b'-' | b'0'..=b'9') => number(bytes, at).map(|(number, end)| (Value::Double(number), end)),
        Some(b'{') => {
            let end = skip_nested(bytes, at)?;
            Ok((Value::Map(Map::Json(Json(&bytes[at..end]))), end))
        }
        Some(b'[') => {
            let end = skip_nested(bytes, at)?;
            Ok((Value::List(List::Json(Json(&bytes[at..end]))), end))
        }
        Some(b't') => fixed(b"true", Value::Bool(true)),
        Some(b'f') => fixed(b"false", Value::Bool(false)),
        Some(b'n') => fixed(b"null", Value::Null),
        _ => Err(Broken),
    }
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

fn skip_nested(bytes: &[u8], mut at: usize) -> Result<usize, Broken> {
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

/// The items of a list, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
    close: u8,
}

impl<'a> Json<'a> {
    pub(super) fn items(self) -> Items<'a> {
        Items { bytes: self.0, at: 0, close: b']' }
    }

    pub(super) fn entries(self) -> Items<'a> {
        Items { bytes: self.0, at: 0, close: b'}' }
    }

    pub(super) fn count(self) -> Result<usize, Broken> {
        let mut count = 0;
        let mut items =
            Items { bytes: self.0, at: 0, close: if self.0.first() == Some(&b'{') { b'}' } else { b']' } };
        while items.more()? {
            if items.close == b'}' {
                items.at = items.after_key()?;
            }
            items.at = skip(items.bytes, items.at)?;
            count += 1;
        }
        Ok(count)
    }

    pub(super) fn item(self, index: usize) -> Result<Option<Value<'a>>, Broken> {
        let mut items = self.items();
        let mut left = index;
        while items.more()? {
            if left == 0 {
                return value(items.bytes, items.at).map(|(value, _)| Some(value));
            }
            items.at = skip(items.bytes, items.at)?;
            left -= 1;
        }
        Ok(None)
    }

    pub(super) fn field(self, key: &str) -> Result<Option<Value<'a>>, Broken> {
        let mut entries = self.entries();
        while entries.more()? {
            let begin = entries.at;
            let (end, escaped) = key_end(entries.bytes, begin)?;
            entries.at = after_key(entries.bytes, end)?;
            if key_is(entries.bytes, begin, end, escaped, key) {
                return value(entries.bytes, entries.at).map(|(value, _)| Some(value));
            }
            entries.at = skip(entries.bytes, entries.at)?;
        }
        Ok(None)
    }
}

impl<'a> Items<'a> {
    /// Steps over the opening bracket or a comma; false at the closing bracket.
    fn more(&mut self) -> Result<bool, Broken> {
        let first = self.at == 0;
        self.at = blank(self.bytes, self.at);
        let byte = self.bytes.get(self.at).copied();
        if !first && byte == Some(self.close) {
            return Ok(false);
        }
        if byte != Some(if first { self.close - 2 } else { b',' }) {
            return Err(Broken);
        }
        self.at = blank(self.bytes, self.at + 1);
        Ok(!first || self.bytes.get(self.at) != Some(&self.close))
    }

    /// Where the value after this key begins.
    fn after_key(&self) -> Result<usize, Broken> {
        after_key(self.bytes, key_end(self.bytes, self.at)?.0)
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn next_item(&mut self) -> Result<Option<Value<'a>>, Broken> {
        if !self.more()? {
            return Ok(None);
        }
        let (value, end) = value(self.bytes, self.at)?;
        self.at = end;
        Ok(Some(value))
    }

    pub(super) fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, Broken> {
        if !self.more()? {
            return Ok(None);
        }
        let (key, _) = text(self.bytes, self.at)?;
        self.at = skip(self.bytes, self.after_key()?)?;
        Ok(Some(key))
    }

    pub(super) fn next_entry(&mut self) -> Result<Option<(Cow<'a, str>, Value<'a>)>, Broken> {
        if !self.more()? {
            return Ok(None);
        }
        let (key, _) = text(self.bytes, self.at)?;
        let (value, end) = value(self.bytes, self.after_key()?)?;
        self.at = end;
        Ok(Some((key, value)))
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
