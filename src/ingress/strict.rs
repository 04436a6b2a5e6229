//! Reads along with an HTTP/1.1 connection and refuses what its parser would let pass: a bare line feed as the end of
//! a line, and a body with two lengths or an encoding of its own. A proxy before us may read such a head in another
//! way, and what is one request to it would be two to us (RFC 9112, 2.2, 6.1 and 11.2). Pure.
//!
//! A refusal is a byte that no parser takes, in the place of the line feed at fault: the parser then answers 400 and
//! closes the connection.

/// Where in the stream of requests one connection is.
#[derive(Debug)]
pub struct Strict {
    place: Place,
    /// The line that the last read broke off in.
    broken: Vec<u8>,
    head: Head,
}

#[derive(Debug)]
enum Place {
    Head,
    Body {
        left: u64,
    },
    /// Behind a body in chunks, or a refusal: no further request is read from this connection.
    Over,
}

/// What the lines of a head said so far.
#[derive(Debug, Default)]
struct Head {
    begun: bool,
    length: Option<u64>,
    chunked: bool,
}

const REFUSED: u8 = 0;
/// Longer lines are looked at no further; the parser's limits end them.
const LINE_BYTES_MAX: usize = 1024;

impl Strict {
    #[must_use]
    pub fn new() -> Self {
        Self { place: Place::Head, broken: Vec::new(), head: Head::default() }
    }

    /// Looks at the next bytes of the connection; spoils the first that must not pass.
    pub fn read(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.place {
                Place::Over => return,
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
                        return;
                    };
                    if !self.line(&bytes[at..end]) {
                        bytes[end] = REFUSED;
                        self.place = Place::Over;
                    }
                    at = end + 1;
                }
            }
        }
    }

    fn keep(&mut self, part: &[u8]) {
        // The end of a line decides whether it ends well, its beginning what it says.
        let room = LINE_BYTES_MAX.saturating_sub(self.broken.len());
        let (first, rest) = part.split_at(part.len().min(room));
        self.broken.extend_from_slice(first);
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
        self.whole(&line)
    }

    fn whole(&mut self, line: &[u8]) -> bool {
        let Some(line) = line.strip_suffix(b"\r") else { return false };
        match line.first() {
            // Empty lines before a request are passed over (RFC 9112, 2.2).
            None => !self.head.begun || self.end(),
            Some(b'c' | b'C') => {
                if let Some(value) = value(line, b"content-length:") {
                    self.head.length = decimal(value);
                    return self.head.length.is_some();
                }
                self.head.begun = true;
                true
            }
            Some(b't' | b'T') => {
                if let Some(value) = value(line, b"transfer-encoding:") {
                    let first = !std::mem::replace(&mut self.head.chunked, true);
                    return first && value.eq_ignore_ascii_case(b"chunked");
                }
                self.head.begun = true;
                true
            }
            Some(_) => {
                self.head.begun = true;
                true
            }
        }
    }

    /// The head is complete: where its body ends.
    fn end(&mut self) -> bool {
        let head = std::mem::take(&mut self.head);
        self.place = match head.length {
            Some(_) if head.chunked => return false,
            _ if head.chunked => Place::Over,
            Some(left) if left > 0 => Place::Body { left },
            _ => Place::Head,
        };
        true
    }
}

/// The value of a header line, if it is of this name.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (given, value) = line.split_at_checked(name.len())?;
    given.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [&str; 6] = [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n\n\n\nxGET / HTTP/1.1\r\n\r\n",
        "\r\n\r\nPOST / HTTP/1.1\r\nContent-Length:0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-type: a\r\nte: b\r\n\r\n",
        "POST / HTTP/1.1\r\nx: content-length: 9\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ];
    /// `|` stands for the line feed at fault.
    const BAD: [&str; 10] = [
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
    ];

    /// What comes through when `text` arrives in pieces of `size` bytes.
    fn through(text: &str, size: usize) -> Vec<u8> {
        let (mut strict, mut bytes) = (Strict::new(), text.as_bytes().to_vec());
        bytes.chunks_mut(size).for_each(|piece| strict.read(piece));
        bytes
    }

    #[test]
    fn good_requests_pass_untouched_however_they_arrive() {
        for text in GOOD {
            for size in 1..=text.len() {
                assert_eq!(through(text, size), text.as_bytes(), "{text:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn the_line_feed_at_fault_is_spoiled_however_it_arrives() {
        for text in BAD {
            let (arrives, expected) = (text.replace('|', "\n"), text.replace('|', "\0"));
            for size in 1..=text.len() {
                assert_eq!(through(&arrives, size), expected.as_bytes(), "{text:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut strict = Strict::new();
        for _ in 0..1000 {
            strict.read(&mut [b'x'; 100]);
        }
        assert!(strict.broken.len() <= LINE_BYTES_MAX);
        let mut end = *b"\r\nx\n";
        strict.read(&mut end);
        assert_eq!(&end, b"\r\nx\0", "the long line ended well, the next does not");
    }
}
