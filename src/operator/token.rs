//! Who may ask what: bearer tokens with roles. Only hashes of tokens are kept.

use std::collections::BTreeSet;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use strum::IntoStaticStr;

/// Each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Role {
    Viewer,
    Operator,
    Admin,
}

/// One token, by its hash.
#[derive(Clone, Debug)]
pub struct Token {
    pub name: Box<str>,
    /// Whose it is: a person may have several, each with a name.
    pub person: Box<str>,
    pub role: Role,
    /// SHA-256.
    pub digest: [u8; 32],
}

impl Token {
    /// Of a person who has its name.
    #[must_use]
    pub fn new(name: &str, role: Role, secret: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, secret).as_ref());
        Self { name: name.into(), person: name.into(), role, digest: hash }
    }

    /// The same, of this person.
    #[must_use]
    pub fn of_person(self, person: &str) -> Self {
        Self { person: person.into(), ..self }
    }
}

/// All tokens of a node, and what one of them alone cannot order.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    tokens: Vec<Token>,
    /// Words of commands.
    needs_second: Vec<&'static str>,
}

impl Tokens {
    #[must_use]
    pub fn new(tokens: Vec<Token>) -> Self {
        Self { tokens, needs_second: Vec::new() }
    }

    /// Orders of these commands need two persons.
    #[must_use]
    pub fn needing_second(self, needs_second: Vec<&'static str>) -> Self {
        Self { needs_second, ..self }
    }

    /// Whether an order of this command needs two persons.
    #[must_use]
    pub fn needs_second(&self, command: &str) -> bool {
        self.needs_second.contains(&command)
    }

    /// The token of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Token> {
        self.tokens.iter().find(|token| &*token.name == name)
    }

    /// How many persons may do what `role` may.
    #[must_use]
    pub fn persons(&self, role: Role) -> usize {
        let able = self.tokens.iter().filter(|token| token.role >= role);
        able.map(|token| &token.person).collect::<BTreeSet<_>>().len()
    }

    /// Who a bearer is. Every token is compared, in constant time.
    #[must_use]
    pub fn find(&self, bearer: &[u8]) -> Option<&Token> {
        let hash = digest(&SHA256, bearer);
        let mut found: Option<&Token> = None;
        for token in &self.tokens {
            let same = verify_slices_are_equal(hash.as_ref(), &token.digest).is_ok();
            if same && found.is_none_or(|other| other.role < token.role) {
                found = Some(token);
            }
        }
        found
    }

    /// The token of this digest, which is not the token: it opens nothing.
    #[must_use]
    pub fn of_digest(&self, digest: &[u8; 32]) -> Option<&Token> {
        self.tokens.iter().filter(|token| token.digest == *digest).max_by_key(|token| token.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_its_role_and_nothing_else_gives_one() {
        let tokens = Tokens::new(vec![
            Token::new("eve", Role::Viewer, b"view-token"),
            Token::new("root", Role::Admin, b"root-token"),
        ]);
        let found = |bearer: &[u8]| tokens.find(bearer).map(|token| (&*token.name, token.role));
        assert_eq!(found(b"view-token"), Some(("eve", Role::Viewer)));
        assert_eq!(found(b"root-token"), Some(("root", Role::Admin)));
        assert_eq!(found(b"root-toke"), None);
        assert_eq!(found(b""), None);
        assert!(!format!("{tokens:?}").contains("root-token"));
    }
}
