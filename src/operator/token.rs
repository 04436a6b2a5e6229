//! Who may ask what: bearer tokens with roles. Only hashes of tokens are kept.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

/// Each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Viewer,
    Operator,
    Admin,
}

impl Role {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// One token, by its hash.
#[derive(Clone, Debug)]
pub struct Token {
    pub name: Box<str>,
    pub role: Role,
    /// SHA-256.
    pub digest: [u8; 32],
}

impl Token {
    #[must_use]
    pub fn new(name: &str, role: Role, secret: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, secret).as_ref());
        Self { name: name.into(), role, digest: hash }
    }
}

/// All tokens of a node.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    #[must_use]
    pub fn new(tokens: Vec<Token>) -> Self {
        Self(tokens)
    }

    /// The role that a bearer has. Every token is compared, in constant time.
    #[must_use]
    pub fn role(&self, bearer: &[u8]) -> Option<Role> {
        let hash = digest(&SHA256, bearer);
        let mut found = None;
        for token in &self.0 {
            if verify_slices_are_equal(hash.as_ref(), &token.digest).is_ok() {
                found = found.max(Some(token.role));
            }
        }
        found
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
        assert_eq!(tokens.role(b"view-token"), Some(Role::Viewer));
        assert_eq!(tokens.role(b"root-token"), Some(Role::Admin));
        assert_eq!(tokens.role(b"root-toke"), None);
        assert_eq!(tokens.role(b""), None);
        assert!(!format!("{tokens:?}").contains("root-token"));
    }
}
