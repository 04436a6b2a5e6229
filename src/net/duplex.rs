//! What bytes go over.

use tokio::io::{AsyncRead, AsyncWrite};

/// What bytes go over, with or without TLS.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
