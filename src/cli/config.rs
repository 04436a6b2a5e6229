//! `gemba config check`: everything that a start would refuse, without starting.

use std::path::PathBuf;

use clap::Subcommand;

use super::output::{self, Failure};
use super::serve;
use crate::config::{Flags, Missing};
use crate::diagnostics::say;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a configuration file and the secrets that it names
    Check {
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        let Self::Check { file, json } = self;
        let config = crate::config::load(Some(&file), std::env::vars_os(), &Flags::default())?;
        let secrets = config.read_secrets(Missing::Assume)?;
        serve::has_log_key(&config)?;
        serve::settings(&config, &secrets)?;
        for warning in config.warnings.iter().chain(&secrets.warnings) {
            let hint = warning.hint.as_ref().map_or(String::new(), |hint| format!("; {hint}"));
            say(&format!("warning: {warning}{hint}"));
        }
        if json {
            let sources: Vec<_> = config.sources.iter().map(|source| &source.name).collect();
            return output::print_json(&serde_json::json!({
                "file": file.to_string_lossy(), "ok": true, "name": config.name, "listen": config.listen,
                "admin": config.admin_listen, "data_dir": config.data_dir.to_string_lossy(), "sources": sources,
            }));
        }
        output::print(format!("{}: good\n", file.display()).as_bytes())
    }
}
