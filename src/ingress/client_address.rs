//! Whose request it is when a proxy stands in front: the address in the PROXY protocol's header (haproxy.org,
//! "The PROXY protocol", versions 1 and 2) or in `Forwarded` (RFC 7239) and `X-Forwarded-For`. Both are believed only
//! from configured proxies, since anybody can write them. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

/// Addresses whose word about a client's address is believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Proxies between us and a client that are looked through.
const HOPS_MAX: usize = 16;

impl TrustedProxies {
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client of a request that came from `peer`, which is trusted: the last address in the headers that is not a
    /// trusted proxy. Where the two kinds of header disagree one of them may be the client's own, so neither is
    /// believed and the request counts as the proxy's.
    #[must_use]
    pub fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let forwarded = self.named(peer, headers, &FORWARDED, forwarded_for);
        let x_forwarded = self.named(peer, headers, &X_FORWARDED_FOR, |hop| address(hop.trim()));
        match (forwarded, x_forwarded) {
            (Some(one), Some(other)) if one != other => peer,
            (Some(client), _) | (None, Some(client)) => client,
            (None, None) => peer,
        }
    }

    /// Walks one kind of header from its end, where the nearest proxy wrote, and stops at what is not a trusted proxy.
    fn named(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        name: &HeaderName,
        read: impl Fn(&str) -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        let mut nearest = None;
        let lines: Vec<&str> = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("")).collect();
        let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
        for hop in hops.take(HOPS_MAX) {
            // An obfuscated or broken hop hides what came before it.
            let Some(address) = read(hop) else { return Some(nearest.unwrap_or(peer)) };
            nearest = Some(address);
            if !self.trusts(address) {
                break;
            }
        }
        nearest
    }
}

/// The address in one element of `Forwarded`. A comma inside a quoted string splits the element; its parts are then no
/// elements, and the walk stops there.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let value = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    })?;
    address(value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'))?)
}

/// An address with or without a port, as proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bracketed.unwrap_or(text).parse().ok();
    address
        .or_else(|| text.parse::<SocketAddr>().ok().map(|at| at.ip()))
        .map(|found: IpAddr| found.to_canonical())
}

/// What the first bytes of a connection say about the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// They are not its header.
    Absent,
    /// More has to come first.
    Incomplete,
    /// The header is so many bytes long. Without a source the proxy speaks for itself, as in a health check.
    Complete {
        bytes: usize,
        source: Option<IpAddr>,
    },
    Broken,
}

const SIGNATURE_V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const SIGNATURE_V1: &[u8; 6] = b"PROXY ";
/// Longest header of version 1, its end included.
const V1_BYTES_MAX: usize = 107;
/// Longest accepted header of version 2; its addresses take at most 232 bytes, the rest is for additions.
pub const V2_BYTES_MAX: usize = 4096;

/// Reads the header of the PROXY protocol at the start of `first`.
#[must_use]
pub fn proxy_header(first: &[u8]) -> ProxyHeader {
    if let Some(rest) = first.strip_prefix(SIGNATURE_V2) {
        return version_2(rest);
    }
    if first.starts_with(SIGNATURE_V1) {
        return version_1(first);
    }
    if SIGNATURE_V2.starts_with(first) || SIGNATURE_V1.starts_with(first) {
        return ProxyHeader::Incomplete;
    }
    ProxyHeader::Absent
}

fn version_1(first: &[u8]) -> ProxyHeader {
    let searched = &first[..first.len().min(V1_BYTES_MAX)];
    let Some(end) = memchr::memmem::find(searched, b"\r\n") else {
        return if first.len() < V1_BYTES_MAX { ProxyHeader::Incomplete } else { ProxyHeader::Broken };
    };
    let Ok(line) = std::str::from_utf8(&first[..end]) else { return ProxyHeader::Broken };
    let words: Vec<&str> = line.split(' ').collect();
    let source = match words[..] {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4", source, target, from, to]
            if target.parse::<Ipv4Addr>().is_ok() && are_ports(from, to) =>
        {
            match source.parse::<Ipv4Addr>() {
                Ok(source) => Some(IpAddr::V4(source)),
                Err(_) => return ProxyHeader::Broken,
            }
        }
        ["PROXY", "TCP6", source, target, from, to]
            if target.parse::<Ipv6Addr>().is_ok() && are_ports(from, to) =>
        {
            match source.parse::<Ipv6Addr>() {
                Ok(source) => Some(IpAddr::V6(source).to_canonical()),
                Err(_) => return ProxyHeader::Broken,
            }
        }
        _ => return ProxyHeader::Broken,
    };
    ProxyHeader::Complete { bytes: end + 2, source }
}

fn are_ports(from: &str, to: &str) -> bool {
    from.parse::<u16>().is_ok() && to.parse::<u16>().is_ok()
}

