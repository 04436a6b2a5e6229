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
    let wrong = |why: String| ConfigError::new(place, format!("{whom}: {why}"));
    let pem = file::content(path, CA_BYTES_MAX).map_err(|error| wrong(file::failure(path, &error)))?;
    tls::client(Some(&pem), protocols).map_err(|why: TlsError| wrong(format!("{}: {why}", path.display())))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::{Flags, Missing, load};

    /// What a configuration with this action comes to.
    fn compiled_from(action: &str) -> Result<Targets, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let (secret, file) = (dir.path().join("s"), dir.path().join("gemba.toml"));
        std::fs::write(&secret, format!("whsec_{}", data_encoding::BASE64.encode(&[7; 32]))).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let action = action.replace("/etc/gemba/chat.secret", &secret.display().to_string());
        std::fs::write(&file, format!("[node]\nprofile = \"dev\"\n{action}")).unwrap();
        let config = load(Some(&file), std::iter::empty(), &Flags::default())?;
        let secrets = config.read_secrets(Missing::Assume)?;
        targets(&config, &secrets)
    }

    const HOOK: &str = "[[action]]\nname = \"chat\"\nkind = \"webhook\"\nurl = \"https://a.b/\"\nsecret_file = \"/etc/gemba/chat.secret\"\n";

    #[test]
    fn the_documented_shape_is_right() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/policies.md"));
        let (_, section) = page.split_once("## Webhooks that are shaped").unwrap();
        let (_, example) = section.split_once("```toml\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        let targets = compiled_from(example).unwrap();
        let [target] = targets.targets.as_slice() else { panic!("{targets:?}") };
        let Kind::Webhook(endpoint) = &target.kind else { panic!("{target:?}") };
        assert!(endpoint.shape.is_some());
        let plain = compiled_from(HOOK).unwrap();
        assert!(matches!(&plain.targets[0].kind, Kind::Webhook(endpoint) if endpoint.shape.is_none()));
    }

    #[test]
    fn what_is_wrong_with_a_shape_is_told_with_its_place() {
        let many: Vec<String> = (0..=16).map(|number| format!("x-{number} = \"'a'\"")).collect();
        for (shape, place, what) in [
            (
                "body = \"1\"",
                ":8:9",
                "`body` of action `chat`: the result is an int, wanted is a string, list or map",
            ),
            ("body = \"\"\"\n{'a':\n action.nothing}\"\"\"", ":10:2", "`body` of action `chat`: "),
            ("body = \"signal.dat\"", ":8:9", "`body` of action `chat`: "),
            ("content_type = \"text/plain\"", ":8", "`content_type` needs `body`"),
            ("body = \"'a'\"\ncontent_type = \"text\"", ":9", "`action.content_type`: this is no media type"),
            ("headers = { host = \"'a'\" }", ":8", "header `host`: the node sets it"),
            ("headers = { X-Team = \"'a'\" }", ":8", "header `X-Team`: a name is written in lower case"),
            ("headers = { x-a = \"5\" }", ":8:20", "`headers.x-a` of action `chat`: the result is an int"),
            (&format!("headers = {{ {} }}", many.join(", ")), ":8", "an action has at most 16 headers"),
        ] {
            let error = compiled_from(&format!("{HOOK}{shape}\n")).unwrap_err();
            let told = error.to_string();
            assert!(told.contains(&format!("gemba.toml{place}: ")) && told.contains(what), "{shape}: {told}");
        }
        for kind in ["log", "amqp"] {
            let keys =
                format!("[[action]]\nname = \"a\"\nkind = \"{kind}\"\nrouting_key = \"q\"\nbody = \"'a'\"\n");
            let keys = if kind == "log" { keys.replace("routing_key = \"q\"\n", "") } else { keys };
            let told = compiled_from(&keys).unwrap_err().to_string();
            assert!(told.contains(&format!("`body` means nothing to an action of kind `{kind}`")), "{told}");
        }
    }
}
