//! The oracles on a real data directory whose line has stopped: `checker DATA_DIR CLIENT_LOG [options]`.
//!
//! The client's log has lines `acked TENANT ID SEQ 0|1` (1 for a repeat; SEQ 0 where the answer named none),
//! `unknown TENANT ID`, `refused STATUS TENANT ID` and `ordered SEQ` (what an operator was told of an order). The rules
//! are those of the journal. Options: `--vkey KEY` (the log's key, to verify its checkpoints), `--ended` (the line ended
//! in order: nothing may be pending), `--secret FILE` (must stand in no file; may be repeated). Exit 0: all hold. 1: one
//! does not, and the output names it. 2: usage. 3: something cannot be read.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it wants")]

// An example is not told where the program is, so it takes this part of the support alone.
#[path = "../support/oracles/mod.rs"]
mod oracles;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use gemba::case::{CaseFilter, CaseId};
use gemba::disk::{DataLock, Disk, RealDisk};
use gemba::event::Seq;
use gemba::jidoka::store::{Embedded, StateStore};
use gemba::line::recovery::state_dir;
use oracles::{Acked, Clients, Evidence, Failure, Stored, Summary};

struct Options {
    data_dir: PathBuf,
    client_log: PathBuf,
    vkey: Option<String>,
    ended: bool,
    secrets: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("usage: checker DATA_DIR CLIENT_LOG [--vkey KEY] [--ended] [--secret FILE]…");
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(summary) => {
            println!("all hold: {summary:?}");
            ExitCode::SUCCESS
        }
        Err(failure @ Failure::Violation { .. }) => {
            println!("violated: {failure}");
            ExitCode::from(1)
        }
        Err(Failure::Unreadable(why)) => {
            eprintln!("{why}");
            ExitCode::from(3)
        }
    }
}

fn options() -> Option<Options> {
    let mut words = std::env::args().skip(1);
    let mut options = Options {
        data_dir: words.next()?.into(),
        client_log: words.next()?.into(),
        vkey: None,
        ended: false,
        secrets: Vec::new(),
    };
    while let Some(option) = words.next() {
        match option.as_str() {
            "--ended" => options.ended = true,
            "--vkey" => options.vkey = Some(words.next()?),
            "--secret" => options.secrets.push(words.next()?.into()),
            _ => return None,
        }
    }
    Some(options)
}

fn run(options: &Options) -> Result<Summary, Failure> {
    if !options.data_dir.is_dir() {
        return Err(Failure::Unreadable(format!("{} is not a directory", options.data_dir.display())));
    }
    let _lock = DataLock::take(&options.data_dir).map_err(|error| Failure::Unreadable(error.to_string()))?;
    let text = std::fs::read_to_string(&options.client_log).map_err(in_file(&options.client_log))?;
    let clients = clients(&text)?;
    let stored = stored(&options.data_dir)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let summary = oracles::check(&Evidence {
        disk: &disk,
        data_dir: &options.data_dir,
        stored: &stored,
        clients: &clients,
        vkey: options.vkey.as_deref(),
        every_checkpoint: true,
        ended: options.ended,
    })?;
    for secret in &options.secrets {
        let secret = std::fs::read(secret).map_err(in_file(secret))?;
        absent(secret.trim_ascii(), &options.data_dir.join("journal"))?;
        absent(secret.trim_ascii(), &options.data_dir.join("log"))?;
        absent(secret.trim_ascii(), &options.data_dir.join("state"))?;
    }
    Ok(summary)
}

fn in_file(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let path = path.display().to_string();
    move |error| Failure::Unreadable(format!("{path}: {error}"))
}

fn clients(text: &str) -> Result<Clients, Failure> {
    let mut clients = Clients::default();
    for (line, words) in (1..).zip(text.lines().map(|line| line.split(' ').collect::<Vec<_>>())) {
        let name = |tenant: &str, id: &str| (tenant.to_owned(), id.to_owned());
        let number = |text: &str| {
            let seq = text.parse().map(Seq);
            seq.map_err(|_| Failure::Unreadable(format!("line {line}: not a number: {text}")))
        };
        match words.as_slice() {
            ["acked", tenant, id, seq, "0" | "1"] => {
                let seq = Some(number(seq)?).filter(|seq| seq.0 > 0);
                clients.acked.push(Acked { name: name(tenant, id), seq });
            }
            ["unknown", tenant, id] => drop(clients.unknown.insert(name(tenant, id))),
            ["refused", _status, tenant, id] => drop(clients.refused.insert(name(tenant, id))),
            ["ordered", seq] => clients.ordered.push(number(seq)?),
            [] | [""] => {}
            other => {
                let other = other.join(" ");
                return Err(Failure::Unreadable(format!("line {line} of the client's log is none: {other}")));
            }
        }
    }
    Ok(clients)
}

fn stored(data_dir: &Path) -> Result<Stored, Failure> {
    let dir = state_dir(data_dir);
    let mut stored = Stored::default();
    if !dir.is_dir() {
        return Ok(stored);
    }
    let unreadable = |error: &dyn std::fmt::Display| Failure::Unreadable(error.to_string());
    let store = Embedded::open(&dir).map_err(|error| unreadable(&error))?;
    let loaded = store.load(&mut |governor| {
        let mut row = Vec::new();
        governor.encode(&mut row);
        stored.rows.insert(governor.key().as_bytes().to_vec(), row);
    });
    let loaded = loaded.map_err(|error| unreadable(&error))?;
    let found = store.cases().search(&CaseFilter::default(), Seq(0), usize::MAX);
    let found = found.map_err(|error| unreadable(&error))?;
    stored.cases = found.page.into_iter().map(|case| (CaseId(Seq(case.seq)), case)).collect();
    (stored.watermark, stored.rules) = (loaded.watermark, loaded.rules);
    Ok(stored)
}

/// O10: what must stay secret stands in no file under `dir`.
fn absent(secret: &[u8], dir: &Path) -> Result<(), Failure> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(()) };
    for entry in entries {
        let path = entry.map_err(in_file(dir))?.path();
        if path.is_dir() {
            absent(secret, &path)?;
            continue;
        }
        let content = std::fs::read(&path).map_err(in_file(&path))?;
        if !secret.is_empty() && content.windows(secret.len()).any(|window| window == secret) {
            return Err(Failure::Violation {
                oracle: "O10",
                detail: format!("{} holds a secret", path.display()),
            });
        }
    }
    Ok(())
}
