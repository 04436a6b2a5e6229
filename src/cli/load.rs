//! `gemba load`: drives a node, prints what it measured, and fails if an answer or a promise was wrong.

use clap::Args;

use super::output::{self, Failure};
use crate::load::{Ended, LoadError, Options, Stop, render};

#[derive(Args, Debug)]
pub struct Load {
    #[command(flatten)]
    options: Options,
}

impl Load {
    pub fn run(self) -> Result<(), Failure> {
        let stop = Stop::on_signals().map_err(Failure::io)?;
        let summary = crate::load::run(&self.options, &stop)?;
        // Standard output may be gone with its terminal; the report is written all the same.
        let written = crate::load::write_report(&self.options, &summary);
        if self.options.json {
            output::print_json(&summary)?;
        } else {
            output::print(render(&summary).as_bytes())?;
        }
        written?;
        match summary.ended_early {
            Some(ended @ Ended::NodeGone) => Err(Failure::ended(
                ended.exit_code(),
                format!("{} is gone: every connection was refused or broke", self.options.url),
            )),
            Some(ended @ (Ended::Interrupted | Ended::Terminated | Ended::HungUp)) => {
                Err(Failure::ended(ended.exit_code(), format!("the run was {}", ended.why())))
            }
            Some(ended @ Ended::LogFailed) => {
                let why = stop.log_failure().map_or_else(|| ended.why().to_owned(), ToString::to_string);
                Err(Failure::ended(ended.exit_code(), why)
                    .hint("the log has what was written before, and may end within a line"))
            }
            None if summary.passed() => Ok(()),
            None => {
                let failure = Failure::check("the run shows wrong answers or broken promises");
                Err(match summary.requests.all_answered() {
                    Some(401) => failure.hint("every answer was 401: is the file of --secret-file the secret of this --source, and --scheme its scheme?"),
                    Some(404) => failure.hint("every answer was 404: has the node a source of this name, as --source says?"),
                    Some(_) | None => failure,
                })
            }
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unreadable(error) => error.into(),
            other @ (LoadError::Usage(_)
            | LoadError::Missing { .. }
            | LoadError::Secret { .. }
            | LoadError::Token { .. }
            | LoadError::Resolve { .. }
            | LoadError::Unreachable { .. }
            | LoadError::Refused { .. }
            | LoadError::NoDesk { .. }
            | LoadError::Descriptors { .. }
            | LoadError::Stopped(_)
            | LoadError::Log { .. }
            | LoadError::Report { .. }
            | LoadError::Io(_)) => Self::ended(other.exit_code(), other.to_string()),
        }
    }
}
