//! Which host a request is for: exactly one, well-formed, and the same wherever it is named (RFC 9112, 3.2; RFC 9113,
//! 8.3.1). What a proxy before us takes for another host is another request to it. Pure.

use hyper::header::{HOST, HeaderMap};
use hyper::{Uri, Version};

/// Whether the request names one well-formed host. HTTP/1.0 may name none.
#[must_use]
pub fn is_clear(version: Version, uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    match (hosts.next(), hosts.next(), authority) {
        (_, Some(_), _) => false,
        (Some(host), None, None) => is_host(host.as_bytes()),
        (Some(host), None, Some(authority)) => {
            is_host(authority) && host.as_bytes().eq_ignore_ascii_case(authority)
        }
        (None, None, Some(authority)) => version >= Version::HTTP_2 && is_host(authority),
        (None, None, None) => version < Version::HTTP_11,
    }
}

/// Whether the request, which names one host, names it by address or as `localhost`: no name of elsewhere can lead to it.
#[must_use]
pub fn is_of_a_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let (name, _) = split(host.as_bytes());
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    address.parse::<std::net::IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

/// The host, and its port or nothing.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().rposition(|byte| *byte == b':') {
        // A colon within brackets belongs to the address.
        Some(colon) if !text[colon..].contains(&b']') => (&text[..colon], &text[colon + 1..]),
        _ => (text, b"".as_slice()),
    }
}

/// `uri-host [ ":" port ]` (RFC 3986, 3.2.2 and 3.2.3); an empty host names nobody.
fn is_host(text: &[u8]) -> bool {
    let (host, port) = split(text);
    let is_port = port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    let is_name = match host.strip_prefix(b"[") {
        Some(address) => address.strip_suffix(b"]").is_some_and(is_ipv6),
        None => !host.is_empty() && host.iter().all(|byte| is_of_a_name(*byte)),
    };
    is_port && is_name
}

fn is_ipv6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Unreserved, percent and sub-delims of RFC 3986.
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clear(version: Version, uri: &str, hosts: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        is_clear(version, &uri.parse().unwrap(), &headers)
    }

    #[test]
    fn one_well_formed_host_and_no_other() {
        for host in
            ["gemba", "gemba:8080", "gemba:", "127.0.0.1:1", "[::1]", "[2001:db8::1]:8080", "a_b.example."]
        {
            assert!(clear(Version::HTTP_11, "/v1/signals", &[host]), "{host}");
        }
        for host in [
            "",
            ":80",
            "a b",
            "a@b",
            "user:pass@b",
            "http://a",
            "a/b",
            "a?b",
            "a#b",
            "[::1",
            "::1",
            "[gemba]",
            "a:b",
            "a:123456",
            "a,b:1:2",
            "\"a\"",
            "a\\b",
            "[::1]x",
        ] {
            assert!(!clear(Version::HTTP_11, "/v1/signals", &[host]), "{host}");
        }
        assert!(!clear(Version::HTTP_11, "/", &[]));
        assert!(!clear(Version::HTTP_11, "/", &["a", "a"]));
        assert!(clear(Version::HTTP_10, "/", &[]));
        assert!(!clear(Version::HTTP_10, "/", &["a", "b"]));
        assert!(clear(Version::HTTP_11, "http://gemba/", &["GEMBA"]));
        assert!(!clear(Version::HTTP_11, "http://gemba/", &["other"]));
        assert!(
            !clear(Version::HTTP_11, "http://gemba/", &[]),
            "an absolute target does not replace the field"
        );
        assert!(clear(Version::HTTP_2, "http://gemba/", &[]));
        assert!(clear(Version::HTTP_2, "http://gemba/", &["gemba"]));
        assert!(clear(Version::HTTP_2, "/", &["gemba"]));
        assert!(!clear(Version::HTTP_2, "http://gemba/", &["other"]));
        assert!(!clear(Version::HTTP_2, "/", &[]));
        assert!(!clear(Version::HTTP_2, "http://user@gemba/", &[]));
    }
}
