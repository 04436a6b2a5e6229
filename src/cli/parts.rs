//! The parts of a node that a reload replaces, made from the configuration.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretSlice};

use super::message_keys::message_keys;
use super::targets::targets;
use super::{channels, rules, telemetry};
use crate::andon::channel::Channels;
use crate::config::{self, Config, ConfigError, ExpectedSource, NodeRole, Secrets, TokenRole};
use crate::ingress::callback::CallbackSource;
use crate::ingress::stage::Source;
use crate::jidoka::action::Targets;
use crate::kanban::broker::mac::Keys;
use crate::line::live::{Live, Rulebook, Telemetry};
use crate::operator::{self, Role, Token, Tokens, operations};
use crate::place::nearest;
use crate::ring::{Current, Mark};
use crate::signal::Fixed;
use crate::signature::Keyring;
use crate::tapped::TapRules;

/// Each as it was made for one configuration.
#[derive(Clone, Debug)]
pub struct Parts {
    sources: Arc<Vec<Source>>,
    callbacks: Arc<Vec<CallbackSource>>,
    expected_sources: Arc<Vec<ExpectedSource>>,
    tokens: Arc<Tokens>,
    targets: Arc<Targets>,
    channels: Arc<Channels>,
    pub rulebook: Arc<Rulebook>,
    telemetry: Arc<Telemetry>,
    tap: Arc<TapRules>,
    message_keys: Option<Arc<Keys>>,
}

/// Makes all of them.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parts(config: &Config, secrets: &Secrets) -> Result<Parts, ConfigError> {
    let tokens = config.tokens.iter().map(|token| self::token(token, secrets));
    let sources = config.sources.iter().map(|source| self::source(source, secrets));
    let broker = config.broker.as_ref().filter(|_| config.role != NodeRole::All);
    let keys = broker.map(|broker| message_keys(broker, secrets));
    Ok(Parts {
        sources: Arc::new(sources.collect::<Result<_, ConfigError>>()?),
        expected_sources: Arc::new(config.expected_sources.clone()),
        tokens: Arc::new(with_second(tokens.collect::<Result<_, ConfigError>>()?, &config.needs_second)?),
        targets: Arc::new(targets(config, secrets)?),
        channels: Arc::new(channels::channels(config, secrets)?),
        callbacks: Arc::new(channels::callbacks(config, secrets)?),
        rulebook: Arc::new(rules::rulebook(config)?),
        telemetry: Arc::new(telemetry::telemetry(config, secrets)?),
        tap: Arc::new(config.tap.clone()),
        message_keys: keys.transpose()?.map(Arc::new),
    })
}

impl Parts {
    /// For a node that starts with them.
    #[must_use]
    pub fn live(&self) -> Live {
        Live {
            sources: Current::new(Arc::clone(&self.sources)),
            expected_sources: Current::new(Arc::clone(&self.expected_sources)),
            tokens: Current::new(Arc::clone(&self.tokens)),
            targets: Current::new(Arc::clone(&self.targets)),
            channels: Current::new(Arc::clone(&self.channels)),
            callbacks: Current::new(Arc::clone(&self.callbacks)),
            target_room: Mark::new(0),
            sessions: operator::BoardSessions::default(),
            rulebook: Current::new(Arc::clone(&self.rulebook)),
            telemetry: Current::new(Arc::clone(&self.telemetry)),
            tap: Current::new(Arc::clone(&self.tap)),
            message_keys: self.message_keys.clone().map(Current::new),
        }
    }

    /// Targets over a connection.
    #[must_use]
    pub fn remote_targets(&self) -> usize {
        self.targets.remote()
    }

    /// Takes every part of which no key changed from `old`, so that its users are not disturbed.
    #[must_use]
    pub fn keeping(self, old: &Self, is_changed: impl Fn(&str) -> bool) -> Self {
        fn kept<T>(keep: bool, old: &T, new: T) -> T
        where
            T: Clone,
        {
            if keep { old.clone() } else { new }
        }
        let Self {
            sources,
            callbacks,
            expected_sources,
            tokens,
            targets,
            channels,
            rulebook,
            telemetry,
            tap,
            message_keys,
        } = self;
        // A try of an action goes by the bounds of its governor, too.
        let tokens_stay = !is_changed("admin.token") && !is_changed("operator");
        let targets_stay = !is_changed("action") && !is_changed("governor");
        let channels_stay = !is_changed("channel") && !is_changed("alerts");
        let Telemetry { traces, remote_write, configuration } = &*telemetry;
        let telemetry = Telemetry {
            traces: kept(!is_changed("opentelemetry"), &old.telemetry.traces, traces.clone()),
            remote_write: kept(!is_changed("prometheus"), &old.telemetry.remote_write, remote_write.clone()),
            configuration: configuration.clone(),
        };
        Self {
            sources: kept(!is_changed("source"), &old.sources, sources),
            expected_sources,
            tokens: kept(tokens_stay, &old.tokens, tokens),
            targets: kept(targets_stay, &old.targets, targets),
            channels: kept(channels_stay, &old.channels, channels),
            callbacks: kept(channels_stay, &old.callbacks, callbacks),
            rulebook,
            telemetry: Arc::new(telemetry),
            tap,
            message_keys: kept(!is_changed("rabbitmq.key"), &old.message_keys, message_keys),
        }
    }

