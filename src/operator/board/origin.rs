//! Whether a request with a cookie comes from the board's own page. A browser sends the cookie of whoever is logged in; the
//! page that had it send the request may be another's. Pure.

use hyper::header::{HOST, HeaderMap, HeaderName, ORIGIN};

/// Forms cannot send it, and a script of another origin only after this node allowed it, which it never does.
const OWN: HeaderName = HeaderName::from_static("x-gemba-board");
/// Says how the page stands to what it asks; sent by browsers over TLS and on loopback, and set by no script.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORWARDED_PROTOCOL: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Why a request is not known to be the board's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    #[error("a request with the board's cookie needs the field `x-gemba-board: 1`")]
    NoMark,
    #[error(
        "this request comes from a different origin than the board's; behind a proxy, have the proxy pass `Host` on"
    )]
    OtherOrigin,
}

/// Checks that the page that asks is the board's own.
pub fn check(headers: &HeaderMap) -> Result<(), Foreign> {
    if one(headers, &OWN) != Some("1") {
        return Err(Foreign::NoMark);
    }
    let is_own = match (one(headers, &SITE), one(headers, &ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            authority(origin).is_some_and(|authority| one(headers, &HOST) == Some(authority))
        }
        // Every browser sends one of the two with an order.
        (None, None) => false,
    };
    if is_own { Ok(()) } else { Err(Foreign::OtherOrigin) }
}

/// Whether the browser speaks TLS: to this node, or to a proxy before it. Who lies gets a cookie that it does not send back over
/// plain HTTP, so nobody has to be trusted.
pub fn is_over_tls(headers: &HeaderMap) -> bool {
    one(headers, &ORIGIN).is_some_and(|origin| origin.starts_with("https://"))
        || one(headers, &FORWARDED_PROTOCOL).is_some_and(|protocol| protocol.eq_ignore_ascii_case("https"))
}

/// The value of a field that stands once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).into_iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

fn authority(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    const HOST: (&str, &str) = ("host", "node:9090");
    const MARK: (&str, &str) = ("x-gemba-board", "1");

    #[test]
    fn only_the_own_page_may_ask_with_a_cookie() {
        for own in [
            &[HOST, MARK, ("origin", "http://node:9090")][..],
            &[HOST, MARK, ("origin", "https://node:9090")],
            // A proxy that changed the host, and a browser that says what it knows.
            &[HOST, MARK, ("origin", "https://board.example.com"), ("sec-fetch-site", "same-origin")],
        ] {
            assert_eq!(check(&headers(own)), Ok(()), "{own:?}");
        }
        for forged in [
            &[HOST, MARK][..],
            &[HOST, MARK, ("origin", "null")],
            &[HOST, MARK, ("origin", "http://evil.example")],
            &[HOST, MARK, ("origin", "http://node:9091")],
            &[HOST, MARK, ("origin", "http://node:9090.evil.example")],
            &[HOST, MARK, ("origin", "http://node:9090"), ("sec-fetch-site", "cross-site")],
            &[HOST, MARK, ("origin", "http://node:9090"), ("sec-fetch-site", "same-site")],
            &[HOST, MARK, ("origin", "http://node:9090"), ("origin", "http://evil.example")],
        ] {
            assert_eq!(check(&headers(forged)), Err(Foreign::OtherOrigin), "{forged:?}");
        }
        for unmarked in [
            &[HOST, ("origin", "http://node:9090"), ("sec-fetch-site", "same-origin")][..],
            &[HOST, ("x-gemba-board", "2"), ("sec-fetch-site", "same-origin")],
            &[HOST, MARK, MARK, ("sec-fetch-site", "same-origin")],
        ] {
            assert_eq!(check(&headers(unmarked)), Err(Foreign::NoMark), "{unmarked:?}");
        }
    }

    #[test]
    fn a_cookie_is_for_tls_alone_where_the_browser_speaks_it() {
        assert!(is_over_tls(&headers(&[("origin", "https://board.example.com")])));
        assert!(is_over_tls(&headers(&[("x-forwarded-proto", "https")])));
        assert!(!is_over_tls(&headers(&[("origin", "http://node:9090")])));
        assert!(!is_over_tls(&headers(&[])));
    }
}