fn version_2(rest: &[u8]) -> ProxyHeader {
    let Some((head, rest)) = rest.split_first_chunk::<4>() else { return ProxyHeader::Incomplete };
    let [version_and_command, family, high, low] = *head;
    let len = usize::from(u16::from_be_bytes([high, low]));
    let bytes = SIGNATURE_V2.len() + 4 + len;
    if bytes > V2_BYTES_MAX || version_and_command >> 4 != 2 {
        return ProxyHeader::Broken;
    }
    let Some(block) = rest.get(..len) else { return ProxyHeader::Incomplete };
    let source = match (version_and_command & 0xf, family >> 4) {
        // LOCAL is the proxy's own connection; unspecified families and sockets of the file system have no address.
        (0, _) | (1, 0 | 3) => None,
        // PROXY over IPv4 and IPv6: source, target, two ports.
        (1, 1) => match block.first_chunk::<4>().filter(|_| len >= 12) {
            Some(source) => Some(IpAddr::from(*source)),
            None => return ProxyHeader::Broken,
        },
        (1, 2) => match block.first_chunk::<16>().filter(|_| len >= 36) {
            Some(source) => Some(IpAddr::from(*source).to_canonical()),
            None => return ProxyHeader::Broken,
        },
        _ => return ProxyHeader::Broken,
    };
    ProxyHeader::Complete { bytes, source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trusted() -> TrustedProxies {
        TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    fn client(headers: &[(&str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        trusted().client_of(IpAddr::from([10, 0, 0, 1]), &map).to_string()
    }

    #[test]
    fn the_last_address_that_is_no_proxy_of_ours_is_the_client() {
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[], "10.0.0.1"),
            (&[("x-forwarded-for", "192.0.2.7")], "192.0.2.7"),
            (&[("x-forwarded-for", "6.6.6.6, 192.0.2.7")], "192.0.2.7"),
            (&[("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.9")], "192.0.2.7"),
            (&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")], "192.0.2.7"),
            (&[("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            (&[("x-forwarded-for", "192.0.2.7:4711")], "192.0.2.7"),
            (&[("x-forwarded-for", "[2001:db8::1]:4711")], "2001:db8::1"),
            (&[("x-forwarded-for", "::ffff:192.0.2.7")], "192.0.2.7"),
            (&[("x-forwarded-for", "192.0.2.7, unknown")], "10.0.0.1"),
            (&[("x-forwarded-for", "192.0.2.7, junk, 10.0.0.4")], "10.0.0.4"),
            (&[("x-forwarded-for", "")], "10.0.0.1"),
            (&[("forwarded", "for=192.0.2.43;proto=https")], "192.0.2.43"),
            (&[("forwarded", r#"for=6.6.6.6, For="[2001:db8::17]:47";by=10.0.0.2"#)], "2001:db8::17"),
            (&[("forwarded", "for=_hidden")], "10.0.0.1"),
            (&[("forwarded", "proto=https")], "10.0.0.1"),
            (&[("forwarded", "for=192.0.2.7"), ("x-forwarded-for", "192.0.2.7")], "192.0.2.7"),
            (&[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.7")], "10.0.0.1"),
        ];
        for (headers, expected) in table {
            assert_eq!(client(headers), *expected, "{headers:?}");
        }
        let many = vec!["10.0.0.2"; 100].join(", ");
        assert_eq!(
            client(&[("x-forwarded-for", &format!("6.6.6.6, {many}"))]),
            "10.0.0.2",
            "hops are bounded"
        );
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let len = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE_V2.as_slice(), &[0x20 | command, family], &len, block].concat()
    }

    #[test]
    fn the_proxy_protocol_is_read_in_both_versions_however_it_arrives() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 1, 2, 3, 4];
        let with_addition = [v4.as_slice(), &[0x20, 0, 3, 1, 2, 3]].concat();
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        let table: &[(Vec<u8>, Option<&str>)] = &[
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 5 80\r\n".to_vec(), Some("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::1 ::1 5 80\r\n".to_vec(), Some("2001:db8::1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 5 80\r\n".to_vec(), None),
            (v2(1, 0x11, &v4), Some("192.0.2.7")),
            (v2(1, 0x11, &with_addition), Some("192.0.2.7")),
            (v2(1, 0x21, &v6), Some("2001:db8::")),
            (v2(0, 0, &[]), None),
            (v2(1, 0x31, &[0; 216]), None),
        ];
        for (header, source) in table {
            let source = source.map(|text| text.parse().unwrap());
            for len in 0..header.len() {
                assert_eq!(proxy_header(&header[..len]), ProxyHeader::Incomplete, "{header:?}");
            }
            let followed = [header.as_slice(), b"POST / HTTP/1.1\r\n"].concat();
            let expected = ProxyHeader::Complete { bytes: header.len(), source };
            assert_eq!(proxy_header(&followed), expected, "{header:?}");
        }
    }

    #[test]
    fn what_is_no_header_of_the_proxy_protocol_is_told_apart() {
        for absent in [b"POST /v1/signals".as_slice(), b"PRI * HTTP/2.0\r\n", b"PROXX"] {
            assert_eq!(proxy_header(absent), ProxyHeader::Absent);
        }
        let broken: [Vec<u8>; 8] = [
            b"PROXY TCP4 192.0.2.7 10.0.0.1 5\r\n".to_vec(),
            b"PROXY TCP4 ::1 10.0.0.1 5 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 5 80000\r\n".to_vec(),
            b"PROXY \xff\r\n".to_vec(),
            [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat(),
            v2(1, 0x11, &[0; 11]),
            v2(2, 0x11, &[0; 12]),
            v2(1, 0x11, &[0; V2_BYTES_MAX]),
        ];
        for header in broken {
            assert_eq!(proxy_header(&header), ProxyHeader::Broken, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_their_length(bytes in prop::collection::vec(any::<u8>(), 0..300), v2 in any::<bool>()) {
            let bytes = if v2 { [SIGNATURE_V2.as_slice(), &bytes].concat() } else { bytes };
            if let ProxyHeader::Complete { bytes: used, .. } = proxy_header(&bytes) {
                prop_assert!(used <= bytes.len());
            }
        }

        #[test]
        fn any_header_names_some_address(text in "[ -~]{0,200}") {
            let mut map = HeaderMap::new();
            if let Ok(value) = text.parse() {
                map.insert(X_FORWARDED_FOR, value);
            }
            let _address = trusted().client_of(IpAddr::from([10, 0, 0, 1]), &map);
        }
    }
}