    /// They hold from here on, in place of `old`.
    pub fn replace(&self, old: &Self, live: &Live) {
        fn replace<T>(old: &Arc<T>, new: &Arc<T>, current: &Current<T>) {
            if !Arc::ptr_eq(old, new) {
                current.replace(Arc::clone(new));
            }
        }
        // Rules may ask for new targets: those come first.
        replace(&old.targets, &self.targets, &live.targets);
        // Who is called finds the key of the answer.
        replace(&old.callbacks, &self.callbacks, &live.callbacks);
        replace(&old.channels, &self.channels, &live.channels);
        replace(&old.rulebook, &self.rulebook, &live.rulebook);
        replace(&old.tokens, &self.tokens, &live.tokens);
        replace(&old.sources, &self.sources, &live.sources);
        replace(&old.expected_sources, &self.expected_sources, &live.expected_sources);
        replace(&old.telemetry, &self.telemetry, &live.telemetry);
        replace(&old.tap, &self.tap, &live.tap);
        if let (Some(old), Some(new), Some(current)) =
            (&old.message_keys, &self.message_keys, &live.message_keys)
        {
            replace(old, new, current);
        }
    }
}

fn token(token: &config::Token, secrets: &Secrets) -> Result<Token, ConfigError> {
    let role = match token.role {
        TokenRole::Viewer => operator::Role::Viewer,
        TokenRole::Operator => operator::Role::Operator,
        TokenRole::Admin => operator::Role::Admin,
    };
    let secret = secrets.get(&token.secret)?;
    Ok(Token::new(&token.name, role, secret.expose_secret()).of_person(&token.person))
}

/// The tokens, and which orders one of them alone cannot give. Where nobody could approve one, it would never be carried out.
fn with_second(tokens: Vec<Token>, needs_second: &[config::NeedsSecond]) -> Result<Tokens, ConfigError> {
    let tokens = Tokens::new(tokens);
    let known: Vec<&'static str> = operations::orders().collect();
    let mut commands = Vec::new();
    for (command, place) in needs_second {
        let Some(order) = known.iter().find(|known| **known == command.as_str()) else {
            let error = ConfigError::new(place, format!("`{command}` is not the command of an order"));
            return Err(match nearest(command, &known) {
                Some(name) => error.hint(format!("the nearest one is `{name}`")),
                None => error.hint(format!("known: {}", known.join(", "))),
            });
        };
        for sibling in operations::siblings(order) {
            let role = operations::of_command(sibling).map_or(Role::Admin, |operation| operation.need.role());
            if tokens.persons(role) < 2 {
                let what = format!(
                    "`{sibling}` needs two persons, and fewer than two have a token with the role {}",
                    role.into_str()
                );
                return Err(ConfigError::new(place, what).hint(
                    "add an [[admin.token]] of another person; `admin.token.person` says whose a token is",
                ));
            }
            commands.push(sibling);
        }
    }
    Ok(tokens.needing_second(commands))
}

fn source(source: &config::Source, secrets: &Secrets) -> Result<Source, ConfigError> {
    let fixed = Fixed {
        tenant: source.tenant.as_deref().map(Into::into),
        sku: source.sku.as_deref().map(Into::into),
        control: source.control,
        binary: source.binary,
    };
    Ok(Source::new(&source.name, keyring(source, secrets)?, fixed))
}

/// The keys of a source.
pub fn keyring(source: &config::Source, secrets: &Secrets) -> Result<Keyring, ConfigError> {
    let read = |key: &config::SourceKey| Ok((key.name.clone(), secrets.get(&key.secret)?));
    let keys =
        source.keys.iter().map(read).collect::<Result<Vec<(String, SecretSlice<u8>)>, ConfigError>>()?;
    let keys: Vec<(&str, &[u8])> =
        keys.iter().map(|(name, secret)| (name.as_str(), secret.expose_secret())).collect();
    // Each alone first, so that an error names the one that is wrong.
    for (key, named) in source.keys.iter().zip(&keys) {
        Keyring::new(&source.name, source.scheme, &[*named], source.tolerance.as_secs())
            .map_err(|why| key.secret.wrong(why).hint(key.secret.advice()))?;
    }
    let keyring = Keyring::new(&source.name, source.scheme, &keys, source.tolerance.as_secs())
        .map_err(|why| ConfigError::new(&source.place, format!("source `{}`: {why}", source.name)))?;
    Ok(if source.binary { keyring.knowing_bodies() } else { keyring })
}
