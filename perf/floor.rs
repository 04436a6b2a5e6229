//! The floor: what the same HTTP stack does on the same core without the line. Reads the body, verifies its HMAC,
//! answers 202; nothing is parsed, kept or decided. `perf/compare` measures Gemba as a share of it.
//!
//! `floor ADDRESS SECRET_FILE`

use std::convert::Infallible;
use std::rc::Rc;

use aws_lc_rs::hmac;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone, Copy)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(secret)) = (arguments.next(), arguments.next()) else {
        return Err("usage: floor ADDRESS SECRET_FILE".into());
    };
    let secret = std::fs::read(secret)?;
    let key = Rc::new(hmac::Key::new(hmac::HMAC_SHA256, secret.trim_ascii_end()));
    let options = tokio::runtime::LocalOptions::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(options)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            tokio::task::spawn_local(serve(socket, Rc::clone(&key)));
        }
    })
}

async fn serve(socket: tokio::net::TcpStream, key: Rc<hmac::Key>) {
    let mut preface = [0; 3];
    if !matches!(socket.peek(&mut preface).await, Ok(3)) {
        return;
    }
    let service = service_fn(move |request| answer(request, Rc::clone(&key)));
    let io = TokioIo::new(socket);
    // A client that leaves is no concern of the floor.
    if preface == *b"PRI" {
        let _ended = http2::Builder::new(Local).serve_connection(io, service).await;
    } else {
        let _ended = http1::Builder::new().pipeline_flush(true).serve_connection(io, service).await;
    }
}

async fn answer(request: Request<Incoming>, key: Rc<hmac::Key>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut answer = Response::new(Full::default());
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let good = verifies(&head, &body, &key);
    *answer.status_mut() = if good { StatusCode::ACCEPTED } else { StatusCode::UNAUTHORIZED };
    Ok(answer)
}

fn verifies(head: &hyper::http::request::Parts, body: &[u8], key: &hmac::Key) -> bool {
    let Some(signature) = head.headers.get("x-signature") else { return false };
    let mut tag = [0; 32];
    faster_hex::hex_decode(signature.as_bytes(), &mut tag).is_ok() && hmac::verify(key, body, &tag).is_ok()
}
