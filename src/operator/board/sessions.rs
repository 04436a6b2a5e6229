//! Sessions of the board: a token is shown once, and a cookie stands for it. Only hashes are kept. They outlive the line, which
//! is taken up again when somebody looks most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;

use super::super::token::{Token, Tokens};
use crate::clock::Instant;
use crate::limits::{BOARD_SESSION, BOARD_SESSIONS_MAX};

/// SHA-256 of a secret.
pub type Hash = [u8; 32];

/// Every session of a node. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct BoardSessions(Arc<Mutex<Vec<BoardSession>>>);

/// What a cookie stands for.
#[derive(Clone, Copy, Debug)]
struct BoardSession {
    secret: Hash,
    token: Hash,
    ends: Instant,
}

/// What opened a stream of the board, and has to hold for it to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    Token(Hash),
    Session(Hash),
}

/// The system gives no randomness.
#[derive(Debug)]
pub struct NoRandomness;

impl BoardSessions {
    /// Opens a session of a token; returns its secret, 256 random bits in hex.
    pub fn open(&self, token: &Token, now: Instant) -> Result<String, NoRandomness> {
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| NoRandomness)?;
        let secret = faster_hex::hex_string(&secret);
        let session =
            BoardSession { secret: hash(secret.as_bytes()), token: token.digest, ends: now + BOARD_SESSION };
        self.with(|sessions| {
            sessions.retain(|session| session.ends > now);
            if sessions.len() >= BOARD_SESSIONS_MAX {
                end_one(sessions);
            }
            sessions.push(session);
        });
        Ok(secret)
    }

    /// The token of a session, if the session has not ended and its token is still one of the node's.
    pub fn find<'t>(
        &self,
        secret: &[u8],
        tokens: &'t Tokens,
        now: Instant,
    ) -> Option<(&'t Token, Credential)> {
        let secret = hash(secret);
        Some((self.token_of(secret, tokens, now)?, Credential::Session(secret)))
    }

    /// Whether a stream goes on that this opened.
    pub fn holds(&self, credential: Credential, tokens: &Tokens, now: Instant) -> bool {
        match credential {
            Credential::Token(digest) => tokens.of_digest(&digest).is_some(),
            Credential::Session(secret) => self.token_of(secret, tokens, now).is_some(),
        }
    }

    /// Ends the session of this secret.
    pub fn end(&self, secret: &[u8]) {
        let secret = hash(secret);
        self.with(|sessions| sessions.retain(|session| session.secret != secret));
    }

    /// Sessions are looked up by hashes of random secrets: how long it takes tells nothing of a secret.
    fn token_of<'t>(&self, secret: Hash, tokens: &'t Tokens, now: Instant) -> Option<&'t Token> {
        self.with(|sessions| {
            let at = sessions.iter().position(|session| session.secret == secret)?;
            let session = sessions.get(at)?;
            let token = tokens.of_digest(&session.token).filter(|_| session.ends > now);
            if token.is_none() {
                sessions.remove(at);
            }
            token
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<BoardSession>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Ends the oldest session of the token with the most: one token does not end those of others.
fn end_one(sessions: &mut Vec<BoardSession>) {
    let mut counts: HashMap<Hash, usize> = HashMap::new();
    for session in &*sessions {
        *counts.entry(session.token).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count).map(|(token, _)| token);
    if let Some(at) = sessions.iter().position(|session| Some(session.token) == most) {
        sessions.remove(at);
    }
}

fn hash(secret: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::super::super::token::Role;
    use super::*;
    use crate::clock;

    fn tokens() -> Tokens {
        Tokens::new(vec![
            Token::new("eve", Role::Viewer, b"view-token"),
            Token::new("root", Role::Admin, b"root-token"),
        ])
    }

    fn open(sessions: &BoardSessions, token: &[u8], now: Instant) -> String {
        sessions.open(tokens().find(token).unwrap(), now).unwrap()
    }

    #[test]
    fn a_session_stands_for_its_token_until_it_ends() {
        let (sessions, now) = (BoardSessions::default(), clock::now());
        let secret = open(&sessions, b"root-token", now);
        assert_eq!(secret.len(), 64);
        let name = |secret: &str, now| {
            sessions.find(secret.as_bytes(), &tokens(), now).map(|(token, _)| token.name.to_string())
        };
        let almost = now + BOARD_SESSION.checked_sub(std::time::Duration::from_secs(1)).unwrap();
        assert_eq!(name(&secret, almost).as_deref(), Some("root"));
        assert_eq!(name(&secret[1..], now), None);
        assert_eq!(name("", now), None);
        let other = open(&sessions, b"view-token", now);
        sessions.end(other.as_bytes());
        assert_eq!(name(&other, now), None);
        assert_eq!(name(&secret, now + BOARD_SESSION), None, "12 hours");
        assert_eq!(name(&secret, now), None, "what ended stays ended");
        assert!(!format!("{sessions:?}").contains(&secret));
    }

    #[test]
    fn a_session_ends_with_its_token() {
        let (sessions, now) = (BoardSessions::default(), clock::now());
        let secret = open(&sessions, b"root-token", now);
        let (_, credential) = sessions.find(secret.as_bytes(), &tokens(), now).unwrap();
        assert!(sessions.holds(credential, &tokens(), now));
        let others = Tokens::new(vec![Token::new("root", Role::Admin, b"another-token")]);
        assert!(!sessions.holds(credential, &others, now), "the name alone is no token");
        assert!(!sessions.holds(credential, &tokens(), now), "a token that comes back opens no old session");
        let digest = tokens().find(b"view-token").unwrap().digest;
        assert!(sessions.holds(Credential::Token(digest), &tokens(), now));
        assert!(!sessions.holds(Credential::Token(digest), &others, now));
    }

    #[test]
    fn one_token_does_not_end_the_sessions_of_others() {
        let (sessions, now) = (BoardSessions::default(), clock::now());
        let first = open(&sessions, b"root-token", now);
        let secrets: Vec<String> =
            (0..2 * BOARD_SESSIONS_MAX).map(|_| open(&sessions, b"view-token", now)).collect();
        let is_open = |secret: &str| sessions.find(secret.as_bytes(), &tokens(), now).is_some();
        assert!(is_open(&first) && is_open(secrets.last().unwrap()));
        assert_eq!(secrets.iter().filter(|secret| is_open(secret)).count(), BOARD_SESSIONS_MAX - 1);
    }
}
