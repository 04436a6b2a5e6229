//! `[ingress]`: the data plane's connections.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::layers::{Layers, set};
use crate::place::ConfigError;

/// Connections and proxies of the data plane.
#[derive(Clone, Debug)]
pub struct Connections {
    /// How long a connection may be without a request.
    pub idle_seconds: u32,
    /// How long a connection lives.
    pub age_seconds: u32,
    /// Networks of proxies that are believed about their clients' addresses.
    pub trusted_proxies: Vec<IpNet>,
}

/// Above the 60 s after which usual load balancers give up an idle connection, so that theirs end first.
const IDLE_SECONDS: u32 = 75;
const CONNECTION_SECONDS: u32 = 3600;

impl Layers {
    pub(super) fn connections(&self) -> Result<Connections, ConfigError> {
        let idle_seconds = self.number(|l| &l.ingress.idle_seconds, IDLE_SECONDS);
        let age_seconds = self.number(|l| &l.ingress.connection_seconds, CONNECTION_SECONDS);
        let found =
            self.0.iter().find_map(|(text, layer)| Some((text, layer.ingress.trusted_proxies.as_ref()?)));
        let mut trusted_proxies = Vec::new();
        if let Some((text, networks)) = found {
            for written in networks.get_ref() {
                trusted_proxies.push(set(text, written).map(|text| network(&text))?);
            }
        }
        Ok(Connections { idle_seconds, age_seconds, trusted_proxies })
    }
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network = network
        .map_err(|_| format!("`{text}` is not a network or an address, such as 10.0.0.0/8 or 192.0.2.7"))?;
    if network.prefix_len() == 0 {
        return Err(format!("`{text}` trusts everybody: any sender could then name any address as its own"));
    }
    Ok(canonical(network.trunc()))
}

/// IPv4 addresses that are written in IPv6 are IPv4 addresses.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_addresses_are_read_and_everybody_is_not_trusted() {
        for (text, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(network(text).unwrap(), expected.parse::<IpNet>().unwrap(), "{text}");
        }
        for text in ["", "10.0.0.0/33", "proxy.example", "10.0.0", "0.0.0.0/0", "::/0"] {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
