//! Where telemetry goes, in the line's terms.

use std::sync::Arc;

use hyper::Uri;

use crate::config::secret::{Chooser, Kept, SecretRef};
use crate::config::{Config, ConfigError, NodeRole, OpenTelemetry, OtlpProtocol, Place, TlsFiles};
use crate::kaizen::otlp::Teller;
use crate::line::traces;
use crate::net::client_tls::{ClientFiles, ClientTls};
use crate::net::{otlp, tls};

/// Which signals are traced, and where that is told.
pub fn traces(traces: &OpenTelemetry, config: &Config) -> Result<Arc<traces::Plan>, ConfigError> {
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
