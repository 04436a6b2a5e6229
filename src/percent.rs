//! Percent-encoding (RFC 3986, 2.1), as paths, queries and CloudEvents headers use it.

use std::fmt::Write as _;

/// `None` for a torn or wrong `%`, and for what is no UTF-8 then.
#[must_use]
pub fn decode(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte == b'%' {
            let pair = [*bytes.next()?, *bytes.next()?];
            let mut decoded = [0];
            faster_hex::hex_decode(&pair, &mut decoded).ok()?;
            out.push(decoded[0]);
        } else {
            out.push(*byte);
        }
    }
    String::from_utf8(out).ok()
}

/// Encodes what is not a plain name.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _written = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_torn_or_no_text_is_refused() {
        for wrong in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decode(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text: String) {
            let encoded = encode(&text);
            prop_assert!(!encoded.contains(['/', '?', '&', '+', ' ', '#']));
            prop_assert_eq!(decode(encoded.as_bytes()), Some(text));
        }
    }
}
