//! `gemba rules` and `gemba dashboards`: what Prometheus and Grafana need to watch a node, from its configuration.

use std::path::{Path, PathBuf};

use clap::Args;

use super::configured::Configured;
use super::output::{self, Failure};
use crate::config::{Config, NodeRole};
use crate::kaizen::{Monitored, Role, dashboard, rule_file};

/// What is made, and for which node.
#[derive(Args, Debug)]
pub struct Monitoring {
    /// Write a file into this directory instead of printing
    dir: Option<PathBuf>,
    #[command(flatten)]
    configured: Configured,
    /// all, edge or processor
    #[arg(long)]
    role: Option<String>,
}

impl Monitoring {
    /// Recording and alerting rules for Prometheus.
    pub fn rules(self) -> Result<(), Failure> {
        let node = monitored(&self.configured.load(self.role)?);
        write(self.dir.as_deref(), &format!("{}.rules.yml", name(node.role)), &rule_file(&node))
    }

    /// A dashboard for Grafana.
    pub fn dashboards(self) -> Result<(), Failure> {
        let node = monitored(&self.configured.load(self.role)?);
        let text = output::json(&dashboard(&node))? + "\n";
        write(self.dir.as_deref(), &format!("{}.json", name(node.role)), &text)
    }
}

fn monitored(config: &Config) -> Monitored {
    Monitored {
        role: match config.role {
            NodeRole::All => Role::All,
            NodeRole::Edge => Role::Edge,
            NodeRole::Processor => Role::Processor { shares_state: config.firestore.is_some() },
        },
        low_water_bytes: config.low_water_bytes,
        waiting_bytes: config.waiting_bytes,
        governors: config.governors.into(),
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::All => "gemba",
        Role::Edge => "gemba-edge",
        Role::Processor { .. } => "gemba-processor",
    }
}

fn write(dir: Option<&Path>, name: &str, text: &str) -> Result<(), Failure> {
    let Some(dir) = dir else { return output::print(text.as_bytes()) };
    let path = dir.join(name);
    let failed = |error| Failure::io(format!("{}: {error}", path.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    std::fs::write(&path, text).map_err(failed)?;
    output::print(format!("{}\n", path.display()).as_bytes())
}
