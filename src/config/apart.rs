//! Files of the log beside everything else that the node reads and writes.

use std::path::{Path, PathBuf};

use super::channels::{Channel, ChannelKind};
use super::logging::LogFile;
use super::whole::Config;
use crate::place::ConfigError;

impl Config {
    /// Whether files of the log are files of their own: what is written there must not be read as anything else.
    ///
    /// # Errors
    /// The first that is not.
    pub fn has_log_apart(&self, own: Option<&Path>) -> Result<(), ConfigError> {
        let data_dir = whole_path(&self.data_dir);
        let read: Vec<PathBuf> =
            self.files().chain(own.map(Path::to_owned)).map(|path| whole_path(&path)).collect();
        for file in &self.logging.files {
            let path = whole_path(&file.path);
            let others = self.logging.files.iter().filter(|other| other.path != file.path);
            let is_older = |other: &LogFile| {
                let (own, other) =
                    (path.display().to_string(), whole_path(&other.path).display().to_string());
                let number = own.strip_prefix(&*other).and_then(|rest| rest.strip_prefix('.'));
                number.is_some_and(|number| {
                    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
                })
            };
            let is_same = |other: &LogFile| whole_path(&other.path) == path;
            let what = if path.starts_with(&data_dir) {
                "it is in `node.data_dir`, which holds the journal, the log and secrets"
            } else if read.contains(&path) {
                "the node reads this file"
            } else if others.clone().any(is_same) {
                "it is written twice"
            } else if others.clone().any(is_older) {
                "it is what another one becomes when it wraps"
            } else if file.path.display().to_string().contains(['[', ']']) {
                "its name has a bracket"
            } else {
                continue;
            };
            return Err(ConfigError::new(&file.place, format!("{}: {what}", file.path.display()))
                .hint("give each file of the log a path of its own, in a directory for logs"));
        }
        self.has_channels_apart(&data_dir, &read)
    }

    /// The same of files of channels.
    fn has_channels_apart(&self, data_dir: &Path, read: &[PathBuf]) -> Result<(), ConfigError> {
        let written = |channel: &Channel| match &channel.kind {
            ChannelKind::File { path } => Some(whole_path(path)),
            ChannelKind::PagerDuty { .. }
            | ChannelKind::Slack(_)
            | ChannelKind::Email(_)
            | ChannelKind::Sms(_)
            | ChannelKind::Webhook { .. }
            | ChannelKind::Alertmanager { .. }
            | ChannelKind::Log => None,
        };
        for (number, channel) in self.channels.iter().enumerate() {
            let Some(path) = written(channel) else { continue };
            let what = if path.starts_with(data_dir) {
                "it is in `node.data_dir`, which holds the journal, the log and secrets"
            } else if read.contains(&path) {
                "the node reads this file"
            } else if self.logging.files.iter().any(|file| whole_path(&file.path) == path) {
                "it is a file of the log"
            } else if self.channels[..number].iter().any(|other| written(other).as_ref() == Some(&path)) {
                "another channel writes it"
            } else {
                continue;
            };
            let what = format!("the file of channel `{}`, {}: {what}", channel.name, path.display());
            return Err(ConfigError::new(&channel.place, what)
                .hint("give it a path of its own, in a directory for logs"));
        }
        Ok(())
    }
}

/// From the root, with links followed as far as it is there.
fn whole_path(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (whole.canonicalize(), whole.parent(), whole.file_name()) {
        (Ok(found), _, _) => found,
        (Err(_), Some(parent), Some(name)) => whole_path(parent).join(name),
        (Err(_), _, _) => whole,
    }
}
