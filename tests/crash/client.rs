//! One HTTP/1.1 connection of a client that expects the server to die at any byte.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub struct Connection {
    socket: BufReader<TcpStream>,
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A node that does not answer in this time does not answer.
const PATIENCE: Duration = Duration::from_secs(30);

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket: BufReader::new(socket) })
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
        self.socket.get_mut().write_all(request)?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(broken)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").ok_or_else(broken)?;
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        let length = answer.header("content-length").map_or(Ok(0), str::parse).map_err(|_| broken())?;
        answer.body.resize(length, 0);
        self.socket.read_exact(&mut answer.body)?;
        Ok(answer)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.socket.read_line(&mut line)?;
        let line = line.strip_suffix("\r\n").ok_or_else(broken)?;
        Ok(line.to_owned())
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the answer broke off")
}
