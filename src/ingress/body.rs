//! Reading one request's body within its limits. The usual body has come with its head, so the first look finds it
//! whole, in one piece; only what has to be waited for costs a timer.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};

use super::answer::Refused;
use crate::limits::{BODY_BYTES_MAX, BODY_BYTES_PER_SECOND, BODY_GRACE_SECONDS, BODY_READ_SECONDS};

/// Bytes that may still be held unverified by one thread.
#[derive(Clone, Debug)]
pub struct Budget(Rc<Cell<usize>>);

impl Budget {
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Rc::new(Cell::new(bytes)))
    }

    /// Sets `bytes` aside until the returned value is dropped.
    pub fn reserve(&self, bytes: usize) -> Option<Reserved> {
        let left = self.0.get().checked_sub(bytes)?;
        self.0.set(left);
        Some(Reserved { budget: Rc::clone(&self.0), bytes })
    }
}

#[derive(Debug)]
pub struct Reserved {
    budget: Rc<Cell<usize>>,
    bytes: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.set(self.budget.get() + self.bytes);
    }
}

/// Reads all of `body`.
pub async fn read(mut body: Incoming) -> Result<Bytes, Refused> {
    let mut held = Held::default();
    let mut body = Pin::new(&mut body);
    let first = poll_fn(|cx| match poll_more(&mut body, &mut held, cx) {
        Poll::Pending => Poll::Ready(None),
        Poll::Ready(done) => Poll::Ready(Some(done)),
    })
    .await;
    if let Some(done) = first {
        done?;
    } else {
        wait(&mut body, &mut held).await?;
    }
    Ok(held.whole())
}

/// Waits for the rest, and looks each second whether it still comes fast enough.
async fn wait(body: &mut Pin<&mut Incoming>, held: &mut Held) -> Result<(), Refused> {
    let begun = tokio::time::Instant::now();
    let mut expected = 0;
    for second in BODY_GRACE_SECONDS..=BODY_READ_SECONDS {
        let rest = poll_fn(|cx| poll_more(body, held, cx));
        let until = begun + Duration::from_secs(u64::from(second));
        if let Ok(done) = tokio::time::timeout_at(until, rest).await {
            return done;
        }
        if held.len() < expected {
            break;
        }
        expected += BODY_BYTES_PER_SECOND;
    }
    Err(Refused::BodySlow)
}

fn poll_more(
    body: &mut Pin<&mut Incoming>,
    held: &mut Held,
    cx: &mut std::task::Context<'_>,
) -> Poll<Result<(), Refused>> {
    loop {
        let expected = body.size_hint().lower();
        match body.as_mut().poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(Ok(())),
            Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Refused::BodyBroken)),
            Poll::Ready(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    held.take(data, expected)?;
                }
                if body.is_end_stream() {
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// A longer body stays where it was read.
const MOVED_BYTES_MAX: usize = 2048;

/// What has come so far: one piece as it is, several in one buffer.
#[derive(Debug, Default)]
struct Held {
    only: Bytes,
    several: BytesMut,
}

impl Held {
    fn len(&self) -> usize {
        self.only.len() + self.several.len()
    }

    fn take(&mut self, data: Bytes, expected: u64) -> Result<(), Refused> {
        let len = self.len() + data.len();
        if len > BODY_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        if self.only.is_empty() && self.several.is_empty() {
            self.only = data;
            return Ok(());
        }
        if self.several.is_empty() {
            let expected = usize::try_from(expected).unwrap_or(BODY_BYTES_MAX);
            self.several.reserve(len.max(self.only.len() + expected).min(BODY_BYTES_MAX));
            self.several.extend_from_slice(&self.only);
            self.only = Bytes::new();
        }
        self.several.extend_from_slice(&data);
        Ok(())
    }

    fn whole(self) -> Bytes {
        match self.several.is_empty() {
            // A small body moves out, so that the connection's buffer, warm in the cache, is free for the next request
            // and a signal that waits does not hold all of it.
            true if self.only.len() <= MOVED_BYTES_MAX => Bytes::copy_from_slice(&self.only),
            true => self.only,
            false => self.several.freeze(),
        }
    }
}
