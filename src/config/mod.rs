//! The configuration: flags over environment over file over defaults, each value checked where it was written.
//!
//! Every layer is read alone into `layer::Layer`; the value of a key is that of the first layer which sets it.
//! A wrong key or value stops the start with its place and what would be right. Secrets are named here and read in
//! [`secret`].

mod access;
mod actions;
mod alerts;
mod apart;
mod broker;
mod channel_keys;
mod channels;
mod effective;
mod environment;
pub mod file;
mod ingress;
mod layer;
mod layers;
mod logging;
mod opentelemetry;
mod operator;
mod packs;
mod peers;
mod prometheus;
mod receivers;
mod recipients;
pub mod secret;
mod secrets;
mod shape;
mod sources;
mod state;
mod tap;
#[cfg(test)]
mod tests;
mod tokens;
mod whole;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::limits::CONFIG_BYTES_MAX;
use crate::place::{self, Text};
pub use crate::place::{ConfigError, Place};
pub use actions::{Action, ActionKind, Webhook};
pub use broker::{Broker, MessageKey, Tls};
pub use channels::{Channel, ChannelKind, Mail, SlackLogin};
pub use effective::{ChangedSetting, Effective, Setting, log_file_key};
pub use layer::{
    Applies, Entitled, LogContent, LogFormat, LogReceipts, NodeRole, OtlpProtocol, QueueType, SyslogFraming,
    SyslogTransport, TokenRole,
};
use layer::{FilePath, Layer};
use layers::Layers;
pub use logging::{LogFile, Syslog};
pub use opentelemetry::{OpenTelemetry, TlsFiles};
pub use operator::NeedsSecond;
pub use packs::PackFile;
pub use peers::PeerNode;
pub use prometheus::{Login, Prometheus};
pub use receivers::HiddenUrl;
use secret::Kept;
pub use secrets::{Missing, SecretChange, Secrets};
pub use shape::{ExpressionText, ShapeText};
pub use sources::{ExpectedSource, Source, SourceKey};
pub use state::{Credentials, Firestore};
pub use tokens::Token;
pub use whole::{Config, Proof};

/// What applies when no file is named.
pub const BUILT_IN: &str = include_str!("../../config/dev.toml");

/// Values given on the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub role: Option<String>,
    pub data_dir: Option<PathBuf>,
}

/// Reads the configuration from `file`, or the built-in one, under `variables` and `flags`.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load(
    file: Option<&Path>,
    variables: impl Iterator<Item = (OsString, OsString)>,
    flags: &Flags,
) -> Result<Config, ConfigError> {
    let text = match file {
        None => Text::built_in("config/dev.toml (built in)", BUILT_IN),
        Some(path) => {
            let shown = path.display().to_string();
            let text = file::streamed_text(path, CONFIG_BYTES_MAX)
                .map_err(|error| ConfigError::new(&Place::named(&shown), error.to_string()))?;
            Text::file(&shown, text)
        }
    };
    let variables: Vec<_> = variables.collect();
    let mut layers = flags.layers()?;
    layers.extend(environment::layers(&variables)?);
    let layer = Layer::read(&text)?;
    layers.push((text, layer));
    let variable = |name: &str| {
        let set = variables.iter().find(|(set, _)| set == name);
        set.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    let effective = Effective::of(&layers);
    let layers = Layers(layers);
    let config = layers.config(&variable)?;
    let is_named = |name: &str| {
        config.secrets().any(|secret| matches!(&secret.kept, Kept::Variable(kept) if kept == name))
    };
    let mut warnings = environment::warnings(&variables, is_named);
    warnings.extend(config.policy.unused_files());
    warnings.extend(config.unheard_alerts());
    warnings.extend(layers.uncalled(config.role));
    let config = Config { warnings, effective, ..config };
    config.has_log_apart(file)?;
    Ok(config)
}

impl Flags {
    fn layers(&self) -> Result<Vec<(Text, Layer)>, ConfigError> {
        let mut layers = Vec::new();
        if let Some(role) = &self.role {
            let text = Text::variable("--role", format!("[node]\nrole = {}\n", place::quoted(role)));
            let layer = Layer::read(&text)?;
            layers.push((text, layer));
        }
        // A path need not be UTF-8, which TOML is.
        if let Some(data_dir) = &self.data_dir {
            let mut layer = Layer::default();
            layer.node.data_dir = Some(Spanned::new(0..0, FilePath(data_dir.clone())));
            layers.push((Text::variable("--data-dir", String::new()), layer));
        }
        Ok(layers)
    }
}
