//! `[[admin.token]]`: who may ask and order.

use std::path::PathBuf;

use super::layer::TokenRole;
use super::layers::{Layers, name, optional, place_of, set, twice};
use super::secret::{SecretRef, Written};
use crate::place::ConfigError;

#[derive(Clone, Debug)]
pub struct Token {
    pub name: String,
    /// Whose it is.
    pub person: String,
    pub role: TokenRole,
    pub secret: SecretRef,
}

/// Where no table is, only the profile for development knows what it would say.
const TOKEN_TABLE: &str = "add a table: `[[admin.token]]` with `name = \"root\"`, `role = \"admin\"` and `token_file = \"…\"` \
                           (or `token_env`); for development, `node.profile = \"dev\"` makes one at the start";

impl Layers {
    pub fn tokens(&self, default_file: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Vec<Token>, ConfigError> {
        let tables = self.tables(|layer| &layer.admin.token);
        if tables.is_empty() {
            let secret = self.secret(
                (None, None),
                None,
                default_file("admin.token"),
                ("an operator's token", "admin.token.token_file", Written::Hex),
            );
            let secret = secret.map_err(|error| error.hint(TOKEN_TABLE))?;
            return Ok(vec![Token {
                name: "root".into(),
                person: "root".into(),
                role: TokenRole::Admin,
                secret,
            }]);
        }
        let mut tokens: Vec<Token> = Vec::new();
        for (text, table) in tables {
            let token = table.get_ref();
            let name = set(text, &token.name).map(name)?;
            if tokens.iter().any(|other| other.name == name) {
                return Err(twice(text, &token.name));
            }
            let person = optional(text, token.person.as_ref()).map(|person| person.map(self::name));
            let person = person.transpose()?.unwrap_or_else(|| name.clone());
            let what = format!("the token `{name}`");
            let kept = (optional(text, token.token_file.as_ref()), optional(text, token.token_env.as_ref()));
            let default = default_file(&format!("{name}.token"));
            let what = (what.as_str(), "admin.token.token_file", Written::Hex);
            let secret = self.secret(kept, None, default, what);
            let secret = secret.map_err(|error| ConfigError { place: place_of(text, table), ..error })?;
            tokens.push(Token { name, person, role: *token.role.get_ref(), secret });
        }
        Ok(tokens)
    }
}
