//! `[opentelemetry]`: where traces go, and which signals are traced. What the section leaves open, the variables of the
//! OpenTelemetry specification say: `OTEL_*`, each read where a key of ours stands for it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

use super::layer::{ClientTls, Key, Layer, OtlpProtocol, Profile};
use super::layers::{Layers, Set};
use crate::limits::{OTLP_ENDPOINTS_MAX, OTLP_HEADERS_MAX};
use crate::place::{ConfigError, Place};

/// Where traces go, and which signals are traced.
#[derive(Clone)]
pub struct OpenTelemetry {
    /// Each span is an event of the log, too.
    pub log: bool,
    /// The first takes them; each later one where those before it do not.
    pub endpoints: Vec<Uri>,
    pub protocol: OtlpProtocol,
    pub tls: TlsFiles,
    /// Of every request. They may be secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub gzip: bool,
    /// Spans of one request.
    pub batch_size: usize,
    /// Spans that wait at most.
    pub max_queue_size: usize,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long a span waits for others to fill a request.
    pub delay: Duration,
    /// The share of requests that is traced, where no sender says which.
    pub ratio: f64,
    pub trusts: bool,
    /// What takes longer is traced in any case; `None`: nothing is.
    pub slow: Option<Duration>,
    pub service: String,
    /// What else is said of this node.
    pub attributes: Vec<(String, String)>,
}

/// Files of a client that speaks TLS, each with its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    pub ca: Option<(PathBuf, Place)>,
    pub cert: Option<(PathBuf, Place)>,
    pub key: Option<(PathBuf, Place)>,
}

impl TlsFiles {
    /// A certificate has a key, and a key a certificate.
    pub(super) fn whole(self) -> Result<Self, ConfigError> {
        match (&self.cert, &self.key) {
            (Some((_, place)), None) => Err(ConfigError::new(place, "the client's certificate has no key")
                .hint("set `key_file` beside it")),
            (None, Some((_, place))) => Err(ConfigError::new(place, "the client's key has no certificate")
                .hint("set `cert_file` beside it")),
            (Some(_), Some(_)) | (None, None) => Ok(self),
        }
    }
}

