//! The address of a node's plane, as an operator writes it: `http://host[:port]`, or `host:port`.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

use hyper::Uri;

/// Host and port of a plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plane {
    /// An IPv6 address stands in brackets.
    host: String,
    port: u16,
}

const NO_URL: &str = "not a URL such as http://127.0.0.1:8080";

impl FromStr for Plane {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The parser drops a fragment in silence.
        let uri: Uri =
            Some(text).filter(|text| !text.contains('#')).ok_or(NO_URL)?.parse().map_err(|_| NO_URL)?;
        let authority = uri.authority().ok_or(NO_URL)?;
        if authority.as_str().contains('@') {
            return Err("give the URL without user and password");
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("give the URL without a path");
        }
        let host = authority.host();
        let port = match authority.as_str()[host.len()..].strip_prefix(':') {
            // The parser knows no port beyond 65535.
            Some(port) => Some(
                port.parse()
                    .ok()
                    .filter(|port| *port > 0)
                    .ok_or("its port must be a number from 1 to 65535")?,
            ),
            None => None,
        };
        let port = match (uri.scheme_str(), port) {
            (Some("https"), _) => return Err("TLS is not spoken here; use http://"),
            (Some("http"), port) => port.unwrap_or(80),
            (None, Some(port)) => port,
            (Some(_) | None, _) => return Err(NO_URL),
        };
        if host.is_empty() {
            return Err(NO_URL);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Plane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

impl Plane {
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// All addresses that the name has, at least one.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let addresses: Vec<_> = (host, self.port).to_socket_addrs()?.collect();
        if addresses.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(addresses) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_writes_is_understood_or_refused() {
        for (text, authority) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
            ("HTTP://localhost", "localhost:80"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("http://[::1]", "[::1]:80"),
            ("127.0.0.1:9090", "127.0.0.1:9090"),
            ("localhost:9090", "localhost:9090"),
            ("[::1]:9090", "[::1]:9090"),
        ] {
            assert_eq!(
                text.parse::<Plane>().map(|plane| plane.authority()).as_deref(),
                Ok(authority),
                "{text}"
            );
        }
        for (text, why) in [
            ("", "not a URL"),
            ("localhost", "not a URL"),
            ("[::1]", "not a URL"),
            ("/v1", "not a URL"),
            ("http://", "not a URL"),
            ("ftp://localhost:1", "not a URL"),
            ("http://localhost/#x", "not a URL"),
            ("http://local host", "not a URL"),
            ("https://localhost:8080", "TLS is not spoken"),
            ("http://localhost/v1/signals", "without a path"),
            ("http://localhost?x", "without a path"),
            ("http://root@localhost", "without user"),
            ("http://root:secret@localhost:1", "without user"),
            ("http://localhost:", "port"),
            ("http://localhost:0", "port"),
            ("http://localhost:65536", "port"),
            ("localhost:http", "port"),
        ] {
            let refused = text.parse::<Plane>().unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    #[test]
    fn addresses_are_resolved() {
        for (url, address) in [("http://127.0.0.1", "127.0.0.1:80"), ("http://[::1]:8080", "[::1]:8080")] {
            let plane: Plane = url.parse().unwrap();
            assert_eq!(plane.resolve().unwrap(), [address.parse().unwrap()], "{url}");
        }
    }
}
