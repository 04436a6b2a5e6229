//! The answers of one HTTP/1.1 connection, in the order of its requests, held until the journal has spoken.
//!
//! hyper answers a connection's requests one after the other, and a request is answered only after its `fdatasync`: a
//! pipelining client would get one answer a sync. So hyper is told at once that the request is answered, and goes on
//! to read the next; the bytes that it writes meanwhile stop here. The answer itself is written when the journal's
//! word comes, for all connections of the thread in one go, and straight to the socket: a request wakes its
//! connection's task once, not twice. What leaves is exactly what hyper would have sent, in the same order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use memchr::memmem;
use tokio::io::AsyncWrite as _;
use tokio::net::tcp::OwnedWriteHalf;

use super::answer::{Told, explained};
use super::connection::Watch;
use crate::limits::{ANSWER_BYTES_HELD_MAX, ANSWERS_HELD_MAX};

/// How hyper would have framed an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    /// The client speaks HTTP/1.0.
    pub old: bool,
    /// `connection: close` stands in the answer.
    pub close: bool,
    /// `connection: keep-alive` stands in the answer.
    pub keep_alive: bool,
}

/// One answer, in its place.
#[derive(Debug)]
enum Slot {
    /// hyper has it; these bytes of it have come, so many of its body are to come.
    Spoken { bytes: Vec<u8>, left: Left },
    /// The journal has the request; what hyper writes for it is dropped.
    Promised { framing: Option<Framing>, told: Option<Told> },
}

/// What is to come of one of hyper's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// The head, and then so many bytes.
    Head(usize),
    Body(usize),
}

/// The answers that have not left yet.
#[derive(Debug)]
pub struct Outbox {
    socket: OwnedWriteHalf,
    watch: Rc<Watch>,
    slots: VecDeque<Slot>,
    /// Number of the first slot; they are counted over the connection's life.
    first: u64,
    /// The slot for which hyper writes next.
    speaking: u64,
    /// Ready to leave, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    body: Vec<u8>,
    /// The client is gone.
    broken: bool,
    /// Its connection is among those that the thread writes to next.
    due: bool,
    /// The connection's task, if it waits for room or for the end.
    waker: Option<Waker>,
}

/// How hyper frames an answer without a body on a connection that stays open; a date of 29 bytes follows.
const USUAL: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\ndate: ";
const USUAL_BYTES: usize = USUAL.len() + 29 + 4;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Shared by the connection and by the journal's answers that are under way to it.
pub type SharedOutbox = Rc<RefCell<Outbox>>;

impl Outbox {
    #[must_use]
    pub fn new(socket: OwnedWriteHalf, watch: Rc<Watch>) -> SharedOutbox {
        Rc::new(RefCell::new(Self {
            socket,
            watch,
            slots: VecDeque::new(),
            first: 0,
            speaking: 0,
            out: Vec::new(),
            sent: 0,
            body: Vec::new(),
            broken: false,
            due: false,
            waker: None,
        }))
    }

    /// hyper is about to answer the next request with a body of so many bytes.
    pub fn speaks(&mut self, body_bytes: usize) {
        self.slots.push_back(Slot::Spoken { bytes: Vec::new(), left: Left::Head(body_bytes) });
    }

    /// The next request's answer is the journal's; returns its slot.
    pub fn promise(&mut self) -> u64 {
        self.slots.push_back(Slot::Promised { framing: None, told: None });
        self.first + self.slots.len() as u64 - 1
    }

    /// The journal's word for a slot. Returns whether the connection is to be written to and was not before.
    pub fn tell(&mut self, slot: u64, told: Told, date: &str) -> bool {
        let place = slot.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(Slot::Promised { told: place, .. }) = place.and_then(|at| self.slots.get_mut(at)) {
            *place = Some(told);
        }
        self.settle(date);
        !std::mem::replace(&mut self.due, true)
    }

    /// What hyper writes: answers of its own, and those that are not its to give.
    pub fn take(&mut self, mut bytes: &[u8], date: &str) {
        while !bytes.is_empty() {
            let at = usize::try_from(self.speaking - self.first).unwrap_or(usize::MAX);
            if at < self.slots.len()
                && let Some(rest) = bytes.strip_prefix(CONTINUE)
            {
                // Too late to ask for a body that has come.
                bytes = rest;
                continue;
            }
            let Some(slot) = self.slots.get_mut(at) else {
                // Nobody asked for it: an interim answer, or a refusal of what hyper cannot read, the last it writes.
                let said = explained(bytes).unwrap_or_else(|| bytes.to_vec());
                self.slots.push_back(Slot::Spoken { bytes: said, left: Left::Body(0) });
                self.speaking += 1;
                break;
            };
            let (used, whole) = slot.take(bytes);
            self.speaking += u64::from(whole);
            bytes = &bytes[used..];
        }
        self.settle(date);
        self.write();
    }

