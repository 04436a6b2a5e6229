//! What is shared of the network: listeners, the way out, brokers, and the form of errors.

pub mod address;
pub mod amqp;
pub mod answer;
pub mod backoff;
pub mod client;
pub mod egress;
pub mod firestore;
pub mod host;
pub mod listen;
pub mod plane;
pub mod problem;
pub mod strict;
pub mod tls;

use tokio::io::{AsyncRead, AsyncWrite};

/// What bytes go over, with or without TLS.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
