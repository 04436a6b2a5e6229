//! The stream of the board: one look for all viewers, and for each of them what changed since it was told last.
//!
//! A change is a JSON merge patch (RFC 7396) of the last one. The last changes are kept for viewers that lost their connection.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde_json::{Map, Value};

use super::super::token::{Role, Token};
use super::sessions::Credential;
use crate::board_view::BoardView;
use crate::clock::Instant;
use crate::kaizen::Metric;
use crate::limits::{
    BOARD_CHANGES, BOARD_CHANGES_BYTES, BOARD_COMMENT, BOARD_LIFE, BOARD_VIEWERS_MAX, VIEWERS_OF_ONE,
};

/// What all viewers are told. Cheap to clone, for one thread.
#[derive(Clone)]
pub struct BoardFeed(Rc<RefCell<Told>>);

struct Told {
    /// Tells the numbers of this feed from those of another.
    life: u64,
    /// Of the last change; 0 before the first.
    number: u64,
    board: Map<String, Value>,
    /// The last changes as they are sent, the newest with `number`.
    changes: VecDeque<Bytes>,
    changes_bytes: usize,
    snapshot: Option<Bytes>,
    told: Option<Instant>,
    commented: Option<Instant>,
    viewers: BTreeMap<u64, BoardViewer>,
    admitted: u64,
    lost: metrics::Counter,
}

struct BoardViewer {
    credential: Credential,
    /// Digest of the token that it shows, or that opened its session.
    token: [u8; 32],
    role: Role,
    waker: Option<Waker>,
    /// Why it is told nothing more.
    ended: Option<&'static str>,
}

/// As many watch as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooManyViewers {
    /// With this token.
    OfOne,
    /// And none with a lesser role.
    OfAll,
}

const TOO_SLOW: &str = "this viewer does not take what it is told";
const SESSION_ENDED: &str = "the session has ended";
const GAVE_WAY: &str = "as many viewers watch the board as may, and one with a higher role came";

impl BoardFeed {
    /// `life` is another one with each feed.
    pub fn new(life: u64) -> Self {
        let lost = Metric::TelemetryLost.counter(&["board", "queue"]);
        Self(Rc::new(RefCell::new(Told {
            life,
            number: 0,
            board: Map::new(),
            changes: VecDeque::new(),
            changes_bytes: 0,
            snapshot: None,
            told: None,
            commented: None,
            viewers: BTreeMap::new(),
            admitted: 0,
            lost,
        })))
    }

    /// Whether nobody watches.
    pub fn is_unwatched(&self) -> bool {
        self.0.borrow().viewers.is_empty()
    }

    /// Tells viewers what is different now.
    pub fn tell(&self, view: &BoardView, now: Instant) {
        let Ok(Value::Object(board)) = serde_json::to_value(view) else { return };
        self.0.borrow_mut().tell(board, now);
    }

    /// Ends the streams of those who may not look any more.
    pub fn end_unless(&self, holds: impl Fn(Credential) -> bool) {
        for viewer in self.0.borrow_mut().viewers.values_mut() {
            if viewer.ended.is_none() && !holds(viewer.credential) {
                viewer.end(SESSION_ENDED);
            }
        }
    }

    /// A stream for a viewer with this token who was told everything up to `last`, or nothing. `taken` is called whenever it takes
    /// something.
    pub fn watch(
        &self,
        (token, credential): (&Token, Credential),
        last: Option<&str>,
        taken: Box<dyn Fn()>,
    ) -> Result<BoardStream, TooManyViewers> {
        let mut told = self.0.borrow_mut();
        told.make_room(token)?;
        let resumed = last.and_then(|last| told.after(last));
        let first = if resumed.is_none() { Some(told.snapshot()) } else { None };
        let next = resumed.unwrap_or(told.number + 1);
        told.admitted += 1;
        let id = told.admitted;
        let viewer =
            BoardViewer { credential, token: token.digest, role: token.role, waker: None, ended: None };
        told.viewers.insert(id, viewer);
        Ok(BoardStream { feed: self.clone(), id, first, next, taken, is_over: false })
    }
}

