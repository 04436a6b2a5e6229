//! Which configuration a command reads.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, ConfigError, Flags};

/// Where the configuration comes from.
#[derive(Args, Debug)]
pub struct Configured {
    /// Configuration file, also named by the variable GEMBA_CONFIG; without one, the built-in one for development applies
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of journal, state, log and created secrets
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Configured {
    /// Whether a file is named.
    pub fn names_a_file(&self) -> bool {
        self.config.is_some()
    }

    /// The file that is named, by a flag or by the variable.
    pub fn file(&self) -> Option<PathBuf> {
        // As with every other variable, an empty one is not set.
        let named = || std::env::var_os("GEMBA_CONFIG").filter(|named| !named.is_empty()).map(PathBuf::from);
        self.config.clone().or_else(named)
    }

    /// The same, of this file where one is named otherwise than by the flag.
    pub fn or(self, file: Option<PathBuf>) -> Self {
        Self { config: self.config.or(file), ..self }
    }

    /// Reads it.
    pub fn load(&self, role: Option<String>) -> Result<Config, ConfigError> {
        let flags = Flags { role, data_dir: self.data_dir.clone() };
        crate::config::load(self.file().as_deref(), std::env::vars_os(), &flags)
    }
}
