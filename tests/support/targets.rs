//! A target of webhooks that does what its script says, and remembers what it was told.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::node::PATIENCE;

/// What it does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Does {
    Answer(u16),
    /// A status and further header lines.
    With(u16, &'static str),
    Late(Duration),
    /// These bytes after a while, and nothing more.
    LateThen(Duration, &'static [u8]),
    Hang,
    /// A success with so many bytes behind it.
    Large(usize),
    Reset,
    /// These bytes, and then this.
    Raw(&'static [u8], Then),
}

/// What a target does behind what it said.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    Close,
    Reset,
    /// Nothing, and it keeps the connection.
    Hang,
    /// The same bytes for ever.
    Repeat(&'static [u8]),
    /// The next request is read.
    Read,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map_or_else(|| panic!("no {name} in {:?}", self.headers), |(_, value)| value)
    }
}

pub trait Both: Read + Write {}
impl<T: Read + Write> Both for T {}

type Script = dyn Fn(usize) -> Does + Send + Sync;
type Wrap = dyn Fn(TcpStream) -> Option<Box<dyn Both>> + Send + Sync;

pub struct Target {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

impl Target {
    /// `script` is told how many requests came before.
    pub fn start(script: impl Fn(usize) -> Does + Send + Sync + 'static) -> Self {
        Self::wrapped(script, |socket| Some(Box::new(socket)))
    }

    /// Every connection is wrapped, into TLS for example; `None` where that fails.
    pub fn wrapped(
        script: impl Fn(usize) -> Does + Send + Sync + 'static,
        wrap: impl Fn(TcpStream) -> Option<Box<dyn Both>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            connections: Arc::default(),
        };
        let (seen, connections) = (Arc::clone(&target.seen), Arc::clone(&target.connections));
        let (script, wrap): (Arc<Script>, Arc<Wrap>) = (Arc::new(script), Arc::new(wrap));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::Relaxed);
                let (seen, script, wrap) = (Arc::clone(&seen), Arc::clone(&script), Arc::clone(&wrap));
                std::thread::spawn(move || serve(socket, &seen, &*script, &*wrap));
            }
        });
        target
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Connections that were made, whatever came over them.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Waits for so many requests.
    pub fn wait_for(&self, count: usize) -> Vec<Seen> {
        let until = Instant::now() + PATIENCE;
        while self.seen().len() < count {
            assert!(Instant::now() < until, "{count} requests never came, but {:?}", self.seen());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.seen()
    }
}

fn serve(socket: TcpStream, seen: &Mutex<Vec<Seen>>, script: &Script, wrap: &Wrap) {
    let bare = socket.try_clone().unwrap();
    let Some(mut stream) = wrap(socket).map(BufReader::new) else { return };
    while let Some(request) = read(&mut stream) {
        let does = {
            let mut seen = seen.lock().unwrap();
            seen.push(request);
            script(seen.len() - 1)
        };
        // A caller that gave up does not take its answer.
        if answer(stream.get_mut(), &bare, does).is_err() {
            return;
        }
    }
}

fn read(stream: &mut BufReader<Box<dyn Both>>) -> Option<Seen> {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        line.strip_suffix("\r\n").map(str::to_owned)
    };
    assert!(line()?.starts_with("POST /hook HTTP/1.1"));
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Seen { at: Instant::now(), headers, body })
}

/// Lets the kernel reset the connection when it is closed.
fn reset(bare: &TcpStream) -> io::Error {
    match socket2::SockRef::from(bare).set_linger(Some(Duration::ZERO)) {
        Ok(()) => io::ErrorKind::ConnectionReset.into(),
        Err(error) => error,
    }
}

fn answer(stream: &mut dyn Both, bare: &TcpStream, does: Does) -> io::Result<()> {
    let head = |status: u16, more: &str, length: usize| {
        format!("HTTP/1.1 {status} .\r\n{more}content-length: {length}\r\n\r\n")
    };
    match does {
        Does::Answer(status) => stream.write_all(head(status, "", 0).as_bytes())?,
        Does::With(status, more) => stream.write_all(head(status, more, 0).as_bytes())?,
        Does::Late(time) => {
            std::thread::sleep(time);
            stream.write_all(head(200, "", 0).as_bytes())?;
        }
        Does::LateThen(time, bytes) => {
            std::thread::sleep(time);
            return answer(stream, bare, Does::Raw(bytes, Then::Hang));
        }
        Does::Hang => std::thread::sleep(Duration::from_hours(1)),
        Does::Large(length) => {
            stream.write_all(head(200, "", length).as_bytes())?;
            let piece = [b'x'; 16 * 1024];
            for _ in 0..length / piece.len() {
                stream.write_all(&piece)?;
            }
        }
        Does::Reset => return Err(reset(bare)),
        Does::Raw(bytes, then) => {
            stream.write_all(bytes)?;
            stream.flush()?;
            match then {
                Then::Close => return Err(io::ErrorKind::ConnectionAborted.into()),
                Then::Reset => {
                    // What was said is on its way before the reset is.
                    std::thread::sleep(Duration::from_millis(50));
                    return Err(reset(bare));
                }
                Then::Hang => std::thread::sleep(Duration::from_hours(1)),
                Then::Repeat(piece) => loop {
                    stream.write_all(piece)?;
                    std::thread::sleep(Duration::from_micros(100));
                },
                Then::Read => {}
            }
        }
    }
    stream.flush()
}
