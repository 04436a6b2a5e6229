//! Who may ask what: by token, or, for what a machine asks of itself, from loopback. Pure.

use std::net::IpAddr;

use super::token::{Role, Token};
use crate::net::address;

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

/// Whether `peer`, who presents this, has what is needed.
pub fn authorize(peer: IpAddr, need: Need, presented: Presented<'_>) -> Result<Asker<'_>, Denied> {
    let (token, missing) = match presented {
        Presented::Nothing => (None, Denied::NoToken),
        Presented::Unknown => (None, Denied::Unknown),
        Presented::Token(token) => (Some(token), Denied::NoToken),
    };
    let is_trusted = token.is_some() || address::is_loopback(peer);
    match need {
        Need::Nothing => return Ok(Asker { token, is_trusted }),
        Need::LoopbackOr(_) if address::is_loopback(peer) => return Ok(Asker { token, is_trusted }),
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
    use super::super::token::Tokens;
    use super::*;

    fn asked(peer: &str, need: Need, bearer: Option<&[u8]>) -> Result<bool, Denied> {
        let tokens = Tokens::new(vec![
            Token::new("eve", Role::Viewer, b"view-token"),
            Token::new("root", Role::Admin, b"root-token"),
        ]);
        let known = |bearer: &[u8]| tokens.find(bearer).map_or(Presented::Unknown, Presented::Token);
        let presented = bearer.map_or(Presented::Nothing, known);
        authorize(peer.parse().unwrap(), need, presented).map(|asker| asker.is_trusted)
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
