//! Who may ask what: by token, or, for what a machine asks of itself, from loopback. Pure.
//!
//! A browser and a proxy on this machine come from loopback, too, and ask for others: a page of elsewhere whose name was made to
//! lead here, or somebody on the other side of the proxy. What they send tells them from a program of this machine.

use std::net::IpAddr;

use hyper::header::HeaderMap;

use super::token::{Role, Token};
use crate::net::{address, host};

/// What a route asks of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing, from anywhere: a prober has no token.
    Nothing,
    /// This role, or to be this machine.
    LoopbackOr(Role),
    Role(Role),
}

impl Need {
    /// The role that a token must have.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Self::Nothing => Role::Viewer,
            Self::LoopbackOr(role) | Self::Role(role) => role,
        }
    }
}

/// What who asks has shown.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'t> {
    Nothing,
    /// A token that is not one of ours.
    Unknown,
    Token(&'t Token),
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'t> {
    pub token: Option<&'t Token>,
    /// May be told more than that the node is ready or not.
    pub is_trusted: bool,
}

/// The asker may not ask this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    NoToken,
    /// Not one of ours.
    Unknown,
    /// A token of a lesser role than this one.
    Lesser(Role),
}

/// Whether this machine asks for itself: from loopback, at an address or `localhost`, and without a field that a proxy or a
/// browser adds.
pub fn is_own(peer: IpAddr, headers: &HeaderMap) -> bool {
    let is_of_others = |name: &str| {
        FOR_OTHERS.contains(&name) || FOR_OTHERS_BEGIN.iter().any(|begin| name.starts_with(begin))
    };
    address::is_loopback(peer)
        && host::is_of_a_machine(headers)
        && !headers.keys().any(|name| is_of_others(name.as_str()))
}

/// Fields of requests that are sent for somebody else, or by a page.
const FOR_OTHERS: [&str; 4] = ["forwarded", "origin", "via", "x-real-ip"];
const FOR_OTHERS_BEGIN: [&str; 2] = ["x-forwarded-", "sec-fetch-"];

/// Whether who presents this has what is needed; `is_own` is this machine asking for itself.
pub fn authorize(is_own: bool, need: Need, presented: Presented<'_>) -> Result<Asker<'_>, Denied> {
    let (token, missing) = match presented {
        Presented::Nothing => (None, Denied::NoToken),
        Presented::Unknown => (None, Denied::Unknown),
        Presented::Token(token) => (Some(token), Denied::NoToken),
    };
    let is_trusted = token.is_some() || is_own;
    match need {
        Need::Nothing => return Ok(Asker { token, is_trusted }),
        Need::LoopbackOr(_) if is_own => return Ok(Asker { token, is_trusted }),
        Need::LoopbackOr(_) | Need::Role(_) => {}
    }
    let needed = need.role();
    match token {
        Some(found) if found.role >= needed => Ok(Asker { token, is_trusted }),
        Some(_) => Err(Denied::Lesser(needed)),
        None => Err(missing),
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::super::token::Tokens;
    use super::*;

    fn asked(peer: &str, need: Need, bearer: Option<&[u8]>) -> Result<bool, Denied> {
        let tokens = Tokens::new(vec![
            Token::new("eve", Role::Viewer, b"view-token"),
            Token::new("root", Role::Admin, b"root-token"),
        ]);
        let known = |bearer: &[u8]| tokens.find(bearer).map_or(Presented::Unknown, Presented::Token);
        let presented = bearer.map_or(Presented::Nothing, known);
        let is_own = is_own(peer.parse().unwrap(), &headers(&[("host", "127.0.0.1:9090")]));
        authorize(is_own, need, presented).map(|asker| asker.is_trusted)
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        fields.iter().map(pair).collect()
    }

    const OWN: [&str; 4] = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"];
    const OTHERS: [&str; 5] = ["10.0.0.7", "2001:db8::1", "::ffff:10.0.0.7", "::127.0.0.1", "2002:7f00:1::"];

    #[test]
    fn health_needs_no_token_from_anywhere_and_tells_strangers_no_reasons() {
        for peer in OWN {
            assert_eq!(asked(peer, Need::Nothing, None), Ok(true), "{peer}");
        }
        for peer in OTHERS {
            assert_eq!(asked(peer, Need::Nothing, None), Ok(false), "{peer}");
            assert_eq!(asked(peer, Need::Nothing, Some(b"wrong")), Ok(false), "{peer}");
            assert_eq!(asked(peer, Need::Nothing, Some(b"view-token")), Ok(true), "{peer}");
        }
    }

    #[test]
    fn metrics_need_a_token_from_elsewhere() {
        for peer in OWN {
            assert_eq!(asked(peer, Need::LoopbackOr(Role::Viewer), None), Ok(true), "{peer}");
        }
        for peer in OTHERS {
            assert_eq!(asked(peer, Need::LoopbackOr(Role::Viewer), None), Err(Denied::NoToken), "{peer}");
            assert_eq!(
                asked(peer, Need::LoopbackOr(Role::Viewer), Some(b"wrong")),
                Err(Denied::Unknown),
                "{peer}"
            );
            assert_eq!(asked(peer, Need::LoopbackOr(Role::Viewer), Some(b"view-token")), Ok(true), "{peer}");
        }
    }

    #[test]
    fn a_proxy_and_a_browser_on_this_machine_do_not_ask_for_it() {
        let own =
            |peer: &str, fields: &[(&'static str, &str)]| is_own(peer.parse().unwrap(), &headers(fields));
        for host in
            ["127.0.0.1", "127.0.0.1:9090", "localhost", "LocalHost:9090", "[::1]:9090", "192.0.2.1:1"]
        {
            assert!(own("127.0.0.1", &[("host", host), ("user-agent", "Prometheus/3")]), "{host}");
            assert!(!own("192.0.2.1", &[("host", host)]), "{host}");
        }
        for host in ["evil.example:21001", "localhost.evil.example", "127.0.0.1.evil.example", "gemba"] {
            assert!(!own("127.0.0.1", &[("host", host)]), "{host}");
        }
        assert!(!own("127.0.0.1", &[]), "a request of HTTP/1.0 that names no host");
        for name in [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-real-ip",
            "via",
            "origin",
            "sec-fetch-site",
            "sec-fetch-mode",
            "sec-fetch-dest",
        ] {
            assert!(!own("::1", &[("host", "localhost"), (name, "x")]), "{name}");
        }
    }

    #[test]
    fn everything_else_needs_its_role_from_anywhere() {
        for peer in OWN.into_iter().chain(OTHERS) {
            assert_eq!(asked(peer, Need::Role(Role::Viewer), None), Err(Denied::NoToken), "{peer}");
            assert_eq!(asked(peer, Need::Role(Role::Viewer), Some(b"wrong")), Err(Denied::Unknown), "{peer}");
            assert_eq!(asked(peer, Need::Role(Role::Viewer), Some(b"view-token")), Ok(true), "{peer}");
            let lesser = Err(Denied::Lesser(Role::Admin));
            assert_eq!(asked(peer, Need::Role(Role::Admin), Some(b"view-token")), lesser, "{peer}");
            assert_eq!(asked(peer, Need::Role(Role::Admin), Some(b"root-token")), Ok(true), "{peer}");
        }
    }
}
