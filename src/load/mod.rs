//! The bundled load generator, `gemba load`: whoever reads a figure of ours can make it again, with one command and
//! without other tools.
//!
//! It drives a node from outside, as senders do, through the two public planes; it knows nothing of the line's inside.
//! It is made to cost less than what it measures: one thread, requests patched in place of a template, no
//! allocation while it runs. It measures from the intended start of each request (no coordinated omission), checks every
//! answer against what the request deserved, and with `--verify` asks afterwards for every signal that was
//! accepted (promises P1, P2, P4).
//!
//! ```text
//!  plan + shape ▶ request (template) ▶ client ▶ h1 | h2 ▶ answers ▶ tally, ledger ▶ verify ▶ summary ▶ table, report
//! ```

mod client;
mod h1;
mod h2;
mod hgrm;
mod ledger;
mod options;
mod plan;
mod plot;
mod progress;
mod pulse;
mod report;
mod request;
mod response;
mod shape;
mod stop;
mod summary;
mod table;
mod tally;
mod verify;

#[cfg(test)]
mod tests;

use std::io;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use aws_lc_rs::hmac as mac;
use data_encoding::BASE64_NOPAD;
use rustix::time::{ClockId, clock_gettime};
use secrecy::{ExposeSecret as _, SecretSlice};
use zeroize::Zeroizing;

pub use options::{Options, Protocol, Rate, SignatureScheme};
pub use stop::{Ended, Stop};
pub use summary::{Settings, Summary};
pub use table::render;

use crate::clock;
use crate::config::secret::{Chooser, Kept, SecretRef};
use crate::config::{ConfigError, Place};
use crate::net::plane::Plane;
use crate::ring::Mark;
use crate::signature::{BadKey, Keyring};
use client::{Client, Course};
use ledger::{Ledger, Log, UNITS_MAX};
use plan::{Plan, Zipf};
use request::{Common, Signer, Template};
use response::Parsed;
use shape::Schedule;
use tally::Tally;

/// A node that is starting may take so long until it listens.
const REACHABLE_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// One address of it may take so long, so that its others are tried, and an order to stop is heard.
const ADDRESS_WITHIN: Duration = Duration::from_secs(1);
/// The operator plane may take so long to answer.
const DESK_WITHIN: Duration = Duration::from_secs(10);
/// Descriptors beside those of connections.
const DESCRIPTORS_SPARE: u64 = 64;

/// Why a run could not be made, or not be finished.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Usage(&'static str),
    #[error(
        "{flag} {path} is not there; a node of the development configuration makes it when it first starts"
    )]
    Missing { flag: &'static str, path: PathBuf },
    #[error(transparent)]
    Unreadable(ConfigError),
    #[error("{path} is no secret for this scheme: {source}")]
    Secret { path: PathBuf, source: BadKey },
    #[error("{path} is no token: it must have one line of printable ASCII")]
    Token { path: PathBuf },
    #[error("cannot find the address of {host}: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("nothing listens at {url}: {source}; is the node running?")]
    Unreachable { url: String, source: io::Error },
    #[error("the operator plane at {url} refuses the token in {path}: it answered {status}")]
    Refused { url: String, path: PathBuf, status: u16 },
    #[error("{url} is no operator plane of a node: {source}")]
    NoDesk { url: String, source: io::Error },
    #[error("{needed} descriptors are needed for --connections, and the limit of this process is {limit}")]
    Descriptors { needed: u64, limit: u64 },
    #[error("{}", .0.why())]
    Stopped(Ended),
    #[error("cannot write the log {path}: {source}")]
    Log { path: PathBuf, source: io::Error },
    #[error("cannot write the report to {path}: {source}")]
    Report { path: PathBuf, source: io::Error },
    #[error("the generator failed: {0}")]
    Io(#[from] io::Error),
}

impl LoadError {
    /// What the command exits with: 2 for usage and configuration, 3 for input and output.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Stopped(ended) => ended.exit_code(),
            Self::Usage(_)
            | Self::Missing { .. }
            | Self::Unreadable(_)
            | Self::Secret { .. }
            | Self::Token { .. }
            | Self::Refused { .. }
            | Self::Descriptors { .. } => 2,
            Self::Resolve { .. }
            | Self::Unreachable { .. }
            | Self::NoDesk { .. }
            | Self::Log { .. }
            | Self::Report { .. }
            | Self::Io(_) => 3,
        }
    }
}

