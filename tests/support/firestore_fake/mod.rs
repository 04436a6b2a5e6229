//! Firestore in this process, by its documented rules and over real connections: what the emulators leave out is what
//! two writers depend on. Tests say what goes wrong, and look at what was written, by whom, and when.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::{Ipv4Addr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gemba::net::firestore::{Document, wire};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::sync::{Notify, oneshot};

pub use rules::Commit;
use rules::{Documents, INVALID_ARGUMENT, Refusal, refused};

mod rules;

pub const ABORTED: u32 = 10;
pub const UNAVAILABLE: u32 = 14;
const UNIMPLEMENTED: u32 = 12;
const UNAUTHENTICATED: u32 = 16;

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not applied: somebody else is at it.
    Abort,
    /// Not applied, which this answer does not tell.
    Unavailable,
    /// Not applied, and answered with this status.
    Refuse(u32),
    /// Not applied, and no answer in time.
    DeadlineBefore,
    /// Applied, and no answer in time.
    DeadlineAfter,
    /// Applied, and then UNAVAILABLE.
    ApplyThenFail,
    /// Applied; the connection ends in mid-answer: of a commit behind the message, of a read within one.
    ApplyThenDrop,
    /// Applied; the answer ends without a status, as something in between may end it.
    ApplyThenEnd,
    /// Applied after so long.
    Slow(Duration),
}

/// The server. Its documents outlive its stops.
pub struct Fake {
    port: u16,
    state: Arc<Mutex<State>>,
    running: Mutex<Option<Running>>,
}

struct State {
    documents: Documents,
    commit_faults: VecDeque<Fault>,
    get_faults: VecDeque<Fault>,
    gets: usize,
    connections: usize,
    /// Bytes of one DATA frame.
    piece: usize,
    token: String,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Fake {
    pub fn start() -> Self {
        Self::start_at(0)
    }

    /// At a port that is its own also while it does not run.
    pub fn start_at(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            documents: Documents::default(),
            commit_faults: VecDeque::new(),
            get_faults: VecDeque::new(),
            gets: 0,
            connections: 0,
            piece: usize::MAX,
            token: "owner".to_owned(),
        };
        let fake = Self { port, state: Arc::new(Mutex::new(state)), running: Mutex::default() };
        fake.run(listener);
        fake
    }

    /// As FIRESTORE_EMULATOR_HOST has it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends all connections and refuses new ones.
    pub fn stop(&self) {
        let running = self.running.lock().unwrap().take().expect("it runs");
        running.stop.send(()).unwrap();
        running.thread.join().unwrap();
    }

    /// Goes on after [`Self::stop`], at the same address.
    pub fn start_again(&self) {
        self.run(TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).unwrap());
    }

    /// For the next commit that has no fault yet.
    pub fn next(&self, fault: Fault) {
        self.state.lock().unwrap().commit_faults.push_back(fault);
    }

    /// For the next read that has no fault yet.
    pub fn next_get(&self, fault: Fault) {
        self.state.lock().unwrap().get_faults.push_back(fault);
    }

    /// Bytes of one DATA frame of the answers from now on.
    pub fn split(&self, bytes: usize) {
        self.state.lock().unwrap().piece = bytes;
    }

    /// The only token that is taken from now on; `owner` at first, as with an emulator.
    pub fn accept(&self, token: &str) {
        token.clone_into(&mut self.state.lock().unwrap().token);
    }

    /// Documents by path, as far as it begins so.
    pub fn documents(&self, prefix: &str) -> BTreeMap<String, Document> {
        self.state.lock().unwrap().documents.below(prefix)
    }

    /// All commits that came, in their order: those with code 0 were applied.
    pub fn commits(&self) -> Vec<Commit> {
        self.state.lock().unwrap().documents.commits.clone()
    }

    /// No commit was applied whose writer had presumed something else of a document than what was there.
    pub fn assert_nobody_stale_wrote(&self) {
        let stale = rules::stale(&self.commits());
        assert!(stale.is_empty(), "{stale:#?}");
    }

    /// When a document was written.
    pub fn writes(&self, document: &str) -> Vec<Instant> {
        let applied = self.commits().into_iter().filter(|commit| commit.code == 0);
        applied
            .filter(|commit| commit.writes.iter().any(|write| write.document == document))
            .map(|commit| commit.at)
            .collect()
    }

    /// Reads that came.
    pub fn gets(&self) -> usize {
        self.state.lock().unwrap().gets
    }

    /// Connections that were taken.
    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    fn run(&self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel();
        let state = Arc::clone(&self.state);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, state) => {}
                    _ = stopped => {}
                }
            });
            // Its connections end with the runtime.
        });
        *self.running.lock().unwrap() = Some(Running { stop, thread });
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if self.running.lock().unwrap().is_some() {
            self.stop();
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        state.lock().unwrap().connections += 1;
        let state = Arc::clone(&state);
        let cut = Arc::new(Notify::new());
        tokio::spawn(async move {
            let cutting = Arc::clone(&cut);
            let service =
                service_fn(move |request| answer(request, Arc::clone(&state), Arc::clone(&cutting)));
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ended = connection => {}
                () = cut.notified() => {}
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    cut: Arc<Notify>,
) -> Result<Response<Answer>, Infallible> {
    let (head, body) = request.into_parts();
    // A client that is gone gets no answer.
    let Ok(body) = body.collect().await else { return std::future::pending().await };
    let method = head.uri.path().strip_prefix("/google.firestore.v1.Firestore/").unwrap_or_default();
    let is_commit = method == "Commit";
    let (fault, piece, token) = {
        let mut state = state.lock().unwrap();
        let faults = if is_commit { &mut state.commit_faults } else { &mut state.get_faults };
        (faults.pop_front(), state.piece, state.token.clone())
    };
    if let Some(Fault::Slow(pause)) = fault {
        tokio::time::sleep(pause).await;
    }
    let judged = checked(&head.headers, &token).and_then(|database| {
        let body = body.to_bytes();
        let message = unframed(&body)?;
        let mut state = state.lock().unwrap();
        match method {
            "Commit" => commit(&mut state, decoded(message)?, &database, fault),
            "BatchGetDocuments" => get(&mut state, &decoded(message)?, &database, fault),
            _ => Err(refused(UNIMPLEMENTED, "there is no such method")),
        }
    });
    Ok(match (judged, fault) {
        (_, Some(Fault::DeadlineBefore | Fault::DeadlineAfter)) => std::future::pending().await,
        (Ok(messages), Some(Fault::ApplyThenDrop)) => {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                cut.notify_one();
            });
            let mut stream = framed(&messages);
            stream.truncate(stream.len() - usize::from(!is_commit));
            Answer::unfinished(stream, true)
        }
        (Ok(messages), Some(Fault::ApplyThenEnd)) => Answer::unfinished(framed(&messages), false),
        (Ok(_), Some(Fault::ApplyThenFail)) => Answer::whole(&[], piece, UNAVAILABLE),
        (Ok(messages), _) => Answer::whole(&messages, piece, 0),
        (Err(refusal), _) => Answer::refusal(&refusal),
    })
}

