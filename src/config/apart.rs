//! Files of the log beside everything else that the node reads and writes.

use std::path::{Path, PathBuf};

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
