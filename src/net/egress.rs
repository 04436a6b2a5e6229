//! Which addresses may be called. A URL in a configuration, or whoever answers for its name, must not turn this node
//! into a way to what only this node can reach: its own services, its neighbours, its cloud's metadata (OWASP API
//! 2023, 7). Pure: whoever connects resolves first, asks here, and connects to exactly the address that was asked
//! about, so that a name which changes in between gains nothing.
//!
//! Sources: the special-purpose registries of IANA (RFC 6890). Of IPv6 only the global unicast range passes, and of it
//! nothing that carries an IPv4 address inside, whatever that address is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of IPv4 that are not called: address, prefix length, what they are.
const V4: [(Ipv4Addr, u32, &str); 18] = [
    (Ipv4Addr::UNSPECIFIED, 8, "unspecified"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "carrier-grade NAT"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 169, 254), 32, "metadata"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "metadata"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::BROADCAST, 32, "broadcast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// The same of IPv6; beyond these, everything outside 2000::/3 is refused.
const V6: [(Ipv6Addr, u32, &str); 15] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, "IPv4-mapped"),
    (Ipv6Addr::UNSPECIFIED, 96, "IPv4-compatible"),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, "NAT64"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "NAT64"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "Teredo"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "reserved"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

/// What kind of address it is, if it is one that is not called; `None` for a public one.
#[must_use]
pub fn refused(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            let inside = |net: &Ipv4Addr, length: u32| (bits ^ net.to_bits()).leading_zeros() >= length;
            V4.iter().find(|(net, length, _)| inside(net, *length)).map(|(_, _, kind)| *kind)
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let inside = |net: &Ipv6Addr, length: u32| (bits ^ net.to_bits()).leading_zeros() >= length;
            let found = V6.iter().find(|(net, length, _)| inside(net, *length)).map(|(_, _, kind)| *kind);
            // An interface of ISATAP (RFC 5214) has an IPv4 address in it, in whatever network it is.
            let is_isatap = matches!((bits >> 32) & 0xffff_ffff, 0x0000_5efe | 0x0200_5efe);
            let found = found.or_else(|| is_isatap.then_some("ISATAP"));
            found.or_else(|| (bits >> 125 != 1).then_some("reserved"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_pass() {
        let table = [
            ("0.0.0.0", Some("unspecified")),
            ("0.1.2.3", Some("unspecified")),
            ("10.0.0.1", Some("private")),
            ("10.255.255.255", Some("private")),
            ("11.0.0.0", None),
            ("9.255.255.255", None),
            ("100.63.255.255", None),
            ("100.64.0.0", Some("carrier-grade NAT")),
            ("100.100.100.200", Some("carrier-grade NAT")),
            ("100.127.255.255", Some("carrier-grade NAT")),
            ("100.128.0.0", None),
            ("127.0.0.1", Some("loopback")),
            ("127.255.255.254", Some("loopback")),
            ("168.63.129.16", Some("metadata")),
            ("168.63.129.17", None),
            ("169.254.169.254", Some("metadata")),
            ("169.254.0.1", Some("link-local")),
            ("172.15.255.255", None),
            ("172.16.0.1", Some("private")),
            ("172.31.255.255", Some("private")),
            ("172.32.0.0", None),
            ("192.0.0.8", Some("reserved")),
            ("192.0.2.1", Some("documentation")),
            ("192.88.99.1", Some("6to4 relay")),
            ("192.168.1.1", Some("private")),
            ("192.169.0.0", None),
            ("198.18.0.1", Some("benchmarking")),
            ("198.19.255.255", Some("benchmarking")),
            ("198.20.0.0", None),
            ("198.51.100.7", Some("documentation")),
            ("203.0.113.7", Some("documentation")),
            ("224.0.0.1", Some("multicast")),
            ("239.255.255.255", Some("multicast")),
            ("240.0.0.1", Some("reserved")),
            ("255.255.255.255", Some("broadcast")),
            ("1.1.1.1", None),
            ("93.184.216.34", None),
            ("::", Some("unspecified")),
            ("::1", Some("loopback")),
            ("::ffff:127.0.0.1", Some("IPv4-mapped")),
            ("::ffff:1.1.1.1", Some("IPv4-mapped")),
            ("::7f00:1", Some("IPv4-compatible")),
            ("64:ff9b::7f00:1", Some("NAT64")),
            ("64:ff9b:1::1", Some("NAT64")),
            ("100::1", Some("reserved")),
            ("2001::1", Some("Teredo")),
            ("2001:2::1", Some("reserved")),
            ("2001:db8::1", Some("documentation")),
            ("2002:7f00:1::", Some("6to4")),
            ("2606:4700::5efe:7f00:1", Some("ISATAP")),
            ("2606:4700::200:5efe:a00:1", Some("ISATAP")),
            ("2606:4700::1:5efe:a00:1", None),
            ("::ffff:0:7f00:1", Some("reserved")),
            ("3fff::1", Some("documentation")),
            ("4000::1", Some("reserved")),
            ("5f00::1", Some("reserved")),
            ("fc00::1", Some("private")),
            ("fd00:ec2::254", Some("private")),
            ("fe80::1", Some("link-local")),
            ("fec0::1", Some("site-local")),
            ("ff02::1", Some("multicast")),
            ("2606:4700:4700::1111", None),
            ("2a00:1450:4001:80b::200e", None),
        ];
        for (address, expected) in table {
            assert_eq!(refused(address.parse().unwrap()), expected, "{address}");
        }
    }
}
