//! `gemba log`: what a running node tells of itself.

use clap::Subcommand;
use serde_json::json;

use super::client::{Reach, Sent};
use super::output::{self, Failure, cell};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the level of each target
    Show {
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change levels until the next start
    Level {
        /// Targets and their levels, such as `gemba::kanban=debug`; a level alone is that of all others
        change: String,
        /// Why; it is logged
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        let (levels, json) = match self {
            Self::Show { reach, json } => (reach.send("log show", &Sent::default())?, json),
            Self::Level { change, reason, reach, json } => {
                let body = json!({"level": change, "reason": reason});
                (reach.send("log level", &Sent { order: Some(&body), ..Sent::default() })?, json)
            }
        };
        if json {
            return output::print_json(&levels);
        }
        let levels = cell(levels.get("level"));
        let rows = levels.split(',').filter_map(|pair| pair.split_once('='));
        output::print_table(
            ["TARGET", "LEVEL"],
            rows.map(|(target, level)| [target.to_owned(), level.to_owned()]),
        )
    }
}
