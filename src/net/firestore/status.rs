//! What became of a call, and what that means for who asked. The meaning of a status is that of `google/rpc/code.proto`
//! and of the preconditions in `google/firestore/v1/common.proto`.

use super::value::{Presumes, Write};
use crate::percent;
use crate::printable::is_order;

/// Why a call did not end well, by what is to be done next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nothing was written: a document is not as presumed, since somebody else has written. To be read again.
    #[error("a document is not as presumed: somebody else has written it")]
    Stale,
    /// Nothing was written. To be tried again after a while.
    #[error("others write the same documents at this moment")]
    Contended,
    /// It may have been written or not. To be read back.
    #[error("it is not known whether it was written: {0}")]
    Unknown(String),
    /// Nothing was written, and the same call would be refused again.
    #[error("Firestore refuses: {0}")]
    Refused(String),
    /// Never sent, so nothing was written. To be tried again after a while.
    #[error("Firestore is out of reach: {0}")]
    Unreachable(String),
}

/// A status of gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    code: u32,
    message: String,
}

/// What a commit presumed of its documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Presumed {
    absent: bool,
    present: bool,
}

impl Presumed {
    pub fn by(writes: &[Write]) -> Self {
        let mut presumed = Self::default();
        for presumes in writes.iter().filter_map(|write| write.presumes) {
            match presumes {
                Presumes::Absent => presumed.absent = true,
                Presumes::Present | Presumes::Version(_) => presumed.present = true,
            }
        }
        presumed
    }
}

/// Characters of a server's message that are told on.
const MESSAGE_CHARS_MAX: usize = 200;
const UNKNOWN: u32 = 2;

impl Status {
    /// From `grpc-status` and `grpc-message`. The message is only for people: wrong percent signs are left in.
    pub fn read(code: &[u8], message: Option<&[u8]>) -> Self {
        let code = std::str::from_utf8(code).ok().and_then(|code| code.parse().ok()).unwrap_or(UNKNOWN);
        let message = message.unwrap_or_default();
        let message =
            percent::decode(message).unwrap_or_else(|| String::from_utf8_lossy(message).into_owned());
        let message = message.chars().map(|c| if is_order(c) { ' ' } else { c });
        Self { code, message: message.take(MESSAGE_CHARS_MAX).collect() }
    }

    /// From an answer of HTTP alone, as something in between gives it (gRPC's `http-grpc-status-mapping.md`).
    pub fn of_http(status: u16) -> Self {
        let code = match status {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => 14,
            _ => UNKNOWN,
        };
        Self { code, message: format!("HTTP status {status}") }
    }

    pub fn is_ok(&self) -> bool {
        self.code == 0
    }

    pub fn is_unauthenticated(&self) -> bool {
        self.code == 16
    }

    pub fn trouble(self, presumed: Presumed) -> Trouble {
        match self.code {
            10 => Trouble::Contended,
            // A database that does not exist is NOT_FOUND, too. Who reads again, as told, is then refused.
            5 if presumed.present => Trouble::Stale,
            6 if presumed.absent => Trouble::Stale,
            9 if presumed.present || presumed.absent => Trouble::Stale,
            3 | 5 | 6 | 7 | 9 | 11 | 12 | 16 => Trouble::Refused(self.in_words()),
            // Of these it is nowhere said that nothing was applied: CANCELLED, UNKNOWN, DEADLINE_EXCEEDED,
            // RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE, DATA_LOSS, and what is not known yet.
            _ => Trouble::Unknown(self.in_words()),
        }
    }

    fn in_words(&self) -> String {
        let index = usize::try_from(self.code).unwrap_or(usize::MAX);
        let name = NAMES.get(index).copied().unwrap_or("a status that is not known");
        if self.message.is_empty() { name.to_owned() } else { format!("{name}: {}", self.message) }
    }
}

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: &str, presumed: Presumed) -> Trouble {
        Status::read(code.as_bytes(), Some(b"why")).trouble(presumed)
    }

    #[test]
    fn each_status_means_one_thing() {
        let nothing = Presumed::default();
        let absent = Presumed { absent: true, ..nothing };
        let present = Presumed { present: true, ..nothing };
        for (code, name) in NAMES.iter().enumerate().skip(1) {
            let words = format!("{name}: why");
            for presumed in [nothing, absent, present] {
                let meant = match *name {
                    "ABORTED" => Trouble::Contended,
                    "NOT_FOUND" if presumed == present => Trouble::Stale,
                    "ALREADY_EXISTS" if presumed == absent => Trouble::Stale,
                    "FAILED_PRECONDITION" if presumed != nothing => Trouble::Stale,
                    "INVALID_ARGUMENT"
                    | "NOT_FOUND"
                    | "ALREADY_EXISTS"
                    | "PERMISSION_DENIED"
                    | "FAILED_PRECONDITION"
                    | "OUT_OF_RANGE"
                    | "UNIMPLEMENTED"
                    | "UNAUTHENTICATED" => Trouble::Refused(words.clone()),
                    _ => Trouble::Unknown(words.clone()),
                };
                assert_eq!(read(&code.to_string(), presumed), meant, "{name} {presumed:?}");
            }
        }
        for code in ["17", "-1", "", "4294967296"] {
            assert!(matches!(read(code, present), Trouble::Unknown(_)), "{code}");
        }
    }

    #[test]
    fn a_message_is_decoded_bounded_and_of_one_line() {
        let read = |message: &[u8]| Status::read(b"3", Some(message)).message;
        assert_eq!(read(b"a%20b%0Ac %C3%BC"), "a b c ü");
        assert_eq!(read(b"100% wrong"), "100% wrong");
        assert_eq!(read(&[b'x'; 10_000]).len(), MESSAGE_CHARS_MAX);
        assert_eq!(Status::read(b"7", None).in_words(), "PERMISSION_DENIED");
    }

    #[test]
    fn an_answer_of_http_alone_writes_nothing_only_where_that_is_sure() {
        let of = |status| Status::of_http(status).trouble(Presumed::default());
        assert!(matches!(of(403), Trouble::Refused(_)));
        assert!(matches!(of(404), Trouble::Refused(_)));
        assert!(Status::of_http(401).is_unauthenticated());
        for status in [301, 400, 429, 500, 502, 503, 504] {
            assert!(matches!(of(status), Trouble::Unknown(_)), "{status}");
        }
    }
}
