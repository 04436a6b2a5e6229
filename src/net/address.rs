//! One form for each address. A listener for IPv6 sees an IPv4 client as `::ffff:a.b.c.d`; who compares addresses or
//! asks whether one is loopback must see the client, not the form.

use std::net::IpAddr;

/// The IPv4 address of an IPv4-mapped one, and any other as it is.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Whether the peer is this machine. An address with another one inside (IPv4-compatible, 6to4, NAT64) is not: packets
/// from it come over a network.
#[must_use]
pub fn is_loopback(address: IpAddr) -> bool {
    canonical(address).is_loopback()
}

/// Who is counted as one client: an IPv4 address, or the /64 that an IPv6 host owns.
#[must_use]
pub fn client(address: IpAddr) -> IpAddr {
    match canonical(address) {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_loopback_in_each_of_its_forms_and_nothing_else_is() {
        for own in ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::ffff:127.9.9.9"] {
            assert!(is_loopback(own.parse().unwrap()), "{own}");
        }
        let others = [
            "0.0.0.0",
            "128.0.0.1",
            "10.0.0.1",
            "::",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::",
            "fe80::1",
            "::2",
        ];
        for other in others {
            assert!(!is_loopback(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_a_network_of_64_bits() {
        let client = |text: &str| client(text.parse().unwrap());
        assert_eq!(client("::ffff:192.0.2.7"), client("192.0.2.7"));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_ne!(client("192.0.2.7"), client("192.0.2.8"));
    }
}