/// Drives one run from its begin to its result. Prints nothing but a progress bar. What can be wrong with a flag, and
/// whether both planes answer, is found out before the first request.
pub fn run(options: &Options, stop: &Stop) -> Result<Summary, LoadError> {
    options.check()?;
    descriptors(options)?;
    let signer = signer(options)?;
    let token = options.verify.then(|| token(options)).transpose()?;
    if let Some(directory) = &options.report {
        report::check(directory)?;
    }
    let address = reach(&options.url, stop)?;
    let desk = token.map(|token| desk(options, token, stop)).transpose()?;
    if let Some(path) = &options.accepted_log {
        Log::create(path)?;
    }

    let seed = options.seed.map_or_else(random, Ok)?;
    let run = format!("{:011x}{:08x}", clock::wall().0, (seed >> 32) ^ (seed & 0xffff_ffff));
    let course = Arc::new(course(options, seed, &run, signer, stop.clone()));
    let (mut tally, ledger) = drive(options, &course, address)?;
    let mut gone = tally.wire.gone;
    let verification = match (desk, ledger) {
        (Some(desk), Some(ledger)) if !gone && !stop.is_ordered() => {
            let signals = ledger.count() as u64 * u64::from(options.batch);
            let mark = Mark::new(0);
            let (course, progress) = (Arc::clone(&course), mark.clone());
            let asking = thread::spawn(move || verify::verify(course, ledger, &desk, progress));
            progress::watch_count("verifying", signals, &mark, || asking.is_finished());
            let (found, desk_gone) = joined(asking)??;
            gone |= desk_gone;
            Some(found)
        }
        _ => None,
    };
    tally.examples.sort();
    let ended = stop.ended().or(gone.then_some(Ended::NodeGone));
    Ok(Summary::new(Settings::new(options, seed, &run), tally, verification, ended))
}

/// Writes the report, where one is asked for.
pub fn write_report(options: &Options, summary: &Summary) -> Result<(), LoadError> {
    options.report.as_deref().map_or(Ok(()), |directory| report::write(summary, directory))
}

/// Takes as many descriptors as there may be.
fn descriptors(options: &Options) -> Result<(), LoadError> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let needed = u64::from(options.connections) + DESCRIPTORS_SPARE;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).map_err(io::Error::from)?;
    match limit.current {
        Some(limit) if limit < needed => Err(LoadError::Descriptors { needed, limit }),
        Some(_) | None => Ok(()),
    }
}

/// Where a secret or a token is that the node knows.
const IS: &str =
    "name the node's own file; a node of the development configuration makes it when it first starts";

/// Reads a secret as the node does, so that what it would refuse is refused here too.
fn read(flag: &'static str, what: &str, path: &Path) -> Result<SecretSlice<u8>, LoadError> {
    if !path.exists() {
        return Err(LoadError::Missing { flag, path: path.to_owned() });
    }
    let (kept, place) = (Kept::File(path.to_owned()), Place::named(flag));
    let secret = SecretRef { kept, what: what.into(), key: flag.into(), place, chosen_by: Chooser::Node(IS) };
    secret.read().map_err(LoadError::Unreadable)
}

