//! The flags of `gemba load`; they are a contract. Without any, they are the canonical workload: as fast as 64
//! connections go, single signed signals, a hundred tenants skewed by Zipf's law.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

use super::LoadError;
use super::plan::Mix;
use super::shape::Shape;
use crate::limits::BATCH_SIGNALS_MAX;
use crate::net::plane::Plane;
use crate::signature::Scheme;

/// Drive a node with signed signals and measure it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Data plane of the node.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub url: Plane,
    /// Operator plane of the node, for --verify.
    #[arg(long, default_value = "http://127.0.0.1:9090", value_name = "URL")]
    pub admin_url: Plane,
    /// Signals per second, whatever the answers do (open loop; latency counts from the intended start), or `max`:
    /// each connection sends when it has its answer (closed loop).
    #[arg(long, default_value = "max", value_name = "N|max")]
    pub rate: Rate,
    /// Seconds to send for.
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = positive)]
    pub duration: f64,
    /// Keep-alive connections, of all threads together.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Signals in one request; more than one is sent as a CloudEvents batch, accepted or refused as a whole.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=BATCH_SIGNALS_MAX as i64))]
    pub batch: u32,
    /// Requests under way on one connection: pipelined in HTTP/1.1, streams in HTTP/2.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub pipeline: u32,
    /// Protocol; h2 by prior knowledge, without TLS.
    #[arg(long, default_value = "h1", value_name = "PROTOCOL")]
    pub protocol: Protocol,
    /// Tenants that the signals concern.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub tenants: u32,
    /// How uneven the tenants are: exponent of Zipf's law, 0 is even.
    #[arg(long, default_value = "1.0", value_name = "S", value_parser = exponent)]
    pub skew: f64,
    /// SKUs of each tenant.
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub skus: u32,
    /// Kinds of requests by weight, such as valid=90,bad-signature=5,duplicate=3,malformed=2.
    #[arg(long, default_value = "valid=100", value_name = "MIX")]
    pub mix: Mix,
    /// How the rate moves over time.
    #[arg(long, default_value = "steady", value_name = "SHAPE")]
    pub shape: Shape,
    /// Write index.html and latency.hgrm to this directory.
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Afterwards, ask the operator plane for every accepted signal, and fail if one is lost, has another seq, was
    /// decided twice or lacks its receipt.
    #[arg(long)]
    pub verify: bool,
    /// How the source's signals are signed.
    #[arg(long, default_value = "hmac", value_name = "SCHEME")]
    pub scheme: SignatureScheme,
    /// Source to send as.
    #[arg(long, default_value = "signals", value_name = "NAME", value_parser = source)]
    pub source: String,
    /// File with the source's secret.
    #[arg(long, default_value = "data/signals.secret", value_name = "FILE")]
    pub secret_file: PathBuf,
    /// File with a token of the operator plane, for --verify.
    #[arg(long, default_value = "data/admin.token", value_name = "FILE")]
    pub admin_token_file: PathBuf,
    /// Seed of the mix, the tenants and the SKUs; random if not given, and printed.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Write how each signal ended: `acked TENANT ID SEQ 0|1` (1: a duplicate), `unknown TENANT ID`,
    /// `refused STATUS TENANT ID`. Written at the end and every 50 ms.
    #[arg(long, value_name = "FILE")]
    pub accepted_log: Option<PathBuf>,
    /// Threads that send; more only help where the node has more cores than one thread can keep busy.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// Look for answers without ever sleeping. For threads with a core of their own: waking a sleeper costs the one who
    /// wakes it, which on one machine is the node.
    #[arg(long)]
    pub spin: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// What no single flag can be wrong about.
    pub fn check(&self) -> Result<(), LoadError> {
        if self.rate == Rate::Max && self.shape != Shape::Steady {
            return Err(LoadError::Usage("a --shape needs a --rate that it can shape"));
        }
        if self.threads > self.connections {
            return Err(LoadError::Usage("each of --threads needs one of --connections"));
        }
        Ok(())
    }

    /// Path of the source on the data plane.
    #[must_use]
    pub fn path(&self) -> String {
        match self.source.as_str() {
            "signals" => "/v1/signals".to_owned(),
            other => format!("/v1/sources/{other}"),
        }
    }
}

/// `max`, or signals per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    Max,
    PerSecond(f64),
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        positive(text).map(Self::PerSecond).map_err(|_| "a rate is `max` or a number above 0")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    H1,
    H2,
}

/// Schemes that the generator can sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureScheme {
    /// `x-signature`: hex HMAC-SHA256 of the body.
    Hmac,
    /// Standard Webhooks v1; the secret has the form whsec_….
    StandardWebhooks,
}

impl From<SignatureScheme> for Scheme {
    fn from(scheme: SignatureScheme) -> Self {
        match scheme {
            SignatureScheme::Hmac => Self::Hmac,
            SignatureScheme::StandardWebhooks => Self::StandardWebhooks,
        }
    }
}

fn positive(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.filter(|number| *number <= 1e9).ok_or("must be a number above 0")
}

fn exponent(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok().filter(|number| (0.0..=10.0).contains(number));
    number.ok_or("must be a number from 0 to 10")
}

fn source(text: &str) -> Result<String, &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = !text.is_empty() && text.len() <= 64 && text.bytes().all(plain);
    fits.then(|| text.to_owned()).ok_or("must be the name of a source: letters, digits, `-`, `_`, `.`")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn parse(flags: &[&str]) -> Result<Options, String> {
        let flags = std::iter::once(&"load").chain(flags);
        Command::try_parse_from(flags).map(|command| command.options).map_err(|error| error.to_string())
    }

    #[test]
    fn without_flags_it_is_the_canonical_workload() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.url.to_string(), "http://127.0.0.1:8080");
        assert_eq!((options.rate, options.connections, options.batch), (Rate::Max, 64, 1));
        assert_eq!(options.mix.to_string(), "valid=100");
        assert_eq!(options.path(), "/v1/signals");
        options.check().unwrap();
    }

    #[test]
    fn impossible_flags_are_refused() {
        for flags in [
            ["--rate", "0"],
            ["--rate", "fast"],
            ["--duration", "-1"],
            ["--connections", "0"],
            ["--batch", "1001"],
            ["--skew", "11"],
            ["--url", "https://example.com"],
            ["--url", "http://example.com/v1/signals"],
            ["--source", "a/b"],
            ["--mix", "duplicate=1"],
        ] {
            assert!(parse(&flags).is_err(), "{flags:?}");
        }
        assert!(parse(&["--shape", "burst"]).unwrap().check().is_err());
        assert!(parse(&["--threads", "3", "--connections", "2"]).unwrap().check().is_err());
        parse(&["--shape", "burst", "--rate", "100"]).unwrap().check().unwrap();
    }
}
