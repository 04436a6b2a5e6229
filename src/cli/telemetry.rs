//! Where telemetry goes, in the line's terms.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use hyper::Uri;
use hyper::header::HeaderValue;
use secrecy::ExposeSecret as _;

use crate::config::secret::{Chooser, Kept, SecretRef};
use crate::config::{
    self, Config, ConfigError, LogContent, LogFile, LogFormat, Login, NodeRole, OpenTelemetry, OtlpProtocol,
    Place, Prometheus, Secrets, Syslog, SyslogFraming, SyslogTransport, TlsFiles,
};
use crate::kaizen::otlp::Teller;
use crate::kaizen::remote_write::Version;
use crate::line::live::Telemetry;
use crate::line::{remote_write, traces};
use crate::logging::{self, Content, Destination, FilePlan, Format, Framing, SyslogPlan, Transport};
use crate::net::client_tls::{ClientFiles, ClientTls};
use crate::net::{otlp, tls};

/// All of it.
pub fn telemetry(config: &Config, secrets: &Secrets) -> Result<Telemetry, ConfigError> {
    let traces = config.opentelemetry.as_ref().map(|section| traces(section, config));
    let remote_write = config.prometheus.as_ref().map(|section| remote_write(section, secrets));
    Ok(Telemetry {
        traces: traces.transpose()?,
        remote_write: remote_write.transpose()?,
        configuration: config.effective.fingerprint(),
    })
}

/// Where events go beside standard error, by the keys that say so.
pub type Destinations = BTreeMap<String, Arc<Destination>>;

/// Adds the files that events go to; each that is not `known` has a thread from here on.
pub fn log_files(
    config: &Config,
    known: &impl Fn(&str) -> Option<Arc<Destination>>,
    all: &mut Destinations,
) -> Result<(), ConfigError> {
    for file in &config.logging.files {
        let content = match file.content {
            LogContent::All => Content::All,
            LogContent::Tls => Content::Tls,
            LogContent::Audit => continue,
        };
        let wrong =
            |error: io::Error| ConfigError::new(&file.place, format!("{}: {error}", file.path.display()));
        let key = config::log_file_key(&file.path);
        let destination = if let Some(known) = known(&key) {
            known
        } else {
            let LogFile { path, max_bytes, max_files, .. } = file.clone();
            let writer = logging::LogFile::new(FilePlan { path, max_bytes, max_files }).map_err(wrong)?;
            Destination::start("log-file", "logs", content, writer).map_err(wrong)?
        };
        all.insert(key, destination);
    }
    Ok(())
}

/// Adds the receiver of syslog. What is told of its certificate goes to the files.
pub fn syslog_receiver(
    config: &Config,
    known: &impl Fn(&str) -> Option<Arc<Destination>>,
    all: &mut Destinations,
) -> Result<(), ConfigError> {
    let Some(section) = &config.logging.syslog else { return Ok(()) };
    let key = "logging.syslog".to_owned();
    let destination = if let Some(known) = known(&key) {
        known
    } else {
        let writer = logging::Syslog::new(syslog(section, &config.name)?);
        Destination::start("syslog", "syslog", Content::All, writer)
            .map_err(|error| ConfigError::new(&section.place, error.to_string()))?
    };
    all.insert(key, destination);
    Ok(())
}

/// What is logged, and how.
pub fn log_settings(config: &Config) -> logging::Settings {
    logging::Settings {
        filter: config.logging.filter.clone(),
        stderr: config.logging.stderr,
        format: match config.logging.format {
            LogFormat::Auto => Format::of_stderr(),
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        },
    }
}