impl Told {
    /// Ends the oldest stream of the least role below the newcomer's where as many are open as may.
    fn make_room(&mut self, token: &Token) -> Result<(), TooManyViewers> {
        let open = |viewer: &&mut BoardViewer| viewer.ended.is_none();
        let of_one = |viewer: &&mut BoardViewer| viewer.token == token.digest;
        if self.viewers.values_mut().filter(open).filter(of_one).count() >= VIEWERS_OF_ONE {
            return Err(TooManyViewers::OfOne);
        }
        if self.viewers.values_mut().filter(open).count() < BOARD_VIEWERS_MAX {
            return Ok(());
        }
        // Of equals, the first is the oldest.
        let lesser = self.viewers.values_mut().filter(open).filter(|viewer| viewer.role < token.role);
        lesser
            .min_by_key(|viewer| viewer.role)
            .map(|viewer| viewer.end(GAVE_WAY))
            .ok_or(TooManyViewers::OfAll)
    }

    fn tell(&mut self, board: Map<String, Value>, now: Instant) {
        let change = patch(&self.board, &board);
        // Time alone shows that the node lives, and that is told once a second.
        let is_time_alone = change.keys().all(|member| member == "time");
        let is_soon = self.told.is_some_and(|at| now.saturating_duration_since(at) < BOARD_LIFE);
        if change.is_empty() || is_time_alone && is_soon {
            return;
        }
        self.told = Some(now);
        self.board = board;
        self.snapshot = None;
        self.number += 1;
        let comment = self.commented.is_none_or(|at| now.saturating_duration_since(at) >= BOARD_COMMENT);
        if comment {
            self.commented = Some(now);
        }
        let event = self.event("change", &change, if comment { ":\n\n" } else { "" });
        self.changes_bytes += event.len();
        self.changes.push_back(event);
        while self.changes.len() > BOARD_CHANGES
            || self.changes_bytes > BOARD_CHANGES_BYTES && self.changes.len() > 1
        {
            self.changes_bytes -= self.changes.pop_front().map_or(0, |gone| gone.len());
        }
        self.viewers.values_mut().for_each(BoardViewer::wake);
    }

    /// A line of JSON has no line break.
    fn event(&self, name: &str, data: &Map<String, Value>, before: &str) -> Bytes {
        let data = serde_json::to_string(data).unwrap_or_default();
        format!("{before}id: {:x}-{}\nevent: {name}\ndata: {data}\n\n", self.life, self.number).into()
    }

    fn snapshot(&mut self) -> Bytes {
        let snapshot =
            self.snapshot.take().unwrap_or_else(|| self.event("snapshot", &self.board, "retry: 1000\n"));
        self.snapshot = Some(snapshot.clone());
        snapshot
    }

    /// The change after the one with this id, if everything since then is still there.
    fn after(&self, id: &str) -> Option<u64> {
        let (life, number) = id.split_once('-')?;
        let number: u64 = number.parse().ok()?;
        let is_known = u64::from_str_radix(life, 16).ok()? == self.life && number <= self.number;
        (is_known && number + 1 >= self.oldest()).then(|| number + 1)
    }

    /// Number of the oldest change that is there.
    fn oldest(&self) -> u64 {
        self.number + 1 - self.changes.len() as u64
    }

    fn change(&self, number: u64) -> Option<&Bytes> {
        self.changes.get(usize::try_from(number.checked_sub(self.oldest())?).ok()?)
    }
}

