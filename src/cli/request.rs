//! `gemba request`: orders that wait for a second person.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Reach, Sent};
use super::output::{self, Failure, cell};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the orders that wait for a second person, the oldest first
    List {
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Approve an order of somebody else, which is carried out now
    Approve(OnOne),
    /// Have an order not carried out, your own or another's
    Refuse(OnOne),
}

#[derive(Args, Debug)]
pub struct OnOne {
    /// As `gemba request list` names it
    id: String,
    /// Why; of an approval it stands on the receipt
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    reach: Reach,
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { reach, json } => {
                let found = reach.send("request list", &Sent::default())?;
                if json {
                    return output::print_json(&found);
                }
                let heading = ["ID", "COMMAND", "REQUEST", "WHO", "REASON"];
                output::print_table(heading, output::items(&found, "requests").iter().map(row))
            }
            Self::Approve(order) => order.send("request approve"),
            Self::Refuse(order) => order.send("request refuse"),
        }
    }
}

impl OnOne {
    fn send(&self, command: &str) -> Result<(), Failure> {
        let body = json!({"reason": self.reason});
        let sent = Sent { parts: &[&self.id], order: Some(&body), ..Sent::default() };
        output::print_json(&self.reach.send(command, &sent)?)
    }
}

fn row(request: &Value) -> [String; 5] {
    ["id", "command", "request", "who", "reason"].map(|key| cell(request.get(key)))
}