fn syslog(section: &Syslog, node: &str) -> Result<SyslogPlan, ConfigError> {
    let address = section.address.clone();
    let transport = match section.transport {
        SyslogTransport::Unix => Transport::Unix(address.into()),
        SyslogTransport::Udp => Transport::Udp(address),
        SyslogTransport::Tcp => Transport::Tcp(address),
        SyslogTransport::Tls => {
            let tls = client_tls(&section.tls, "syslog", &[])?;
            Transport::Tls(address, Arc::new(move || tls.current()))
        }
    };
    // The machine's name; one that cannot stand there is not one (RFC 5424, 6.2.4).
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host =
        Some(host.trim()).filter(|host| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic()));
    Ok(SyslogPlan {
        transport,
        framing: match section.framing {
            SyslogFraming::OctetCounting => Framing::OctetCounting,
            SyslogFraming::Lf => Framing::LineFeed,
        },
        facility: section.facility,
        app_name: section.app_name.clone(),
        host: host.unwrap_or(node).to_owned(),
    })
}

/// Where samples go.
fn remote_write(section: &Prometheus, secrets: &Secrets) -> Result<Arc<remote_write::Plan>, ConfigError> {
    let secure = section.url.scheme_str() == Some("https");
    let tls = secure.then(|| client_tls(&section.tls, "remote write", tls::HTTP)).transpose()?;
    let value = |secret: &SecretRef, text: Vec<u8>| {
        let value = HeaderValue::from_maybe_shared(Bytes::from(text));
        let mut value = value.map_err(|_| secret.wrong("it cannot stand in a header field"))?;
        value.set_sensitive(true);
        Ok::<_, ConfigError>(value)
    };
    let authorization = match &section.login {
        Login::None => None,
        Login::Bearer(secret) => {
            Some(value(secret, [b"Bearer ", secrets.get(secret)?.expose_secret()].concat())?)
        }
        Login::Basic { username, password } => {
            let both = [username.as_bytes(), b":", secrets.get(password)?.expose_secret()].concat();
            Some(value(password, format!("Basic {}", BASE64.encode(&both)).into_bytes())?)
        }
    };
    Ok(Arc::new(remote_write::Plan {
        url: section.url.clone(),
        version: if section.only_first_version { Version::One } else { Version::Two },
        interval: section.interval,
        authorization,
        labels: section.labels.clone(),
        tls: tls.map(Arc::new),
    }))
}

/// Which signals are traced, and where that is told.
fn traces(traces: &OpenTelemetry, config: &Config) -> Result<Arc<traces::Plan>, ConfigError> {
    let protocols: &[&[u8]] = match traces.protocol {
        OtlpProtocol::Http => tls::HTTP,
        OtlpProtocol::Grpc => &[tls::H2],
    };
    let is_secure = traces.endpoints.iter().any(|url| url.scheme_str() == Some("https"));
    let tls = if is_secure { Some(Arc::new(client_tls(&traces.tls, "traces", protocols)?)) } else { None };
    let receiver = |url: &Uri| {
        let tls = tls.clone().filter(|_| url.scheme_str() == Some("https"));
        let OpenTelemetry { protocol, gzip, timeout, .. } = *traces;
        let headers = traces.headers.iter().cloned().collect();
        Arc::new(otlp::Settings { url: url.clone(), protocol, headers, gzip, timeout, tls })
    };
    let role = match config.role {
        NodeRole::All => "all",
        NodeRole::Edge => "edge",
        NodeRole::Processor => "processor",
    };
    Ok(Arc::new(traces::Plan {
        ratio: traces.ratio,
        trusts: traces.trusts,
        slow: traces.slow,
        logs: traces.log,
        receivers: traces.endpoints.iter().map(receiver).collect(),
        teller: Teller::new(&traces.service, &config.name, role, &traces.attributes),
        batch_size: traces.batch_size,
        queue_size: traces.max_queue_size,
        delay: traces.delay,
    }))
}

/// TLS towards a receiver of telemetry.
fn client_tls(
    files: &TlsFiles,
    whom: &str,
    protocols: &'static [&'static [u8]],
) -> Result<ClientTls, ConfigError> {
    let identity = files.cert.clone().zip(files.key.clone()).map(|(cert, (path, place))| {
        let what = format!("the key of the client certificate for {whom}");
        let kept = Kept::File(path);
        (cert, SecretRef { kept, what, key: "key_file".into(), place, chosen_by: Chooser::Peer })
    });
    let place = Place::named(whom);
    ClientTls::new(ClientFiles { ca: files.ca.clone(), identity, protocols, whom: whom.into(), place })
}
