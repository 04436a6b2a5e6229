//! One HTTP/1.1 exchange, byte by byte as the test wants it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::node::PATIENCE;

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, self.text())
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends `request` and reads one answer.
pub fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    try_exchange(address, request).expect("an answer")
}

/// Sends `request` and reads one answer, if the server lives so long.
pub fn try_exchange(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may answer and close before it has taken everything.
    let _partly = socket.write_all(request);
    read_answer(&mut socket)
}

/// Reads one answer and nothing of the next; `None` when the connection ends without one.
pub fn read_answer(socket: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let mut ahead = [0; 4096];
    loop {
        let (before, came) = (bytes.len(), socket.peek(&mut ahead).ok().filter(|came| *came > 0)?);
        bytes.extend_from_slice(&ahead[..came]);
        let end = bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
        bytes.truncate(end.unwrap_or(bytes.len()));
        socket.read_exact(&mut ahead[..bytes.len() - before]).ok()?;
        if end.is_some() {
            break;
        }
    }
    let head = String::from_utf8(bytes).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value.parse().unwrap());
    let mut body = vec![0; length.unwrap_or(0)];
    socket.read_exact(&mut body).ok()?;
    Some(Answer { status, headers, body })
}
