//! The configured actions in the line's terms: their secrets read, their roots loaded.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::{
    Action, ActionKind, Broker, Config, ConfigError, ExpressionText, Place, Secrets, ShapeText, Tls, Webhook,
    file,
};
use crate::expression::Wrong;
use crate::jidoka::action::amqp::Route;
use crate::jidoka::action::webhook::Endpoint;
use crate::jidoka::action::{Bounds, Kind, ShapeCompiler, Target, Targets, WebhookShape};
use crate::limits::CA_BYTES_MAX;
use crate::net::amqp;
use crate::net::caller::CallTarget;
use crate::net::tls::{self, TlsError};
use crate::signature::Signer;

/// Everything that actions may call.
pub fn targets(config: &Config, secrets: &Secrets) -> Result<Targets, ConfigError> {
    let target = |action: &Action| {
        let kind = match &action.kind {
            ActionKind::Log => Kind::Log,
            ActionKind::Webhook(webhook) => Kind::Webhook(Arc::new(endpoint(webhook, action, secrets)?)),
            ActionKind::Amqp { exchange, routing_key } => {
                Kind::Amqp(Route { exchange: exchange.clone(), routing_key: routing_key.clone() })
            }
        };
        Ok(Target { name: action.name.as_str().into(), kind, timeout: action.timeout })
    };
    Ok(Targets {
        targets: config.actions.iter().map(target).collect::<Result<_, ConfigError>>()?,
        broker: config.broker_in_use().map(|configured| broker(configured, secrets)).transpose()?,
        bounds: Bounds { failures: config.governor.breaker_failures, reset: config.governor.breaker_reset },
    })
}

fn endpoint(webhook: &Webhook, action: &Action, secrets: &Secrets) -> Result<Endpoint, ConfigError> {
    let Action { name, place, .. } = action;
    let secret = secrets.get(&webhook.secret)?;
    let signer = Signer::new(secret.expose_secret()).map_err(|why| {
        ConfigError::new(&webhook.secret.place, format!("action `{name}`: {why}"))
            .hint(webhook.secret.advice())
    })?;
    let to = CallTarget {
        url: webhook.url.clone(),
        tls: (webhook.url.scheme_str() == Some("https"))
            .then(|| trusting(webhook.ca_file.as_ref(), &format!("action `{name}`"), place, tls::HTTP))
            .transpose()?,
        allow_private: webhook.allow_private,
    };
    let shape = webhook.shape.as_ref().map(|shape| compiled(shape, name)).transpose()?;
    Ok(Endpoint { to, signer, shape })
}

fn compiled(texts: &ShapeText, action: &str) -> Result<WebhookShape, ConfigError> {
    let wrong = |of: &str, text: &ExpressionText, Wrong { line, column, what, hint }| {
        let what = format!("`{of}` of action `{action}`: {what}");
        ConfigError { hint, ..ConfigError::new(&text.place.place(line, column), what) }
    };
    let mut compiler = ShapeCompiler::default();
    if let Some(body) = &texts.body {
        let content_type = texts.content_type.clone();
        compiler.body(&body.text, content_type).map_err(|why| wrong("body", body, why))?;
    }
    for (name, value) in &texts.headers {
        let compiled = compiler.header(name.clone(), &value.text);
        compiled.map_err(|why| wrong(&format!("headers.{name}"), value, why))?;
    }
    Ok(compiler.finish())
}

/// Whom a client believes: the system's roots, and those of a file.
pub fn trusting(
    ca_file: Option<&(PathBuf, Place)>,
    whom: &str,
    place: &Place,
    protocols: &[&[u8]],
) -> Result<Arc<ClientConfig>, ConfigError> {
    let Some((path, place)) = ca_file else {
        return tls::client(None, protocols).map_err(|why| {
            ConfigError::new(place, format!("{whom}: {why}"))
                .hint("install the package ca-certificates, or name the peer's root in `ca_file`")
        });
    };
    let wrong = |why: String| ConfigError::new(place, format!("{whom}: {}: {why}", path.display()));
    let pem = file::content(path, CA_BYTES_MAX).map_err(|error| wrong(error.to_string()))?;
    tls::client(Some(&pem), protocols).map_err(|why: TlsError| wrong(why.to_string()))
}

/// How the broker is reached, for whoever talks to it.
pub fn broker(broker: &Broker, secrets: &Secrets) -> Result<amqp::Broker, ConfigError> {
    let Broker { hosts, vhost, username, password, tls, queues: _, keys: _ } = broker;
    let secret = secrets.get(password)?;
    let text = String::from_utf8(secret.expose_secret().to_vec())
        .map_err(|_| ConfigError::new(&password.place, format!("{}: it is not UTF-8", password.what)))?;
    let trust = |tls: &Tls| trusting(tls.ca_file.as_ref(), "the broker", &tls.place, &[]);
    Ok(amqp::Broker {
        hosts: hosts.clone(),
        vhost: vhost.clone(),
        username: username.clone(),
        password: SecretString::from(text),
        tls: tls.as_ref().map(trust).transpose()?,
    })
}