fn signer(options: &Options) -> Result<Signer, LoadError> {
    let path = &options.secret_file;
    let secret = read("--secret-file", "the source's secret", path)?;
    let text = secret.expose_secret();
    // The node's own check of a key.
    let bad = |source| LoadError::Secret { path: path.clone(), source };
    Keyring::new(&options.source, options.scheme.into(), &[("load", text)], 0).map_err(bad)?;
    let key = |secret: &[u8]| mac::Key::new(mac::HMAC_SHA256, secret);
    match options.scheme {
        SignatureScheme::Hmac => Ok(Signer::Hmac(key(text))),
        SignatureScheme::StandardWebhooks => {
            let code = text.strip_prefix(b"whsec_").unwrap_or(text);
            let padding = code.iter().rev().take_while(|byte| **byte == b'=').count();
            let secret =
                BASE64_NOPAD.decode(&code[..code.len() - padding]).map_err(|_| bad(BadKey::NotWhsec))?;
            Ok(Signer::StandardWebhooks(key(&Zeroizing::new(secret))))
        }
    }
}

fn token(options: &Options) -> Result<String, LoadError> {
    let path = &options.admin_token_file;
    let text = read("--admin-token-file", "the token", path)?;
    let token = text.expose_secret().trim_ascii();
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(LoadError::Token { path: path.clone() });
    }
    Ok(String::from_utf8_lossy(token).into_owned())
}

/// Finds the operator plane, and asks it for something to see that it takes the token.
fn desk(options: &Options, token: String, stop: &Stop) -> Result<verify::Desk, LoadError> {
    let url = &options.admin_url;
    let address = reach(url, stop)?;
    let desk = verify::Desk { address, host: url.authority(), token };
    match asked(&desk) {
        Ok(status @ (401 | 403)) => {
            Err(LoadError::Refused { url: url.to_string(), path: options.admin_token_file.clone(), status })
        }
        Ok(_) => Ok(desk),
        Err(source) => Err(LoadError::NoDesk { url: url.to_string(), source }),
    }
}

/// What the plane answers to a question about a signal that nobody sent.
fn asked(desk: &verify::Desk) -> io::Result<u16> {
    let mut socket = TcpStream::connect_timeout(&desk.address, DESK_WITHIN)?;
    socket.set_read_timeout(Some(DESK_WITHIN))?;
    socket.set_write_timeout(Some(DESK_WITHIN))?;
    socket.write_all(b"GET /v1/signals/tenant-0/none")?;
    socket.write_all(&desk.head())?;
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match response::parse(&text) {
            Parsed::Whole(answer) => return Ok(answer.status),
            Parsed::Broken => return Err(io::Error::other("its answer cannot be read")),
            Parsed::Partial => {}
        }
        match socket.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => text.extend_from_slice(&piece[..count]),
        }
    }
}

/// Waits until the node listens, at whichever of its addresses.
fn reach(url: &Plane, stop: &Stop) -> Result<SocketAddr, LoadError> {
    let unresolved = |source| LoadError::Resolve { host: url.host().to_owned(), source };
    let begun = clock::now();
    loop {
        match reachable(&url.resolve().map_err(unresolved)?, stop)? {
            Ok(address) => return Ok(address),
            Err(source) if clock::now() - begun >= REACHABLE_WITHIN => {
                return Err(LoadError::Unreachable { url: url.to_string(), source });
            }
            Err(_) => thread::sleep(LOOK_AGAIN),
        }
    }
}

/// The first address at which something listens, or what the last one said.
fn reachable(addresses: &[SocketAddr], stop: &Stop) -> Result<io::Result<SocketAddr>, LoadError> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        if let Some(ended) = stop.ended() {
            return Err(LoadError::Stopped(ended));
        }
        match TcpStream::connect_timeout(address, ADDRESS_WITHIN) {
            Ok(_) => return Ok(Ok(*address)),
            Err(error) => last = error,
        }
    }
    Ok(Err(last))
}

fn random() -> Result<u64, LoadError> {
    let mut seed = [0; 8];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| io::Error::other("no randomness for a seed"))?;
    // Short enough that every reader of JSON keeps all its digits.
    Ok(u64::from_le_bytes(seed) >> 11)
}

