//! One HTTP/1.1 connection of a client that expects the server to die at any byte.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::http::{Answer, read_answer};

pub struct Connection {
    socket: TcpStream,
}

/// A node that does not answer in this time does not answer.
const PATIENCE: Duration = Duration::from_secs(30);

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket })
    }

    pub fn post(&mut self, content_type: &str, signature: &str, body: &[u8]) -> io::Result<Answer> {
        let head = format!(
            "POST /v1/signals HTTP/1.1\r\nhost: gemba\r\ncontent-type: {content_type}\r\nx-signature: \
             {signature}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.exchange(&[head.as_bytes(), body].concat())
    }

    pub fn get(&mut self, path: &str, token: &str) -> io::Result<Answer> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: gemba\r\nauthorization: Bearer {token}\r\n\r\n");
        self.exchange(head.as_bytes())
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.socket.write_all(request)?;
        let broken = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer broke off");
        read_answer(&mut self.socket).ok_or_else(broken)
    }
}
