//! What a certificate says of itself, for people. It is somebody else's text: what does not fit is cut, and what does not print is
//! written as an escape. A certificate that cannot be read here is used all the same; TLS judges it.

use std::fmt::{self, Write as _};
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::name::Name;

use crate::event::UnixMillis;
use crate::limits::{CERTIFICATE_NAME_MAX, CERTIFICATE_WARNED};
use crate::printable::is_order;

/// Whose a certificate is, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Distinguished names (RFC 4514); empty where a certificate has none and names hosts alone.
    pub subject: String,
    pub issuer: String,
    /// In hex.
    pub serial: String,
    /// RFC 3339.
    pub not_after: String,
    until: Duration,
}

impl CertificateFacts {
    /// `None` where it is not one as RFC 5280 has them.
    #[must_use]
    pub fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let told = certificate.tbs_certificate();
        let until = told.validity().not_after.to_unix_duration();
        let not_after = Timestamp::from_second(i64::try_from(until.as_secs()).ok()?).ok()?.to_string();
        Some(Self {
            subject: printed(told.subject()),
            issuer: printed(told.issuer()),
            serial: faster_hex::hex_string(told.serial_number().as_bytes()),
            not_after,
            until,
        })
    }

    /// Whether it ends soon, or has ended.
    #[must_use]
    pub fn ends_soon(&self, now: UnixMillis) -> bool {
        self.ends_within(now, CERTIFICATE_WARNED)
    }

    /// Whether it ends within so long, or has ended.
    #[must_use]
    pub fn ends_within(&self, now: UnixMillis, within: Duration) -> bool {
        self.until.saturating_sub(within) < Duration::from_millis(now.0)
    }
}

/// A name that can be printed, cut where it is long.
fn printed(name: &Name) -> String {
    let mut printed = Printed { text: String::new(), left: CERTIFICATE_NAME_MAX };
    if write!(printed, "{name}").is_err() {
        printed.text.push('…');
    }
    printed.text
}

struct Printed {
    text: String,
    /// Characters that still fit.
    left: usize,
}

impl fmt::Write for Printed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            if is_order(character) || is_unseen(character) {
                self.text.extend(character.escape_unicode());
            } else {
                self.text.push(character);
            }
        }
        Ok(())
    }
}

/// Cannot be seen: a name could look like a different one.
fn is_unseen(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(name: &str, until: (i32, u8, u8)) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x1b, 0xad, 0xca, 0xfe]));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example, Inc.");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn a_certificate_tells_whose_it_is_and_until_when() {
        let facts = CertificateFacts::read(&made("a.example.com", (2027, 3, 1))).unwrap();
        assert_eq!(facts.subject, "CN=a.example.com,O=Example\\, Inc.");
        assert_eq!(facts.issuer, facts.subject);
        assert_eq!((&*facts.serial, &*facts.not_after), ("1badcafe", "2027-03-01T00:00:00Z"));
        let days = |before: u64| UnixMillis((1_803_859_200 - before * 86_400) * 1000);
        assert!(!facts.ends_soon(days(31)) && facts.ends_soon(days(29)) && facts.ends_soon(days(0)));
        let alerted = |before| facts.ends_within(days(before), crate::limits::CERTIFICATE_ALERTED);
        assert!(!alerted(22) && alerted(20) && alerted(0));
    }

    #[test]
    fn what_a_name_holds_neither_ends_a_line_nor_fills_one() {
        let facts =
            CertificateFacts::read(&made("x\n\"level\":\u{202e}gro\u{1b}[31m", (2027, 3, 1))).unwrap();
        assert!(facts.subject.starts_with("CN=x\\0a\\\"level\\\":"), "{}", facts.subject);
        assert!(facts.subject.contains("\\u{202e}gro\\1b[31m"), "{}", facts.subject);
        let long = CertificateFacts::read(&made(&"é".repeat(60_000), (2027, 3, 1))).unwrap();
        assert_eq!(long.subject.chars().count(), CERTIFICATE_NAME_MAX + 1);
        assert!(long.subject.ends_with("é…"));
    }

    #[test]
    fn a_damaged_certificate_is_none_or_another_one_and_never_a_panic() {
        let whole = made("a.example.com", (2027, 3, 1));
        for at in 0..whole.len() {
            assert_eq!(CertificateFacts::read(&whole[..at].into()), None, "{at} bytes");
            for bit in 0..8 {
                let mut damaged = whole.to_vec();
                damaged[at] ^= 1 << bit;
                let _read = CertificateFacts::read(&damaged.into());
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _read = CertificateFacts::read(&bytes.into());
        }
    }
}
