//! Reads along with an HTTP/1.1 connection and refuses what its parser would let pass: a bare line feed as the end of
//! a line, a body with two lengths or an encoding of its own, and a target with a fragment. A proxy before us may read such a head in another
//! way, and what is one request to it would be two to us (RFC 9112, 2.2, 3.2, 6.1 and 11.2). Pure.
//!
//! It also knows where requests end, so that a connection can be closed after one of them.

use hyper::rt::ReadBufCursor;

use crate::limits::HEADER_BYTES_MAX;

/// Where in the stream of requests one connection is.
#[derive(Debug, Default)]
pub struct Strict {
    place: Place,
    /// The line that the last read broke off in.
    broken: Vec<u8>,
    /// That line is longer than what is kept of it.
    cut: bool,
    head: Head,
    /// Heads that came to their end.
    heads: u64,
}

#[derive(Debug, Default)]
enum Place {
    #[default]
    Head,
    Body {
        left: u64,
    },
    /// After a body in chunks: no further request is read from this connection.
    Over,
    /// After a line at fault: nothing further is read.
    Refused,
}

/// What the lines of a head said so far.
#[derive(Debug, Default)]
struct Head {
    begun: bool,
    length: Option<u64>,
    chunked: bool,
}

/// What stands for the line feed at fault and all that follows it: no parser takes it, and it ends a head, so that the
/// parser answers 400 and closes the connection.
const REFUSAL: &[u8] = b"\0\r\n\r\n";
/// Bytes that may be read into a parser's `buffer` at once, at most `most`, so that a refusal still fits.
#[must_use]
pub fn room(buffer: &ReadBufCursor<'_>, most: usize) -> usize {
    buffer.remaining().saturating_sub(REFUSAL.len()).clamp(1, most)
}

/// Bytes that are kept of a line. A longer one that says where the body ends is refused, any other is the parser's.
const LINE_BYTES_MAX: usize = HEADER_BYTES_MAX as usize;

impl Strict {
    /// Heads that have come whole.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether part of a head has come.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        matches!(self.place, Place::Head) && (self.head.begun || !self.broken.is_empty())
    }

    /// Bytes that may be read without reading beyond the request that the last read broke off in, or beyond the next
    /// one's first byte.
    #[must_use]
    pub fn within_request(&self) -> usize {
        match self.place {
            Place::Head => 1,
            Place::Body { left } => usize::try_from(left).unwrap_or(usize::MAX),
            Place::Over | Place::Refused => usize::MAX,
        }
    }

    /// Gives the next bytes of the connection to a parser, or what makes it refuse them.
    pub fn pass(&mut self, came: &[u8], buffer: &mut ReadBufCursor<'_>) {
        match self.read(came) {
            None => buffer.put_slice(came),
            Some(fault) => {
                let room = buffer.remaining().saturating_sub(fault).min(REFUSAL.len());
                buffer.put_slice(&came[..fault]);
                buffer.put_slice(&REFUSAL[..room]);
            }
        }
    }

    /// Looks at the next bytes of the connection; says how many of them may pass, if not all.
    fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.place {
                Place::Over => return None,
                Place::Refused => return Some(at),
                Place::Body { left } => {
                    let part = (*left).min((bytes.len() - at) as u64);
                    *left -= part;
                    // It is at most what is left of a slice.
                    at += usize::try_from(part).unwrap_or_default();
                    if *left == 0 {
                        self.place = Place::Head;
                    }
                }
                Place::Head => {
                    let Some(end) = memchr::memchr(b'\n', &bytes[at..]).map(|end| at + end) else {
                        self.keep(&bytes[at..]);
                        return None;
                    };
                    if !self.line(&bytes[at..end]) {
                        self.place = Place::Refused;
                        return Some(end);
                    }
                    at = end + 1;
                }
            }
        }
        None
    }

    fn keep(&mut self, part: &[u8]) {
        // The end of a line decides whether it ends well, its beginning what it says.
        let room = LINE_BYTES_MAX.saturating_sub(self.broken.len());
        let (first, rest) = part.split_at(part.len().min(room));
        self.broken.extend_from_slice(first);
        self.cut |= !rest.is_empty();
        if let (Some(last), Some(kept)) = (rest.last(), self.broken.last_mut()) {
            *kept = *last;
        }
    }

    /// A line without its line feed; whether it may pass.
    fn line(&mut self, line: &[u8]) -> bool {
        if self.broken.is_empty() {
            return self.whole(line);
        }
        self.keep(line);
        let line = std::mem::take(&mut self.broken);
        let cut = std::mem::take(&mut self.cut);
        // The end of its value is not known.
        !(cut && is_framing(&line)) && self.whole(&line)
    }

    fn whole(&mut self, line: &[u8]) -> bool {
        let Some(line) = line.strip_suffix(b"\r") else { return false };
        match line.first() {
            // Empty lines before a request are passed over (RFC 9112, 2.2).
            None => !self.head.begun || self.end(),
            Some(_) if !std::mem::replace(&mut self.head.begun, true) => is_request_line(line),
            Some(b'c' | b'C') => {
                if let Some(value) = value(line, CONTENT_LENGTH) {
                    let first = self.head.length.is_none();
                    self.head.length = decimal(value);
                    return first && self.head.length.is_some();
                }
                true
            }
            Some(b't' | b'T') => {
                if let Some(value) = value(line, TRANSFER_ENCODING) {
                    let first = !std::mem::replace(&mut self.head.chunked, true);
                    return first && value.eq_ignore_ascii_case(b"chunked");
                }
                true
            }
            Some(_) => true,
        }
    }

    /// The head is complete: where its body ends.
    fn end(&mut self) -> bool {
        let head = std::mem::take(&mut self.head);
        self.heads += 1;
        self.place = match head.length {
            Some(_) if head.chunked => return false,
            _ if head.chunked => Place::Over,
            Some(left) if left > 0 => Place::Body { left },
            _ => Place::Head,
        };
        true
    }
}