    /// Moves what is complete, from the front on, to what leaves.
    fn settle(&mut self, date: &str) {
        while let Some(front) = self.slots.front_mut() {
            match front {
                Slot::Spoken { bytes, left: Left::Body(0) } => self.out.append(bytes),
                Slot::Promised { framing: Some(framing), told: Some(told) } => {
                    told.write(&mut self.out, &mut self.body, *framing, date);
                }
                Slot::Spoken { .. } | Slot::Promised { .. } => return,
            }
            self.slots.pop_front();
            self.first += 1;
        }
    }

    /// Writes what can leave, as far as the socket takes it.
    pub fn write(&mut self) {
        self.due = false;
        while self.sent < self.out.len() && !self.broken {
            match self.socket.try_write(&self.out[self.sent..]) {
                Ok(0) => self.broken = true,
                Ok(wrote) => self.sent += wrote,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.broken = true,
            }
        }
        let stuck = self.sent < self.out.len() && !self.broken;
        self.watch.answers_wait(if stuck { self.out.len() - self.sent } else { 0 });
        if !stuck {
            self.out.clear();
            self.sent = 0;
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        } else if stuck {
            self.watch.wake();
        }
    }

    /// Whether every answer has left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.broken || self.slots.is_empty() && self.sent >= self.out.len()
    }

    /// As many answers wait as one connection may have.
    fn is_full(&self) -> bool {
        self.slots.len() >= ANSWERS_HELD_MAX || self.out.len() - self.sent >= ANSWER_BYTES_HELD_MAX
    }

    /// Waits until one more answer may be held.
    pub fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.is_full() && !self.broken {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Goes on with what the socket did not take.
    pub fn poll_write_on(&mut self, cx: &mut Context<'_>) {
        while self.sent < self.out.len() && !self.broken {
            if self.socket.as_ref().poll_write_ready(cx).is_pending() {
                return;
            }
            self.write();
        }
    }

    /// The client is not waited for any more.
    pub fn give_up(&mut self) {
        self.broken = true;
        self.slots.clear();
    }

    /// Waits until every answer has left, then ends the stream.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_on(cx);
        if !self.is_empty() {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Slot {
    /// Takes what is its of `bytes`; how many, and whether that was all.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        match self {
            Self::Spoken { bytes: held, left } => {
                let before = held.len();
                if let Left::Head(body) = *left {
                    held.extend_from_slice(bytes);
                    // The end of the head may stand across two writes.
                    let Some(end) = memmem::find(&held[before.saturating_sub(3)..], b"\r\n\r\n") else {
                        return (bytes.len(), false);
                    };
                    held.truncate(before.saturating_sub(3) + end + 4);
                    *left = Left::Body(body);
                    let used = held.len() - before;
                    if body == 0 || used == bytes.len() {
                        return (used, body == 0);
                    }
                    let (more, whole) = self.take(&bytes[used..]);
                    return (used + more, whole);
                }
                let Left::Body(body) = left else { return (0, true) };
                let used = (*body).min(bytes.len());
                held.extend_from_slice(&bytes[..used]);
                *body -= used;
                (used, *body == 0)
            }
            Self::Promised { framing, .. } => {
                if bytes.starts_with(USUAL) && bytes.get(USUAL_BYTES - 4..USUAL_BYTES) == Some(b"\r\n\r\n") {
                    *framing = Some(Framing::default());
                    return (USUAL_BYTES, true);
                }
                // hyper writes the head of an answer without a body in one piece.
                let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return (bytes.len(), false) };
                let head = &bytes[..end + 4];
                *framing = Some(Framing {
                    old: head.starts_with(b"HTTP/1.0"),
                    close: memmem::find(head, b"\r\nconnection: close\r\n").is_some(),
                    keep_alive: memmem::find(head, b"\r\nconnection: keep-alive\r\n").is_some(),
                });
                (head.len(), true)
            }
        }
    }
}

/// Waits until one more answer may be held.
pub async fn room(outbox: &SharedOutbox) {
    poll_fn(|cx| outbox.borrow_mut().poll_room(cx)).await;
}
