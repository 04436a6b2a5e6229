//! The keys that messages of the broker are vouched for with.

use secrecy::ExposeSecret as _;

use crate::config::{self, ConfigError, MessageKey, Secrets};
use crate::kanban::broker::mac::Keys;
use crate::signal::Name;

/// What messages are vouched for with. In the `dev` profile, which alone may have no key, it is derived from what both sides
/// have: the broker's password.
///
/// # Errors
/// When one cannot be read.
pub fn message_keys(configured: &config::Broker, secrets: &Secrets) -> Result<Keys, ConfigError> {
    let line = &configured.queues.name;
    let named = |key: &MessageKey| {
        let name = Name::read("key", &key.name);
        let name = name.map_err(|illegal| ConfigError::new(&key.secret.place, illegal.to_string()))?;
        Ok::<_, ConfigError>((name, secrets.get(&key.secret)?))
    };
    let read = configured.keys.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let mut keys = read.iter().map(|(name, secret)| (name.clone(), secret.expose_secret()));
    if let Some(first) = keys.next() {
        return Ok(Keys::new(line, first, keys));
    }
    let password = secrets.get(&configured.password)?;
    Keys::derived(line, password.expose_secret())
        .map_err(|illegal| ConfigError::new(&configured.password.place, illegal.to_string()))
}
