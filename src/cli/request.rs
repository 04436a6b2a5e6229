//! `gemba request`: orders that wait for a second person.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Reach, Sent, lapses_in};
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
    /// Have an order not carried out: your own, or another's that you may order, too
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
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { reach, json } => {
                let found = reach.send("request list", &Sent::default())?;
                if json {
                    return output::print_json(&found);
                }
                output::print_table(HEADING, output::items(&found, "requests").iter().map(row))
            }
            Self::Approve(order) => order.send("request approve", "is carried out"),
            Self::Refuse(order) => order.send("request refuse", "is not carried out"),
        }
    }
}

impl OnOne {
    fn send(&self, command: &str, ends: &str) -> Result<(), Failure> {
        let body = json!({"reason": self.reason});
        let sent = Sent { parts: &[&self.id], order: Some(&body), ..Sent::default() };
        let done = self.reach.send(command, &sent)?;
        if self.json {
            return output::print_json(&done);
        }
        let carried_out = done.get("request").map(|request| {
            let [command, told, concerns, who, reason] =
                ["command", "request", "concerns", "who", "reason"].map(|key| cell(request.get(key)));
            format!("{command}, ordered by {who}: {reason}\n{told}\nconcerns: {concerns}\n")
        });
        let carried_out = carried_out.unwrap_or_default();
        // The answer is the order's own; what is one value of it fits in a line.
        let is_one = |value: &Value| !value.is_object() && !value.is_array();
        let told = done.as_object().into_iter().flatten().filter(|(_, value)| is_one(value));
        let told = told.map(|(name, value)| format!("{}: {}\n", output::plain(name), cell(Some(value))));
        let told = told.collect::<String>();
        output::print(format!("{} {ends}\n{carried_out}{told}", output::plain(&self.id)).as_bytes())
    }
}

const HEADING: [&str; 8] = ["ID", "COMMAND", "REQUEST", "CONCERNS", "WHO", "REASON", "EXPIRES IN", "STATE"];

fn row(request: &Value) -> [String; 8] {
    let [id, command, told, concerns, who, reason] =
        ["id", "command", "request", "concerns", "who", "reason"].map(|key| cell(request.get(key)));
    let state = match (request.get("under_way"), request.get("refused")) {
        (Some(Value::Bool(true)), _) => "approved, under way".to_owned(),
        (_, Some(why)) => format!("not carried out: {}", cell(Some(why))),
        (_, None) => "waits".to_owned(),
    };
    [id, command, told, concerns, who, reason, lapses_in(request), state]
}