const CONTENT_LENGTH: &[u8] = b"content-length:";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding:";

/// Whether nothing of a request line is left to interpretation: a fragment is no part of a target, nor is anything but
/// ASCII.
fn is_request_line(line: &[u8]) -> bool {
    line.is_ascii() && memchr::memchr(b'#', line).is_none()
}

/// Whether a header line says where the body ends.
fn is_framing(line: &[u8]) -> bool {
    value(line, CONTENT_LENGTH).or_else(|| value(line, TRANSFER_ENCODING)).is_some()
}

/// The value of a header line, if it is of this name.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (given, value) = line.split_at_checked(name.len())?;
    given.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// A length as every parser reads it: digits alone, no longer than a number of 64 bits.
fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = matches!(digits.len(), 1..=20) && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [&str; 7] = [
        "TRACE /?a%23 HTTP/1.1\r\nx: #\r\n\r\nCOPY / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n\n\n\nxGET / HTTP/1.1\r\n\r\n",
        "\r\n\r\nPOST / HTTP/1.1\r\nContent-Length:0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-type: a\r\nte: b\r\n\r\n",
        "POST / HTTP/1.1\r\nx: content-length: 9\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ];
    /// `|` stands for the line feed at fault.
    const BAD: [&str; 14] = [
        "GET /livez#x HTTP/1.1\r|",
        "CONNECT a# HTTP/1.1\r|",
        "GET /é HTTP/1.1\r|",
        "GET / HTTP/1.1|host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a|\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n|",
        "|GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n\n\nGET / HTTP/1.1|\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r|",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r|",
        "POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r|",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r|",
        "POST / HTTP/1.1\r\ncontent-length: +2\r|",
        "POST / HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 2\r|",
    ];

    /// How much of `text` passes when it arrives in pieces of `size` bytes, if not all.
    fn passes(text: &str, size: usize) -> Option<usize> {
        let mut strict = Strict::default();
        let pieces = text.as_bytes().chunks(size).enumerate();
        pieces.map(|(number, piece)| Some(number * size + strict.read(piece)?)).find_map(|fault| fault)
    }

    #[test]
    fn good_requests_pass_however_they_arrive() {
        for text in GOOD {
            for size in 1..=text.len() {
                assert_eq!(passes(text, size), None, "{text:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn the_line_feed_at_fault_does_not_pass_however_it_arrives() {
        for text in BAD {
            let fault = text.find('|');
            for size in 1..=text.len() {
                assert_eq!(passes(&text.replace('|', "\n"), size), fault, "{text:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn nothing_passes_after_a_refusal() {
        let mut strict = Strict::default();
        assert_eq!(strict.read(b"GET / HTTP/1.1\nhost"), Some(14));
        assert_eq!(strict.read(b": gemba\r\n"), Some(0));
    }

    #[test]
    fn a_long_line_means_the_same_in_one_piece_and_in_many() {
        let zeros = "0".repeat(1100);
        let long = "x".repeat(2 * LINE_BYTES_MAX);
        for (head, good) in [
            (format!("POST / HTTP/1.1\r\ncontent-length: {zeros}2\r|"), false),
            (format!("POST / HTTP/1.1\r\ncontent-length: 1{long}\r|"), false),
            (format!("POST / HTTP/1.1\r\ntransfer-encoding: {long}\r|"), false),
            (format!("POST / HTTP/1.1\r\ncookie: {long}\r|\r|"), true),
        ] {
            let fault = head.find('|').filter(|_| !good);
            for size in [1, 7, 1023, 1024, 1025, LINE_BYTES_MAX, head.len()] {
                assert_eq!(passes(&head.replace('|', "\n"), size), fault, "in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut strict = Strict::default();
        for _ in 0..1000 {
            assert_eq!(strict.read(&[b'x'; 100]), None);
        }
        assert!(strict.broken.len() <= LINE_BYTES_MAX);
        assert_eq!(strict.read(b"\r\nx\n"), Some(3), "the long line ended well, the next does not");
    }

    #[test]
    fn reads_that_stay_within_a_request_end_where_it_ends() {
        let first = b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nab\ncd";
        let both = [first.as_slice(), b"GET / HTTP/1.1\r\n\r\n"].concat();
        let (mut strict, mut at) = (Strict::default(), 0);
        while strict.heads() < 1 || strict.within_request() > 1 {
            let end = at + strict.within_request();
            assert_eq!(strict.read(&both[at..end]), None);
            at = end;
        }
        assert_eq!((at, strict.is_in_head()), (first.len(), false));
        strict.read(b"G");
        assert!(strict.is_in_head());
    }
}
