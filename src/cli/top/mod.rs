//! `gemba top`: a running node, live in a terminal; or one look at it as text or JSON.

mod answers;
mod history;
mod live;
mod metrics_page;
mod screen;
mod state;
mod table;
mod terminal;
mod text;
mod view;

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::client::{Client, Reach};
use super::output::{self, Failure};
use crate::clock;
use crate::limits::TOP_INTERVAL_SECONDS;
use answers::Answers;
use history::History;

#[derive(Args, Debug)]
pub struct Top {
    /// Seconds between two looks, 0.2 to 60
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// Print one look at the node and end; so it is where standard output is not a terminal
    #[arg(long)]
    once: bool,
    /// Print JSON: an object on a line for each interval
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if !TOP_INTERVAL_SECONDS.contains(&seconds) {
        return Err(format!(
            "from {} to {} seconds",
            TOP_INTERVAL_SECONDS.start(),
            TOP_INTERVAL_SECONDS.end()
        ));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// An answer, or that there was none.
#[derive(Serialize)]
struct TopLine<'a> {
    answered: bool,
    #[serde(flatten)]
    view: &'a view::TopView,
}

impl Top {
    pub fn run(self) -> Result<(), Failure> {
        let client = self.reach.client()?;
        let first = Answers::ask(&client)?;
        if self.json {
            return self.print_json(&client, first);
        }
        if self.once || !is_on_a_terminal() {
            let history = self.window(&client, first)?;
            let text = history.view().map(|view| text::snapshot(&view)).unwrap_or_default();
            return output::print(text.as_bytes());
        }
        let has_color = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        live::run(client, first, self.interval, has_color)
    }

    /// Looks until there is a window.
    fn window(&self, client: &Client, first: Answers) -> Result<History, Failure> {
        let mut history = History::new(self.interval);
        history.add(first);
        std::thread::sleep(history.window());
        history.add(Answers::ask(client)?);
        if history.has_window() {
            return Ok(history);
        }
        Err(Failure::check("the node measured nothing between two looks"))
    }

    fn print_json(&self, client: &Client, first: Answers) -> Result<(), Failure> {
        let print = |history: &History| match history.view() {
            Some(view) => {
                let line = output::json_line(&TopLine { answered: true, view: &view })?;
                output::print_to_reader((line + "\n").as_bytes())
            }
            None => Ok(true),
        };
        if self.once {
            return print(&self.window(client, first)?).map(|_| ());
        }
        let mut history = History::new(self.interval);
        history.add(first);
        let mut answered = clock::now();
        loop {
            std::thread::sleep(self.interval);
            let goes_on = match Answers::ask(client) {
                Ok(answers) => {
                    answered = clock::now();
                    history.add(answers);
                    !history.has_window() || print(&history)?
                }
                Err(failure) => {
                    let silent = clock::now().saturating_duration_since(answered).as_secs_f64();
                    let why = json!({"answered": false, "silent_seconds": silent, "reason": failure.what()});
                    output::print_to_reader((output::json_line(&why)? + "\n").as_bytes())?
                }
            };
            if !goes_on {
                return Ok(());
            }
        }
    }
}

/// Whether there are keys to hear and a screen to draw on.
fn is_on_a_terminal() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb
}