fn commit(
    state: &mut State,
    request: wire::CommitRequest,
    database: &str,
    fault: Option<Fault>,
) -> Result<Vec<Vec<u8>>, Refusal> {
    let code = match fault {
        Some(Fault::Abort) => ABORTED,
        Some(Fault::Unavailable | Fault::DeadlineBefore) => UNAVAILABLE,
        Some(Fault::Refuse(code)) => code,
        _ if request.database != database => INVALID_ARGUMENT,
        _ => return Ok(vec![state.documents.commit(request)?.encode_to_vec()]),
    };
    state.documents.note(&request, code);
    Err(refused(code, "as the test wishes, 100% sure: ü"))
}

fn get(
    state: &mut State,
    request: &wire::BatchGetDocumentsRequest,
    database: &str,
    fault: Option<Fault>,
) -> Result<Vec<Vec<u8>>, Refusal> {
    state.gets += 1;
    let code = match fault {
        Some(Fault::Abort) => ABORTED,
        Some(Fault::Unavailable) => UNAVAILABLE,
        Some(Fault::Refuse(code)) => code,
        _ if request.database != database => INVALID_ARGUMENT,
        _ => return Ok(state.documents.get(request)?.iter().map(Message::encode_to_vec).collect()),
    };
    Err(refused(code, "as the test wishes"))
}

/// What every call of gRPC and of Firestore has; tells which database is meant.
fn checked(headers: &HeaderMap, token: &str) -> Result<String, Refusal> {
    let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if field("authorization") != format!("Bearer {token}") {
        return Err(refused(UNAUTHENTICATED, "invalid authentication credentials"));
    }
    let timeout = field("grpc-timeout").strip_suffix('m').and_then(|millis| millis.parse::<u32>().ok());
    let is_grpc = field("content-type") == "application/grpc" && field("te") == "trailers";
    if !is_grpc || timeout.is_none_or(|millis| millis == 0 || millis > 99_999_999) {
        return Err(refused(INVALID_ARGUMENT, &format!("not as gRPC has it: {headers:?}")));
    }
    Ok(field("google-cloud-resource-prefix").to_owned())
}

fn unframed(body: &[u8]) -> Result<&[u8], Refusal> {
    let message = body.split_first_chunk().and_then(|(&[compressed, a, b, c, d], message)| {
        let length = u32::from_be_bytes([a, b, c, d]);
        (compressed == 0 && usize::try_from(length) == Ok(message.len())).then_some(message)
    });
    message.ok_or_else(|| refused(INVALID_ARGUMENT, "not one message in a frame"))
}

fn decoded<M: Message + Default>(message: &[u8]) -> Result<M, Refusal> {
    M::decode(message).map_err(|error| refused(INVALID_ARGUMENT, &error.to_string()))
}

/// An answer's frames of HTTP/2.
struct Answer {
    frames: VecDeque<Frame<Bytes>>,
    /// After them nothing comes, not even an end.
    torn: bool,
}

impl Answer {
    fn whole(messages: &[Vec<u8>], piece: usize, code: u32) -> Response<Self> {
        let stream = framed(messages);
        let mut frames: VecDeque<_> =
            stream.chunks(piece).map(|piece| Frame::data(Bytes::copy_from_slice(piece))).collect();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.into());
        frames.push_back(Frame::trailers(trailers));
        response(Self { frames, torn: false })
    }

    /// Without a status, and `torn` even without an end.
    fn unfinished(stream: Vec<u8>, torn: bool) -> Response<Self> {
        response(Self { frames: VecDeque::from([Frame::data(stream.into())]), torn })
    }

    /// Nothing but trailers.
    fn refusal(refusal: &Refusal) -> Response<Self> {
        let mut response = response(Self { frames: VecDeque::new(), torn: false });
        let headers = response.headers_mut();
        headers.insert("grpc-status", refusal.code.into());
        let message = gemba::percent::encode(&refusal.message);
        headers.insert("grpc-message", HeaderValue::try_from(message).unwrap());
        response
    }
}

fn response(answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for message in messages {
        stream.push(0);
        stream.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        stream.extend_from_slice(message);
    }
    stream
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None if self.torn => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && !self.torn
    }
}