fn course(options: &Options, seed: u64, run: &str, signer: Signer, stop: Stop) -> Course {
    let (host, path, time) = (options.url.authority(), options.path(), now_text());
    let common = Common {
        host: &host,
        path: &path,
        run,
        time: &time,
        batch: options.batch,
        tenants: options.tenants,
        skus: options.skus,
    };
    let zipf = Zipf::new(options.tenants, options.skew);
    let schedule = match options.rate {
        Rate::Max => None,
        Rate::PerSecond(rate) => {
            Some(Schedule::new(options.shape, rate / f64::from(options.batch), options.duration))
        }
    };
    Course {
        plan: Plan::new(seed, options.batch, options.mix, zipf, options.skus),
        template: Template::new(&common, signer),
        schedule,
        duration: Duration::from_secs_f64(options.duration),
        threads: u64::from(options.threads),
        strict: options.verify || options.accepted_log.is_some(),
        stop,
    }
}

/// Now, in RFC 3339 to the second.
fn now_text() -> String {
    let seconds = i64::try_from(clock::wall().0 / 1000).unwrap_or_default();
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

/// Runs the threads and adds up what they found.
fn drive(
    options: &Options,
    course: &Arc<Course>,
    address: SocketAddr,
) -> Result<(Tally, Option<Ledger>), LoadError> {
    let mut sending = Vec::new();
    let mut marks = Vec::new();
    for index in 0..options.threads {
        let mark = Mark::new(0);
        marks.push(mark.clone());
        let tally = Tally::new().map_err(io::Error::other)?;
        let ledger = options.verify.then(|| Ledger::new(UNITS_MAX / options.threads as usize));
        let log = options.accepted_log.as_deref().map(Log::open);
        let client = Client::new(
            Arc::clone(course),
            client::Share { index: u64::from(index), tally, ledger, log: log.transpose()?, progress: mark },
        );
        let share =
            options.connections / options.threads + u32::from(index < options.connections % options.threads);
        let way = Way {
            protocol: options.protocol,
            address,
            uri: format!("http://{}{}", options.url.authority(), options.path()),
            connections: share as usize,
            depth: options.pipeline as usize,
            spin: options.spin,
        };
        let name = format!("load-{index}");
        sending.push(thread::Builder::new().name(name).spawn(move || send(client, &way))?);
    }
    let finished = || sending.iter().all(thread::JoinHandle::is_finished);
    progress::watch_time(course.duration, &marks, finished);
    let mut sum = Tally::new().map_err(io::Error::other)?;
    let mut all = options.verify.then(|| Ledger::new(UNITS_MAX));
    for thread in sending {
        let (tally, ledger) = joined(thread)??;
        sum.add(tally);
        if let (Some(all), Some(ledger)) = (&mut all, ledger) {
            all.add(ledger);
        }
    }
    Ok((sum, all))
}

/// How a thread's requests travel.
struct Way {
    protocol: Protocol,
    address: SocketAddr,
    uri: String,
    connections: usize,
    depth: usize,
    spin: bool,
}

/// One thread.
fn send(mut client: Client, way: &Way) -> io::Result<(Tally, Option<Ledger>)> {
    let wire;
    match way.protocol {
        Protocol::H1 => wire = h1::drive(&mut client, way.address, way.connections, way.depth, way.spin)?,
        Protocol::H2 => {
            let uri = way.uri.parse().map_err(io::Error::other)?;
            (client, wire) = h2::drive(client, way.address, uri, way.connections, way.depth, way.spin)?;
        }
    }
    let early = wire.gone || client.is_stopped();
    let (mut tally, ledger) = client.finish(early);
    tally.wire.add(wire);
    let cpu = clock_gettime(ClockId::ThreadCPUTime);
    tally.cpu_nanos = u64::try_from(cpu.tv_sec * 1_000_000_000 + cpu.tv_nsec).unwrap_or_default();
    Ok((tally, ledger))
}

fn joined<T>(thread: thread::JoinHandle<T>) -> Result<T, LoadError> {
    thread.join().map_err(|_| LoadError::Io(io::Error::other("a thread of the generator panicked")))
}
