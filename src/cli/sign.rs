//! `gemba sign`: the headers that sign a body as a configured source would.

use std::io::Read as _;
use std::path::PathBuf;

use aws_lc_rs::rand;
use clap::Args;

use super::configured::Configured;
use super::output::{self, Failure};
use super::parts::keyring;
use crate::clock;
use crate::config::secret::Chooser;
use crate::config::{Secrets, file};
use crate::limits::BODY_BYTES_MAX;

#[derive(Args, Debug)]
pub struct Sign {
    /// The source that sends it
    #[arg(long, default_value = "signals")]
    source: String,
    /// Message id, for schemes that sign one; random by default
    #[arg(long)]
    id: Option<String>,
    /// The body; standard input by default
    file: Option<PathBuf>,
    #[command(flatten)]
    configured: Configured,
}

/// Where a secret is that the node knows: what is signed with another one is refused there.
const SECRET_IS: &str = "name the node's configuration and directory with --config and --data-dir; with the \
                         `dev` profile the node's first start makes it";

impl Sign {
    pub fn run(self) -> Result<(), Failure> {
        let config = self.configured.load(None)?;
        let names =
            || config.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
        let source = config.sources.iter().find(|source| source.name == self.source);
        let source = source.ok_or_else(|| {
            Failure::usage(format!("there is no source `{}`", self.source))
                .hint(format!("there are {}", names()))
        })?;
        let mut source = source.clone();
        for key in &mut source.keys {
            key.secret.chosen_by = Chooser::Node(SECRET_IS);
        }
        let keyring = keyring(&source, &Secrets::default())?;
        let body = self.body()?;
        let id = match self.id {
            Some(id) => id,
            None => random_id()?,
        };
        let headers = keyring.sign(&body, &id, clock::wall().0 / 1000);
        let mut lines = String::new();
        for (name, value) in headers {
            lines.push_str(&format!("{name}: {value}\n"));
        }
        output::print(lines.as_bytes())
    }

    fn body(&self) -> Result<Vec<u8>, Failure> {
        if let Some(path) = &self.file {
            return file::streamed(path, BODY_BYTES_MAX as u64).map_err(|error| {
                let told = format!("{}: {error}", path.display());
                // A body that no node takes.
                if error.kind() == std::io::ErrorKind::InvalidData {
                    Failure::usage(told)
                } else {
                    Failure::io(told)
                }
            });
        }
        let mut body = Vec::new();
        let most = BODY_BYTES_MAX as u64 + 1;
        std::io::stdin().lock().take(most).read_to_end(&mut body).map_err(Failure::io)?;
        if body.len() > BODY_BYTES_MAX {
            return Err(Failure::usage(format!(
                "the body is longer than the {BODY_BYTES_MAX} bytes a node takes"
            )));
        }
        Ok(body)
    }
}

fn random_id() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| Failure::io("the system gives no random bytes"))?;
    Ok(format!("msg_{}", faster_hex::hex_string(&bytes)))
}