impl std::fmt::Debug for OpenTelemetry {
    /// URLs and headers may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenTelemetry").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

/// What the specification gives where nothing else is said.
const BATCH_SIZE: u32 = 512;
const QUEUE_SIZE: u32 = 2048;
const TIMEOUT_MS: u32 = 30_000;
const DELAY_MS: u32 = 5000;
const SLOW_MS: u32 = 1000;
const SERVICE: &str = "gemba";
/// Where signals for this signal kind go, below an endpoint over HTTP.
const TRACES_PATH: &str = "v1/traces";

/// Variables of the specification, in the order in which they are asked.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl Variables<'_> {
    /// The first of these that is set.
    fn first(&self, names: &[&'static str]) -> Result<Option<(&'static str, String)>, ConfigError> {
        for name in names {
            if let Some(value) = (self.0)(name) {
                let value = value.into_string().map_err(|_| wrong(name, "its value is not UTF-8"))?;
                if !value.trim().is_empty() {
                    return Ok(Some((name, value.trim().to_owned())));
                }
            }
        }
        Ok(None)
    }

    fn number(&self, names: &[&'static str]) -> Result<Option<u32>, ConfigError> {
        let Some((name, value)) = self.first(names)? else { return Ok(None) };
        let number = value.parse().ok().filter(|number| *number > 0);
        number.map(Some).ok_or_else(|| wrong(name, &format!("`{value}` is not a number above 0")))
    }

    fn file(&self, names: &[&'static str]) -> Result<Option<(PathBuf, Place)>, ConfigError> {
        Ok(self.first(names)?.map(|(name, value)| (value.into(), Place::named(name))))
    }
}

fn wrong(name: &str, what: &str) -> ConfigError {
    ConfigError::new(&Place::named(name), what.to_owned())
}

impl Layers {
    /// `None`: nothing is traced.
    pub(super) fn opentelemetry(
        &self,
        profile: Profile,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Option<OpenTelemetry>, ConfigError> {
        let variables = Variables(variable);
        let is = |name: &'static str, word: &str| {
            Ok::<_, ConfigError>(
                variables.first(&[name])?.is_some_and(|(_, value)| value.eq_ignore_ascii_case(word)),
            )
        };
        if is("OTEL_SDK_DISABLED", "true")? || is("OTEL_TRACES_EXPORTER", "none")? {
            return Ok(None);
        }
        let to_console = is("OTEL_TRACES_EXPORTER", "console")?;
        let log = self.or(|l| &l.opentelemetry.log, "opentelemetry.log", to_console).value;
        let protocol = self.protocol(&variables)?;
        let endpoints = self.endpoints(protocol, &variables)?;
        if endpoints.is_empty() && !log {
            return Ok(None);
        }
        let number = |own: Option<u32>, names: &[&'static str], default| {
            Ok::<_, ConfigError>(own.or(variables.number(names)?).unwrap_or(default))
        };
        let batch = self.find(|l| &l.opentelemetry.batch_size);
        let batch_size =
            number(batch.as_ref().map(|set| set.value.0), &["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"], BATCH_SIZE)?;
        let queue = self.find(|l| &l.opentelemetry.max_queue_size);
        let max_queue_size =
            number(queue.as_ref().map(|set| set.value.0), &["OTEL_BSP_MAX_QUEUE_SIZE"], QUEUE_SIZE)?;
        if batch_size > max_queue_size {
            let place = batch
                .or(queue)
                .map_or_else(|| Place::named("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"), |set| set.place);
            let what =
                format!("a request of {batch_size} spans does not fit into a queue of {max_queue_size}");
            return Err(ConfigError::new(&place, what).hint("set `batch_size` to at most `max_queue_size`"));
        }
        let timeout = number(
            self.find(|l| &l.opentelemetry.timeout_ms).map(|set| set.value.0),
            &["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_BSP_EXPORT_TIMEOUT"],
            TIMEOUT_MS,
        )?;
        let delay = number(
            self.find(|l| &l.opentelemetry.delay_ms).map(|set| set.value.0),
            &["OTEL_BSP_SCHEDULE_DELAY"],
            DELAY_MS,
        )?;
        let (ratio, trusts) = self.sampler(profile, &variables)?;
        let slow = self.number(|l| &l.opentelemetry.slow_ms, SLOW_MS);
        let mut attributes = attributes(&variables)?;
        let named = attributes.iter().position(|(name, _)| name == "service.name");
        let named = named.map(|at| attributes.remove(at).1);
        let service = match variables.first(&["OTEL_SERVICE_NAME"])? {
            Some((_, service)) => service,
            None => named.unwrap_or_else(|| SERVICE.into()),
        };
        let named = TlsFiles {
            ca: variables
                .file(&["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"])?,
            cert: variables.file(&[
                "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            ])?,
            key: variables
                .file(&["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"])?,
        };
        let tls = self.tls_files(|l| &l.opentelemetry.tls, named)?;
        Ok(Some(OpenTelemetry {
            log,
            endpoints,
            protocol,
            tls,
            headers: headers(&variables)?,
            gzip: gzip(&variables)?,
            batch_size: batch_size as usize,
            max_queue_size: max_queue_size as usize,
            timeout: Duration::from_millis(timeout.into()),
            delay: Duration::from_millis(delay.into()),
            ratio,
            trusts,
            slow: (slow > 0).then(|| Duration::from_millis(slow.into())),
            service,
            attributes,
        }))
    }

    fn protocol(&self, variables: &Variables<'_>) -> Result<OtlpProtocol, ConfigError> {
        if let Some(set) = self.find(|l| &l.opentelemetry.protocol) {
            return Ok(set.value);
        }
        let names = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
        let Some((name, value)) = variables.first(&names)? else { return Ok(OtlpProtocol::Http) };
        match value.as_str() {
            "http/protobuf" => Ok(OtlpProtocol::Http),
            "grpc" => Ok(OtlpProtocol::Grpc),
            other => {
                let what = format!("`{other}` is not a protocol that traces are sent by");
                Err(wrong(name, &what).hint("write http/protobuf or grpc"))
            }
        }
    }

    /// A request goes to exactly these.
    fn endpoints(&self, protocol: OtlpProtocol, variables: &Variables<'_>) -> Result<Vec<Uri>, ConfigError> {
        if let Some(set) = self.find(|l| &l.opentelemetry.endpoints) {
            let fits = (1..=OTLP_ENDPOINTS_MAX).contains(&set.value.len());
            return set.map(|texts| {
                if !fits {
                    return Err(format!(
                        "1 to {OTLP_ENDPOINTS_MAX} endpoints are named, not {}",
                        texts.len()
                    ));
                }
                texts.iter().map(|text| endpoint(text, protocol, true)).collect()
            });
        }
        // That of traces alone is used as it is; the other one is a base.
        let exact = variables.first(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])?.map(|found| (found, false));
        let base = variables.first(&["OTEL_EXPORTER_OTLP_ENDPOINT"])?.map(|found| (found, true));
        let Some(((name, text), is_base)) = exact.or(base) else { return Ok(Vec::new()) };
        endpoint(&text, protocol, is_base).map(|endpoint| vec![endpoint]).map_err(|what| wrong(name, &what))
    }

    /// The share of requests, and whether a sender's trace goes on.
    fn sampler(&self, profile: Profile, variables: &Variables<'_>) -> Result<(f64, bool), ConfigError> {
        let (mut ratio, mut trusts) = (if profile == Profile::Dev { 1.0 } else { 0.01 }, true);
        if let Some((name, sampler)) = variables.first(&["OTEL_TRACES_SAMPLER"])? {
            let argument = match variables.first(&["OTEL_TRACES_SAMPLER_ARG"])? {
                None => 1.0,
                Some((name, text)) => text
                    .parse()
                    .ok()
                    .filter(|ratio| (0.0..=1.0).contains(ratio))
                    .ok_or_else(|| wrong(name, &format!("`{text}` is not a share from 0 to 1")))?,
            };
            let (parent, rest) = match sampler.strip_prefix("parentbased_") {
                Some(rest) => (true, rest),
                None => (false, sampler.as_str()),
            };
            ratio = match rest {
                "always_on" => 1.0,
                "always_off" => 0.0,
                "traceidratio" => argument,
                _ => {
                    let what = format!("`{sampler}` is not a sampler that is known here");
                    let hint =
                        "write always_on, always_off or traceidratio, with or without parentbased_ before it";
                    return Err(wrong(name, &what).hint(hint));
                }
            };
            trusts = parent;
        }
        if let Some(set) = self.find(|l| &l.opentelemetry.sample_ratio) {
            ratio = set.map(|ratio| {
                let fits = (0.0..=1.0).contains(&ratio);
                if fits { Ok(ratio) } else { Err(format!("{ratio} is not a share from 0 to 1")) }
            })?;
        }
        trusts =
            self.or(|l| &l.opentelemetry.trust_traceparent, "opentelemetry.trust_traceparent", trusts).value;
        Ok((ratio, trusts))
    }

    /// Files of a client's TLS: those of the configuration, or those that variables name.
    pub(super) fn tls_files(
        &self,
        table: impl Fn(&Layer) -> &ClientTls,
        named: TlsFiles,
    ) -> Result<TlsFiles, ConfigError> {
        fn file(set: Option<Set<super::layer::FilePath>>) -> Option<(PathBuf, Place)> {
            set.map(|set| (set.value.0, set.place))
        }
        let find = |key: fn(&ClientTls) -> &Key<super::layer::FilePath>| file(self.find(|l| key(table(l))));
        let files = TlsFiles {
            ca: find(|tls| &tls.ca_file).or(named.ca),
            cert: find(|tls| &tls.cert_file).or(named.cert),
            key: find(|tls| &tls.key_file).or(named.key),
        };
        files.whole()
    }
}

/// Says nothing of the text: it may hold a secret. A base is completed over HTTP; over gRPC nothing stands behind the host.
fn endpoint(text: &str, protocol: OtlpProtocol, is_base: bool) -> Result<Uri, String> {
    const FORM: &str = "this is not a URL of the form https://host:port";
    let url: Uri = text.parse().map_err(|_| FORM.to_owned())?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (url.scheme_str(), url.authority()) else {
        return Err(FORM.into());
    };
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(FORM.into());
    }
    let path = match protocol {
        OtlpProtocol::Grpc => "/opentelemetry.proto.collector.trace.v1.TraceService/Export".to_owned(),
        OtlpProtocol::Http => {
            let path = url.path_and_query().map_or("/", |path| path.as_str());
            let is_whole = path.trim_end_matches('/').ends_with(TRACES_PATH);
            if is_base && !is_whole {
                format!("{}/{TRACES_PATH}", path.trim_end_matches('/'))
            } else {
                path.into()
            }
        }
    };
    Uri::builder()
        .scheme(scheme)
        .authority(authority.as_str())
        .path_and_query(path)
        .build()
        .map_err(|_| FORM.into())
}

/// `name=value,name=value`, values percent-encoded (W3C Baggage, without properties).
fn pairs(name: &str, text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = crate::percent::decode(value.trim().as_bytes())?;
        (!name.trim().is_empty()).then(|| (name.trim().to_owned(), value))
    };
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    // The text may hold secrets.
    parts
        .map(|part| {
            pair(part).ok_or_else(|| wrong(name, "it is not a list of `name=value`, with commas between"))
        })
        .collect()
}

fn attributes(variables: &Variables<'_>) -> Result<Vec<(String, String)>, ConfigError> {
    match variables.first(&["OTEL_RESOURCE_ATTRIBUTES"])? {
        Some((name, text)) => pairs(name, &text),
        None => Ok(Vec::new()),
    }
}

fn headers(variables: &Variables<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, ConfigError> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
    let Some((variable, text)) = variables.first(&names)? else { return Ok(Vec::new()) };
    let pairs = pairs(variable, &text)?;
    if pairs.len() > OTLP_HEADERS_MAX {
        return Err(wrong(variable, &format!("there are more than {OTLP_HEADERS_MAX} header fields")));
    }
    let header = |(name, value): (String, String)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    };
    let headers = pairs.into_iter().map(header).collect::<Option<Vec<_>>>();
    headers.ok_or_else(|| wrong(variable, "one of them is not a header field"))
}

fn gzip(variables: &Variables<'_>) -> Result<bool, ConfigError> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
    match variables.first(&names)? {
        None => Ok(false),
        Some((_, value)) if value == "none" => Ok(false),
        Some((_, value)) if value == "gzip" => Ok(true),
        Some((name, value)) => {
            Err(wrong(name, &format!("`{value}` is not a compression")).hint("write gzip or none"))
        }
    }
}
