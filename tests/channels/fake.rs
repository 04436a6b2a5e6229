//! A receiver of HTTP that answers as a function says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A status, further header lines, and a body.
pub type Answer = (u16, &'static str, String);

type Handler = dyn FnMut(&Asked) -> Answer + Send;

pub struct Fake {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    pub fn start(answer: impl FnMut(&Asked) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Self { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let asked = Arc::clone(&fake.asked);
        let answer: Arc<Mutex<Handler>> = Arc::new(Mutex::new(answer));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                std::thread::spawn(move || serve(&socket, &asked, &answer));
            }
        });
        fake
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(socket: &TcpStream, asked: &Mutex<Vec<Asked>>, answer: &Mutex<Handler>) {
    let mut stream = BufReader::new(socket);
    while let Some(request) = read(&mut stream) {
        let (status, more, body) = answer.lock().unwrap()(&request);
        asked.lock().unwrap().push(request);
        let length = body.len();
        let head = format!("HTTP/1.1 {status} .\r\n{more}content-length: {length}\r\n\r\n");
        let mut socket = socket;
        if socket.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn read(stream: &mut BufReader<&TcpStream>) -> Option<Asked> {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        line.strip_suffix("\r\n").map(str::to_owned)
    };
    let path = line()?.strip_prefix("POST ")?.split(' ').next()?.to_owned();
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Asked { path, headers, body: String::from_utf8(body).unwrap() })
}
