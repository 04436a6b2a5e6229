//! What a receiver's answer means for the batch (OTLP specification, "OTLP/HTTP Response" and "OTLP/gRPC Response"): taken, to be
//! sent again, or refused for good. What is partly taken is never sent again.

use std::time::Duration;

use prost::Message as _;

use super::wire::ExportTraceServiceResponse;

/// What a receiver says that took a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partial {
    /// Spans that it did not take.
    pub rejected: u64,
    /// Why, or a warning.
    pub message: String,
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Taken(Partial),
    /// It may be different the next time, and not sooner than the receiver asked for.
    Again {
        why: String,
        after: Option<Duration>,
    },
    /// It would be the same the next time.
    Refused {
        why: String,
    },
}

impl Answer {
    /// Over HTTP. `after` is what the receiver asked for by `Retry-After`.
    #[must_use]
    pub fn over_http(status: u16, after: Option<Duration>, body: &[u8]) -> Self {
        let why = format!("it answered {status}");
        match status {
            200..=299 => Self::Taken(Partial::read(body)),
            429 | 502 | 503 | 504 => Self::Again { why, after },
            _ => Self::Refused { why },
        }
    }

    /// Over gRPC: the status, and `grpc-status-details-bin` decoded.
    #[must_use]
    pub fn over_grpc(code: u32, details: Option<&[u8]>, message: &[u8]) -> Self {
        let why = format!("it answered with the gRPC status {code}");
        match code {
            0 => Self::Taken(Partial::read(message)),
            // Cancelled, deadline exceeded, aborted, out of range, unavailable, data loss.
            1 | 4 | 10 | 11 | 14 | 15 => Self::Again { why, after: details.and_then(retry_delay) },
            // Resource exhausted: only a receiver that says when to come again will take it.
            8 => match details.and_then(retry_delay) {
                after @ Some(_) => Self::Again { why, after },
                None => Self::Refused { why },
            },
            _ => Self::Refused { why },
        }
    }

    /// There was none.
    #[must_use]
    pub fn none(why: String) -> Self {
        Self::Again { why, after: None }
    }
}

impl Partial {
    /// Of an answer; what cannot be read says nothing.
    #[must_use]
    pub fn read(answer: &[u8]) -> Self {
        let partial =
            ExportTraceServiceResponse::decode(answer).ok().and_then(|answer| answer.partial_success);
        let partial = partial.unwrap_or_default();
        Self {
            rejected: u64::try_from(partial.rejected_spans).unwrap_or_default(),
            message: partial.error_message,
        }
    }
}

/// `google.rpc.Status`, as far as it is read.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes, tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn retry_delay(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*info.value).ok()?.retry_delay?;
    let nanos = u32::try_from(delay.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::super::wire::ExportTracePartialSuccess;
    use super::*;

    #[test]
    fn every_status_of_http_is_taken_again_or_refused() {
        let after = Some(Duration::from_secs(3));
        for status in 0..=999 {
            let why = format!("it answered {status}");
            let expected = match status {
                200..300 => Answer::Taken(Partial::default()),
                429 | 502 | 503 | 504 => Answer::Again { why, after },
                // 500 among them: the specification names those that may be sent again.
                _ => Answer::Refused { why },
            };
            assert_eq!(Answer::over_http(status, after, b""), expected, "{status}");
        }
    }

    #[test]
    fn every_status_of_grpc_is_taken_again_or_refused() {
        let retry = RetryInfo { retry_delay: Some(Delay { seconds: 2, nanos: 500_000_000 }) };
        let detail = Detail {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
            value: retry.encode_to_vec(),
        };
        let details = RpcStatus { details: vec![detail] }.encode_to_vec();
        let after = Some(Duration::from_millis(2500));
        for code in 0..=20 {
            let why = format!("it answered with the gRPC status {code}");
            let (plain, told) = match code {
                0 => (Answer::Taken(Partial::default()), Answer::Taken(Partial::default())),
                1 | 4 | 10 | 11 | 14 | 15 => {
                    (Answer::none(why.clone()), Answer::Again { why: why.clone(), after })
                }
                8 => (Answer::Refused { why: why.clone() }, Answer::Again { why: why.clone(), after }),
                _ => (Answer::Refused { why: why.clone() }, Answer::Refused { why: why.clone() }),
            };
            assert_eq!(Answer::over_grpc(code, None, b""), plain, "{code}");
            assert_eq!(Answer::over_grpc(code, Some(&details), b""), told, "{code}");
            assert_eq!(Answer::over_grpc(code, Some(b"\xff\xff"), b""), plain, "{code}");
        }
    }

    #[test]
    fn what_a_receiver_did_not_take_is_read() {
        let partial = |rejected_spans, error_message: &str| {
            let partial_success =
                Some(ExportTracePartialSuccess { rejected_spans, error_message: error_message.into() });
            Partial::read(&ExportTraceServiceResponse { partial_success }.encode_to_vec())
        };
        assert_eq!(partial(3, "full"), Partial { rejected: 3, message: "full".into() });
        assert_eq!(partial(-3, "").rejected, 0);
        assert_eq!(Partial::read(b""), Partial::default());
        assert_eq!(Partial::read(b"<html>"), Partial::default());
    }
}
