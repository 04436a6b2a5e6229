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
        if self.options.json {
            output::print_json(&summary)?;
        } else {
            output::print(render(&summary).as_bytes())?;
        }
        crate::load::write_report(&self.options, &summary)?;
        match summary.ended_early {
            Some(ended @ Ended::NodeGone) => Err(Failure::ended(
                ended.exit_code(),
                format!("{} is gone: every connection was refused or broke", self.options.url),
            )),
            Some(ended @ (Ended::Interrupted | Ended::Terminated)) => {
                Err(Failure::ended(ended.exit_code(), format!("the run was {}", ended.why())))
            }
            None if summary.passed() => Ok(()),
            None => Err(Failure::check("the run shows wrong answers or broken promises")),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::ended(error.exit_code(), error.to_string())
    }
}
