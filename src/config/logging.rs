//! `[logging]`: what a node tells of itself, and where.

use std::path::PathBuf;

use tracing::level_filters::LevelFilter;

use super::layer::{self, LogContent, LogFormat, LogReceipts, SyslogFraming, SyslogTransport};
use super::layers::{Layers, Set, optional, place_of, set};
use super::opentelemetry::TlsFiles;
use crate::limits::LOG_FILES_MAX;
use crate::logging::{self, FACILITIES, Filter, WrongFilter};
use crate::place::{ConfigError, Place};

/// What is logged, how, and where beside standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    pub filter: Filter,
    /// Standard error shows no more than this, whatever the levels let through.
    pub stderr: LevelFilter,
    pub format: LogFormat,
    pub files: Vec<LogFile>,
    pub syslog: Option<Syslog>,
}

/// A file, and those that it wraps through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    pub path: PathBuf,
    pub content: LogContent,
    /// Of the content `audit`.
    pub receipts: LogReceipts,
    pub max_bytes: u64,
    pub max_files: u32,
    pub place: Place,
}

/// A receiver of syslog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    pub transport: SyslogTransport,
    pub address: String,
    pub facility: u8,
    pub app_name: String,
    pub framing: SyslogFraming,
    pub tls: TlsFiles,
    pub place: Place,
}

/// What a file holds where nothing else is said: those of the reference architecture.
const MAX_BYTES: u32 = 100 << 20;
const MAX_FILES: u32 = 10;

fn file(set: Option<Set<layer::FilePath>>) -> Option<(PathBuf, Place)> {
    set.map(|set| (set.value.0, set.place))
}

fn wrong_level(set: &Set<String>, wrong: WrongFilter) -> ConfigError {
    ConfigError::new(&set.place, format!("`{}`: {}", set.key, wrong.what)).hint(wrong.hint)
}

impl Layers {
    pub(super) fn logging(&self) -> Result<Logging, ConfigError> {
        let level = self.or(|l| &l.logging.level, "logging.level", "info".into());
        let filter = Filter::parse(&level.value).map_err(|wrong| wrong_level(&level, wrong))?;
        let stderr = self.or(|l| &l.logging.stderr_level, "logging.stderr_level", "trace".into());
        let stderr = logging::level(&stderr.value).map_err(|wrong| wrong_level(&stderr, wrong))?;
        let format = self.or(|l| &l.logging.format, "logging.format", LogFormat::Auto).value;
        Ok(Logging { filter, stderr, format, files: self.log_files()?, syslog: self.syslog()? })
    }

    fn log_files(&self) -> Result<Vec<LogFile>, ConfigError> {
        let mut files: Vec<LogFile> = Vec::new();
        for (text, table) in self.tables(|l| &l.logging.file) {
            let layer::LogFile { path, content, receipts, max_bytes, max_files } = table.get_ref();
            let place = place_of(text, table);
            let path = set(text, path).value.0;
            if files.iter().any(|other| other.path == path) {
                let what = format!("{} is written twice", path.display());
                return Err(ConfigError::new(&place, what).hint("give each file a path of its own"));
            }
            let content = optional(text, content.as_ref()).map_or(LogContent::All, |set| set.value);
            let receipts = optional(text, receipts.as_ref());
            if let Some(set) = receipts.as_ref().filter(|_| content != LogContent::Audit) {
                let what = "`receipts` means nothing without `content = \"audit\"`";
                return Err(ConfigError::new(&set.place, what).hint("remove it, or write that content"));
            }
            files.push(LogFile {
                path,
                content,
                receipts: receipts.map_or(LogReceipts::All, |set| set.value),
                max_bytes: optional(text, max_bytes.as_ref()).map_or(MAX_BYTES, |set| set.value.0).into(),
                max_files: optional(text, max_files.as_ref()).map_or(MAX_FILES, |set| set.value.0),
                place,
            });
        }
        match files.get(LOG_FILES_MAX) {
            Some(beyond) => Err(ConfigError::new(
                &beyond.place,
                format!("there are more than {LOG_FILES_MAX} files of the log"),
            )),
            None => Ok(files),
        }
    }

    fn syslog(&self) -> Result<Option<Syslog>, ConfigError> {
        let Some(transport) = self.find(|l| &l.logging.syslog.transport) else { return self.no_syslog() };
        let place = transport.place;
        let usual = match transport.value {
            SyslogTransport::Unix => Some("/dev/log"),
            SyslogTransport::Udp | SyslogTransport::Tcp | SyslogTransport::Tls => None,
        };
        let address = self.find(|l| &l.logging.syslog.address).map(|set| set.value);
        let address = address.or_else(|| usual.map(str::to_owned)).ok_or_else(|| {
            ConfigError::new(&place, "`logging.syslog.address` is missing").hint("write host:port")
        })?;
        let is_named = address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if transport.value != SyslogTransport::Unix && !is_named {
            return Err(ConfigError::new(
                &place,
                format!("`{address}` is not a host and port, such as logs.example.com:6514"),
            ));
        }
        let facility = self.or(|l| &l.logging.syslog.facility, "logging.syslog.facility", "local0".into());
        let facility = facility.map(|name| {
            let at = FACILITIES.iter().position(|known| *known == name);
            let at = at.and_then(|at| u8::try_from(at).ok());
            at.ok_or_else(|| format!("`{name}` is not a facility: {}", FACILITIES.join(", ")))
        })?;
        let app_name = self.or(|l| &l.logging.syslog.app_name, "logging.syslog.app_name", "gemba".into());
        let app_name = app_name.map(|name| {
            let fits = (1..=48).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
            if fits {
                Ok(name)
            } else {
                Err("it has 1 to 48 printable characters (RFC 5424, 6.2.5)".to_owned())
            }
        })?;
        let framing =
            self.or(|l| &l.logging.syslog.framing, "logging.syslog.framing", SyslogFraming::OctetCounting);
        let tls = TlsFiles {
            ca: file(self.find(|l| &l.logging.syslog.ca_file)),
            cert: file(self.find(|l| &l.logging.syslog.cert_file)),
            key: file(self.find(|l| &l.logging.syslog.key_file)),
        }
        .whole()?;
        if transport.value != SyslogTransport::Tls
            && let Some((_, place)) = tls.ca.as_ref().or(tls.cert.as_ref())
        {
            return Err(ConfigError::new(place, "files of TLS mean nothing without `transport = \"tls\"`"));
        }
        let (transport, framing) = (transport.value, framing.value);
        Ok(Some(Syslog { transport, address, facility, app_name, framing, tls, place }))
    }

    /// Nobody believes in keys that do nothing.
    fn no_syslog(&self) -> Result<Option<Syslog>, ConfigError> {
        let address = self.find(|l| &l.logging.syslog.address);
        match address {
            Some(address) => Err(ConfigError::new(&address.place, "`logging.syslog.transport` is missing")
                .hint("write unix, udp, tcp or tls")),
            None => Ok(None),
        }
    }
}
