//! Reads HTTP/1.1 answers, as far as this client needs them: status, content-length, `connection: close`, body.
//! An answer framed in another way (chunks) is refused, not guessed. Pure; never copies.

use std::ops::Range;

/// Head of an answer that is longer is nonsense.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Body of an answer that is longer is nonsense.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What stands at the begin of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Not yet a whole answer.
    Partial,
    /// Not HTTP/1.1 that this client understands.
    Broken,
    Whole(Answer),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The server closes the connection after this answer.
    pub close: bool,
    /// Where the body stands; it ends the answer.
    pub body: Range<usize>,
}

/// Reads one answer at the begin of `bytes`.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed {
    match read(bytes) {
        Ok(Some(answer)) => Parsed::Whole(answer),
        Ok(None) if bytes.len() > HEAD_BYTES_MAX + BODY_BYTES_MAX => Parsed::Broken,
        Ok(None) => Parsed::Partial,
        Err(Broken) => Parsed::Broken,
    }
}

struct Broken;

fn read(bytes: &[u8]) -> Result<Option<Answer>, Broken> {
    let Some((first, mut at)) = line(bytes, 0)? else { return Ok(None) };
    let (status, mut close) = status(first)?;
    let mut length = 0;
    loop {
        let Some((field, next)) = line(bytes, at)? else { return Ok(None) };
        at = next;
        if field.is_empty() {
            break;
        }
        // Only these two letters begin a name that matters.
        if !matches!(field[0] | 0x20, b'c' | b't') {
            continue;
        }
        let colon = field.iter().position(|byte| *byte == b':').ok_or(Broken)?;
        let (name, value) = (&field[..colon], field[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = number(value).filter(|length| *length <= BODY_BYTES_MAX).ok_or(Broken)?;
        } else if name.eq_ignore_ascii_case(b"connection") {
            close |= value.eq_ignore_ascii_case(b"close");
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(Broken);
        }
    }
    let end = at + length;
    Ok((end <= bytes.len()).then_some(Answer { status, close, body: at..end }))
}

/// The line at `from` without its end, and where the next begins.
fn line(bytes: &[u8], from: usize) -> Result<Option<(&[u8], usize)>, Broken> {
    let rest = &bytes[from..];
    match rest.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = rest[..end].strip_suffix(b"\r").ok_or(Broken)?;
            Ok(Some((line, from + end + 1)))
        }
        None if from + rest.len() > HEAD_BYTES_MAX => Err(Broken),
        None => Ok(None),
    }
}

fn status(line: &[u8]) -> Result<(u16, bool), Broken> {
    let (close, rest) = match line.strip_prefix(b"HTTP/1.1 ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix(b"HTTP/1.0 ").ok_or(Broken)?),
    };
    let digits = rest.get(..3).ok_or(Broken)?;
    let status = number(digits).and_then(|status| u16::try_from(status).ok()).ok_or(Broken)?;
    // Interim answers are never asked for.
    if (200..600).contains(&status) { Ok((status, close)) } else { Err(Broken) }
}

fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0, |number: usize, digit| {
        digit.is_ascii_digit().then(|| number * 10 + usize::from(*digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCEPTED: &[u8] =
        b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\ncontent-length: 7\r\n\
        date: Tue, 24 Nov 2026 00:00:00 GMT\r\n\r\n{\"a\":1}";
    const CLOSING: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nCONNECTION: Close\r\nContent-Length:0\r\n\r\n";

    #[test]
    fn answers_are_found_however_they_are_split() {
        let mut both = ACCEPTED.to_vec();
        both.extend_from_slice(CLOSING);
        for end in 0..both.len() {
            let parsed = parse(&both[..end]);
            if end < ACCEPTED.len() {
                assert_eq!(parsed, Parsed::Partial, "{end}");
                continue;
            }
            let Parsed::Whole(first) = parsed else { panic!("{end}: {parsed:?}") };
            assert_eq!(
                (first.status, first.close, &both[first.body.clone()]),
                (202, false, &b"{\"a\":1}"[..])
            );
            assert_eq!(first.body.end, ACCEPTED.len());
            assert_eq!(parse(&both[first.body.end..end]), Parsed::Partial, "{end}");
        }
        let second = Answer { status: 429, close: true, body: CLOSING.len()..CLOSING.len() };
        assert_eq!(parse(CLOSING), Parsed::Whole(second));
    }

    #[test]
    fn what_is_not_understood_is_broken() {
        for wrong in [
            &b"HTTP/2 200 OK\r\n\r\n"[..],
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 200 OK\n\n",
            b"HTTP/1.1 200 OK\r\nconnection\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            assert_eq!(parse(wrong), Parsed::Broken, "{}", String::from_utf8_lossy(wrong));
        }
        assert_eq!(parse(&vec![b'x'; HEAD_BYTES_MAX + 1]), Parsed::Broken);
    }

    #[test]
    fn an_old_server_closes_without_saying_so() {
        let Parsed::Whole(answer) = parse(b"HTTP/1.0 503 Busy\r\n\r\n") else { panic!("not whole") };
        assert!(answer.close);
    }
}
