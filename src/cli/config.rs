//! `gemba config check`: everything that a start would refuse, without starting.

use std::path::PathBuf;

use clap::Subcommand;

use super::client::{Reach, Sent};
use super::configured::Configured;
use super::output::{self, Failure, cell};
use super::{audit_files, roles, serve};
use crate::config::Missing;
use crate::diagnostics::say;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a configuration and the secrets that it names
    Check {
        /// Configuration file, as --config has it
        #[arg(conflicts_with = "config")]
        file: Option<PathBuf>,
        #[command(flatten)]
        configured: Configured,
        /// As a node with this role would start: all, edge or processor
        #[arg(long)]
        role: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the configuration of a running node: every key that is set, and where
    Show {
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Check { file, configured, role, json } => check(&configured.or(file), role, json),
            Self::Show { reach, json } => show(&reach, json),
        }
    }
}

fn check(configured: &Configured, role: Option<String>, json: bool) -> Result<(), Failure> {
    let config = configured.load(role)?;
    let file = configured
        .file()
        .map_or_else(|| "the built-in configuration".into(), |file| file.display().to_string());
    let secrets = config.read_secrets(Missing::Assume)?;
    serve::has_log_key(&config)?;
    roles::check(&config, &secrets)?;
    audit_files::look_at(&config.logging.files, config.role)?;
    for warning in config.warnings.iter().chain(&secrets.warnings) {
        let hint = warning.hint.as_ref().map_or(String::new(), |hint| format!("; {hint}"));
        say(&format!("warning: {warning}{hint}"));
    }
    if json {
        let sources: Vec<_> = config.sources.iter().map(|source| &source.name).collect();
        return output::print_json(&serde_json::json!({
            "file": file, "ok": true, "name": config.name, "listen": config.listen,
            "admin": config.admin_listen, "data_dir": config.data_dir.to_string_lossy(), "sources": sources,
        }));
    }
    output::print(format!("{file}: good\n").as_bytes())
}

fn show(reach: &Reach, json: bool) -> Result<(), Failure> {
    let shown = reach.send("config show", &Sent::default())?;
    if json {
        return output::print_json(&shown);
    }
    let keys = shown.get("keys").and_then(serde_json::Value::as_object).into_iter().flatten();
    let row = |(key, entry): (&String, &serde_json::Value)| {
        [key.clone(), cell(entry.get("value")), cell(entry.get("place"))]
    };
    output::print_table(["KEY", "VALUE", "WHERE"], keys.map(row))
}
