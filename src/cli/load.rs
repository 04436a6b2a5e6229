//! `gemba load`: drives a node, prints what it measured, and fails if an answer or a promise was wrong.

use clap::Args;

use super::output::{self, Failure};
use crate::load::{LoadError, Options, render};

#[derive(Args, Debug)]
pub struct Load {
    #[command(flatten)]
    options: Options,
}

impl Load {
    pub fn run(self) -> Result<(), Failure> {
        let summary = crate::load::run(&self.options)?;
        if self.options.json {
            output::print_json(&summary)?;
        } else {
            output::print(render(&summary).as_bytes())?;
        }
        if summary.passed() {
            Ok(())
        } else {
            Err(Failure::check("the run shows wrong answers or broken promises"))
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        if error.exit_code() == 2 { Self::usage(error.to_string()) } else { Self::io(error) }
    }
}
