//! A receiver of OTLP: one request of a batch, by HTTP or gRPC, and what its answer means.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{BufMut as _, Bytes, BytesMut};
use data_encoding::BASE64_NOPAD;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{StatusCode, Uri};

use super::backoff::retry_after;
use super::client_tls::ClientTls;
use super::post::{Http, Poster, Reply};
use crate::config::OtlpProtocol;
use crate::kaizen::otlp::Answer;

/// How a receiver is asked.
#[derive(Debug)]
pub struct Settings {
    pub url: Uri,
    pub protocol: OtlpProtocol,
    /// Of every request.
    pub headers: HeaderMap,
    pub gzip: bool,
    /// For one request.
    pub timeout: Duration,
    /// `None` where the URL says `http`.
    pub tls: Option<Arc<ClientTls>>,
}

/// A receiver, and the connection to it.
pub struct Receiver {
    settings: Arc<Settings>,
    poster: Poster,
}

impl Receiver {
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        let http = match settings.protocol {
            OtlpProtocol::Http => Http::Any,
            OtlpProtocol::Grpc => Http::Two,
        };
        let poster = Poster::new(http, settings.tls.clone());
        Self { settings, poster }
    }

    /// Its host, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        self.settings.url.host().unwrap_or_default()
    }

    /// Sends one request.
    pub async fn send(&self, message: Bytes) -> Answer {
        let Settings { url, protocol, headers, gzip, timeout, .. } = &*self.settings;
        let mut headers = headers.clone();
        let encoding = HeaderValue::from_static("gzip");
        let body = match protocol {
            OtlpProtocol::Http => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
                if *gzip {
                    headers.insert(header::CONTENT_ENCODING, encoding);
                    zipped(&message)
                } else {
                    message
                }
            }
            OtlpProtocol::Grpc => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert(header::TE, HeaderValue::from_static("trailers"));
                if *gzip {
                    headers.insert("grpc-encoding", encoding);
                    framed(&zipped(&message), true)
                } else {
                    framed(&message, false)
                }
            }
        };
        match self.poster.post(url, headers, body, *timeout).await {
            Err(why) => Answer::none(why),
            Ok(reply) => match protocol {
                OtlpProtocol::Http => over_http(&reply),
                OtlpProtocol::Grpc => over_grpc(&reply),
            },
        }
    }
}

fn over_http(reply: &Reply) -> Answer {
    let after = reply.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = after.and_then(|text| retry_after(text, SystemTime::now()));
    Answer::over_http(reply.status.as_u16(), after, &reply.body)
}

/// The mapping of statuses of HTTP is gRPC's own (`http-grpc-status-mapping.md`).
fn over_grpc(reply: &Reply) -> Answer {
    let code = reply.headers.get("grpc-status").and_then(|code| code.to_str().ok()?.parse().ok());
    let code = code.unwrap_or(match reply.status {
        StatusCode::BAD_REQUEST => 13,
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::NOT_FOUND => 12,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => 14,
        _ => 2,
    });
    let details = reply.headers.get("grpc-status-details-bin").map(HeaderValue::as_bytes);
    // Padding may be left out.
    let details = details.and_then(|text| {
        let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
        BASE64_NOPAD.decode(text).ok()
    });
    // Behind a byte for its compression and four for its length; an answer that is compressed is not asked for.
    let message = reply.body.get(5..).filter(|_| reply.body.first() == Some(&0)).unwrap_or_default();
    Answer::over_grpc(code, details.as_deref(), message)
}

fn zipped(message: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory cannot fail.
    let _written = encoder.write_all(message);
    encoder.finish().unwrap_or_default().into()
}

fn framed(message: &[u8], compressed: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(compressed.into());
    // A batch is far below 4 GiB.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(message);
    frame.freeze()
}
