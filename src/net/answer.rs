//! What an HTTP/1.1 server's status line said, read beside the client from the same bytes: it counts whatever stands
//! behind it, or does not. An answer whose head is broken, endless or cut off is none for the client.

use std::sync::{Arc, Mutex, PoisonError};

/// The status of the answer that a connection waits for, or has.
#[derive(Clone, Debug, Default)]
pub struct Answer(Arc<Mutex<Reading>>);

/// `HTTP/1.1 200` and the byte behind it, which shows that the number has ended.
const STATUS_BYTES: usize = 13;

#[derive(Debug)]
enum Reading {
    /// The begin of a status line, so far.
    Line {
        begin: [u8; STATUS_BYTES],
        have: usize,
    },
    /// The head of an interim answer (1xx), up to its empty line; whether this line is empty so far.
    Interim {
        empty: bool,
    },
    Status(u16),
    /// No status line.
    Nonsense,
}

impl Default for Reading {
    fn default() -> Self {
        Self::Line { begin: [0; STATUS_BYTES], have: 0 }
    }
}

impl Answer {
    /// Whether both are of one connection.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A request is about to be sent; what was said before is no answer to it.
    pub fn begin(&self) {
        self.change(|reading| *reading = Reading::default());
    }

    /// The final status, if it was said.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.change(|reading| match reading {
            Reading::Status(status) => Some(*status),
            Reading::Line { .. } | Reading::Interim { .. } | Reading::Nonsense => None,
        })
    }

    /// Bytes as they came.
    pub fn read(&self, bytes: &[u8]) {
        self.change(|reading| bytes.iter().for_each(|byte| reading.take(*byte)));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Reading) -> T) -> T {
        // Every change is whole.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Reading {
    fn take(&mut self, byte: u8) {
        match self {
            Self::Status(_) | Self::Nonsense => {}
            // Empty lines before an answer are passed over (RFC 9112, 2.2).
            Self::Line { have: 0, .. } if matches!(byte, b'\r' | b'\n') => {}
            Self::Line { begin, have } => {
                begin[*have] = byte;
                *have += 1;
                if *have == STATUS_BYTES {
                    *self = Self::of(*begin);
                }
            }
            Self::Interim { empty } => match (byte, &empty) {
                (b'\n', true) => *self = Self::default(),
                (b'\n', false) => *empty = true,
                (b'\r', _) => {}
                _ => *empty = false,
            },
        }
    }

    fn of(begin: [u8; STATUS_BYTES]) -> Self {
        let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9', b' ', code @ .., end] = begin else {
            return Self::Nonsense;
        };
        if !matches!(end, b' ' | b'\r' | b'\n') || !code.iter().all(u8::is_ascii_digit) {
            return Self::Nonsense;
        }
        match code.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')) {
            0..100 => Self::Nonsense,
            // Only behind a 101 the client does not wait for another.
            100 | 102..=199 => Self::Interim { empty: end == b'\n' },
            status => Self::Status(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pieces: &[&[u8]]) -> Option<u16> {
        let answer = Answer::default();
        for piece in pieces {
            answer.read(piece);
        }
        answer.status()
    }

    #[test]
    fn a_status_line_counts_whatever_stands_behind_it() {
        for (said, expected) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], Some(200)),
            (b"HTTP/1.1 204 ", Some(204)),
            (b"HTTP/1.0 503\r\n", Some(503)),
            (b"HTTP/1.1 202\n", Some(202)),
            (b"\r\n\r\nHTTP/1.1 200 OK", Some(200)),
            (b"HTTP/1.1 299 \xff\xfe\0 no header\r\n: x", Some(299)),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n", Some(201)),
            (b"HTTP/1.1 103 Hints\r\nlink: </a>\r\nno header\r\n\r\nHTTP/1.1 102 .\r\n\r\nHTTP/1.1 500 .\r\n", Some(500)),
            (b"HTTP/1.1 100\n\nHTTP/1.1 200\n", Some(200)),
            (b"HTTP/1.1 100 Continue\r\nHTTP/1.1 200 OK\r\n", None),
            (b"HTTP/1.1 100 Continue\r\n\r\n", None),
            (b"HTTP/1.1 101 Switching Protocols\r\n", Some(101)),
            (b"", None),
            (b"HTTP/1.1 20", None),
            (b"HTTP/1.1 200", None),
            (b"HTTP/1.1 2000 OK\r\n", None),
            (b"HTTP/1.1 +20 OK\r\n", None),
            (b"HTTP/1.1 099 OK\r\n", None),
            (b"HTTP/1.1  200 OK\r\n", None),
            (b"HTTP/2.0 200 OK\r\n", None),
            (b"http/1.1 200 OK\r\n", None),
            (b"ICY 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n", None),
            (b"xHTTP/1.1 200 OK\r\n", None),
        ] {
            let text = String::from_utf8_lossy(said);
            assert_eq!(status(&[said]), expected, "{text}");
            let single: Vec<&[u8]> = said.chunks(1).collect();
            assert_eq!(status(&single), expected, "byte by byte: {text}");
        }
    }

    #[test]
    fn the_first_status_stays_until_the_next_request() {
        let answer = Answer::default();
        answer.read(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 500 .\r\n");
        assert_eq!(answer.status(), Some(200));
        answer.begin();
        assert_eq!(answer.status(), None);
        answer.clone().read(b"HTTP/1.1 404 .\r\n");
        assert_eq!(answer.status(), Some(404));
    }
}