impl BoardViewer {
    fn end(&mut self, why: &'static str) {
        self.ended = Some(why);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// What one viewer is sent, as `text/event-stream`.
pub struct BoardStream {
    feed: BoardFeed,
    id: u64,
    first: Option<Bytes>,
    /// Number of the change that it is told next.
    next: u64,
    taken: Box<dyn Fn()>,
    is_over: bool,
}

impl Drop for BoardStream {
    fn drop(&mut self) {
        let mut told = self.feed.0.borrow_mut();
        told.viewers.remove(&self.id);
        if !self.is_over {
            // What it was still to be told: one that is slow is left without a word.
            told.lost.increment((told.number + 1).saturating_sub(self.next));
        }
    }
}

impl BoardStream {
    /// The next event, or none yet.
    fn event(&mut self, cx: &Context<'_>) -> Option<Bytes> {
        let feed = self.feed.clone();
        let mut told = feed.0.borrow_mut();
        let ended = told.viewers.get(&self.id).and_then(|viewer| viewer.ended);
        if let Some(why) = ended {
            return Some(self.end(why));
        }
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if self.next < told.oldest() {
            told.lost.increment(told.oldest() - self.next);
            return Some(self.end(TOO_SLOW));
        }
        if let Some(change) = told.change(self.next) {
            self.next += 1;
            return Some(change.clone());
        }
        if let Some(viewer) = told.viewers.get_mut(&self.id) {
            viewer.waker = Some(cx.waker().clone());
        }
        None
    }

    /// The last event of a stream.
    fn end(&mut self, why: &str) -> Bytes {
        self.is_over = true;
        format!("event: stale\ndata: {{\"reason\":\"{why}\"}}\n\n").into()
    }
}

impl Body for BoardStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let Some(event) = self.event(cx) else { return Poll::Pending };
        (self.taken)();
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}

/// What makes `new` of `old` as a merge patch. Neither has a `null` for a member of an object.
fn patch(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let mut patched = Map::new();
    for (name, value) in new {
        match (old.get(name), value) {
            (Some(before), _) if before == value => {}
            (Some(Value::Object(before)), Value::Object(now)) => {
                patched.insert(name.clone(), patch(before, now).into());
            }
            (Some(_) | None, _) => drop(patched.insert(name.clone(), value.clone())),
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patched.insert(name.clone(), Value::Null);
    }
    patched
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use serde_json::json;

    /// The moment 0 of these tests.
    fn begin() -> Instant {
        static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *BEGIN.get_or_init(clock::now)
    }

    fn feed(times: std::ops::RangeInclusive<u64>) -> BoardFeed {
        let feed = BoardFeed::new(7);
        told(&feed, times);
        feed
    }

    fn told(feed: &BoardFeed, times: std::ops::RangeInclusive<u64>) {
        for time in times {
            feed.tell(
                &BoardView { time, ..BoardView::default() },
                begin() + BOARD_LIFE * u32::try_from(time).unwrap(),
            );
        }
    }

    fn watch(feed: &BoardFeed, last: Option<&str>) -> BoardStream {
        watch_as(feed, &Token::new("eve", Role::Viewer, b"eve"), last).unwrap()
    }

    fn watch_as(feed: &BoardFeed, token: &Token, last: Option<&str>) -> Result<BoardStream, TooManyViewers> {
        feed.watch((token, Credential::Token(token.digest)), last, Box::new(|| {}))
    }

    /// Everything that the viewer can be told now.
    fn taken(stream: &mut BoardStream) -> String {
        let mut cx = Context::from_waker(Waker::noop());
        let mut all = String::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut *stream).poll_frame(&mut cx) {
            all.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
        all
    }

    #[test]
    fn a_viewer_is_told_the_whole_and_then_what_changes() {
        let feed = feed(1..=3);
        let mut viewer = watch(&feed, None);
        let first = taken(&mut viewer);
        assert!(
            first.starts_with("retry: 1000\nid: 7-3\nevent: snapshot\ndata: {")
                && first.contains("\"time\":3"),
            "{first}"
        );
        told(&feed, 3..=3);
        assert_eq!(taken(&mut viewer), "", "nothing changed");
        told(&feed, 4..=5);
        let change = |number| format!("id: 7-{number}\nevent: change\ndata: {{\"time\":{number}}}\n\n");
        assert_eq!(taken(&mut viewer), change(4) + &change(5));
        assert_eq!(
            taken(&mut watch(&feed, Some("7-3"))),
            change(4) + &change(5),
            "one that lost its connection"
        );
        assert_eq!(taken(&mut watch(&feed, Some("7-5"))), "");
        for other in ["8-3", "7-6", "7", "7-", "-3", "x-3", "7-18446744073709551615"] {
            assert!(taken(&mut watch(&feed, Some(other))).contains("event: snapshot"), "{other}");
        }
    }

    #[test]
    fn time_alone_is_told_once_a_second_and_the_rest_at_once() {
        let feed = feed(1..=1);
        let mut viewer = watch(&feed, None);
        assert!(taken(&mut viewer).contains("snapshot"));
        let now = begin() + BOARD_LIFE + BOARD_LIFE / 2;
        feed.tell(&BoardView { time: 2, ..BoardView::default() }, now);
        assert_eq!(taken(&mut viewer), "");
        feed.tell(&BoardView { time: 3, changed: 3, ..BoardView::default() }, now);
        assert!(taken(&mut viewer).contains("{\"changed\":3,\"time\":3}"));
        feed.tell(&BoardView { time: 4, changed: 3, ..BoardView::default() }, now + BOARD_LIFE);
        assert!(taken(&mut viewer).contains("{\"time\":4}"));
    }

    #[test]
    fn what_is_kept_is_bounded_and_a_slow_viewer_is_left() {
        let feed = feed(1..=1);
        let mut slow = watch(&feed, None);
        assert!(taken(&mut slow).contains("snapshot"));
        told(&feed, 2..=BOARD_CHANGES as u64 + 1);
        assert_eq!(feed.0.borrow().changes.len(), BOARD_CHANGES);
        assert!(!taken(&mut watch(&feed, Some("7-1"))).contains("snapshot"), "the oldest that is kept");
        told(&feed, BOARD_CHANGES as u64 + 2..=BOARD_CHANGES as u64 + 2);
        assert!(taken(&mut watch(&feed, Some("7-1"))).contains("snapshot"), "one more is lost");
        let told = taken(&mut slow);
        assert_eq!(told, format!("event: stale\ndata: {{\"reason\":\"{TOO_SLOW}\"}}\n\n"));
        assert_eq!(taken(&mut slow), "", "it is over");
        let long = BoardView {
            governors: [("x".repeat(BOARD_CHANGES_BYTES / 3).into(), 1)].into(),
            ..BoardView::default()
        };
        for time in 0..20 {
            feed.tell(&BoardView { time, ..long.clone() }, clock::now());
            feed.tell(&BoardView { time, ..BoardView::default() }, clock::now());
        }
        let told = feed.0.borrow();
        assert!(told.changes_bytes <= BOARD_CHANGES_BYTES && told.changes.len() < 20);
        assert_eq!(told.changes.iter().map(Bytes::len).sum::<usize>(), told.changes_bytes);
    }

    #[test]
    fn as_many_watch_as_may_and_who_leaves_makes_room() {
        let feed = feed(1..=1);
        let token = |name: &str, role| Token::new(name, role, name.as_bytes());
        let viewer = |number: usize| token(&format!("viewer {number}"), Role::Viewer);
        let mut viewers: Vec<BoardStream> = Vec::new();
        for number in 0..BOARD_VIEWERS_MAX / VIEWERS_OF_ONE {
            let own = (0..VIEWERS_OF_ONE).map(|_| watch_as(&feed, &viewer(number), None).unwrap());
            viewers.extend(own);
            assert_eq!(watch_as(&feed, &viewer(number), None).err(), Some(TooManyViewers::OfOne));
        }
        let of = |token: &Token| watch_as(&feed, token, None);
        assert_eq!(of(&viewer(99)).err(), Some(TooManyViewers::OfAll), "equals keep their places");
        assert!(taken(&mut viewers[0]).contains("event: snapshot"));
        let above: Vec<BoardStream> =
            [Role::Operator, Role::Admin].map(|role| of(&token("above", role)).unwrap()).into();
        for gone in &mut viewers[..2] {
            assert!(taken(gone).ends_with(&format!("event: stale\ndata: {{\"reason\":\"{GAVE_WAY}\"}}\n\n")));
        }
        assert!(!taken(&mut viewers[2]).contains("event: stale"));
        assert_eq!(of(&viewer(99)).err(), Some(TooManyViewers::OfAll));
        drop(above);
        assert_eq!(of(&viewer(99)).err(), None);
        feed.end_unless(|_| false);
        assert!(taken(&mut viewers[2]).contains("event: stale"));
        drop(viewers);
        assert!(feed.is_unwatched());
    }

    #[test]
    fn a_patch_makes_the_new_of_the_old() {
        let object = |value: Value| value.as_object().unwrap().clone();
        for (old, new, patched) in [
            (json!({"a": 1}), json!({"a": 1}), json!({})),
            (
                json!({"a": 1, "b": {"c": 1, "d": 2}}),
                json!({"b": {"c": 1, "d": 3}}),
                json!({"a": null, "b": {"d": 3}}),
            ),
            (json!({"a": [1, 2]}), json!({"a": [1], "b": {"c": {}}}), json!({"a": [1], "b": {"c": {}}})),
            (json!({"a": {"b": 1}}), json!({"a": 1}), json!({"a": 1})),
        ] {
            assert_eq!(patch(&object(old), &object(new)), object(patched));
        }
    }
}
