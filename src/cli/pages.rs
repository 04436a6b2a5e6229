//! Lists of a node, page by page. The node may be a peer, which answers what it likes: so each page is cut to what was asked for, each
//! has to go on, and pages, bytes and time of a node are bounded.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;

use super::client::{AnswerBounds, AskedNode, Sent, Unanswered};
use super::output::Failure;
use crate::clock::{self, Instant};
use crate::limits::{
    LIST_BYTES_MAX, LIST_CURSOR_BYTES_MAX, LIST_EMPTY_PAGES_MAX, LIST_PAGE_BYTES, LIST_ROW_BYTES,
    LIST_SECONDS,
};
use crate::percent::encode;

/// A list that nodes answer with.
#[derive(Clone, Copy, Debug)]
pub struct PagedList {
    /// The command whose operation it is.
    pub command: &'static str,
    /// The field of an answer that has the rows.
    pub rows: &'static str,
    /// Rows that a node puts into one answer at most.
    pub page: usize,
}

/// What a node has of a list.
#[derive(Debug)]
pub struct ListRead {
    pub rows: Vec<Value>,
    /// What the node counts, where it does.
    pub count: Option<u64>,
    /// From where there may be more.
    pub next: Option<String>,
    /// Why it was read no further, where a page after the first one failed.
    pub cut: Option<Failure>,
}

impl ListRead {
    /// The same, where a part of it is of no use.
    pub fn whole(self) -> Result<Self, Failure> {
        match self.cut {
            Some(failure) => Err(failure),
            None => Ok(self),
        }
    }
}

impl PagedList {
    /// At most `limit` rows of a node.
    pub fn read(self, node: AskedNode<'_>, query: &str, limit: usize) -> Result<ListRead, Unanswered> {
        let mut pages = Pages::new(self, node, query, limit);
        let (mut rows, mut cut) = (Vec::new(), None);
        while pages.has_more() && cut.is_none() {
            match pages.read_next() {
                Ok(mut page) => rows.append(&mut page),
                Err(why) if pages.is_begun => cut = Some(why.into()),
                Err(why) => return Err(why),
            }
        }
        Ok(ListRead { rows, count: pages.count, next: pages.next, cut })
    }
}

/// The pages of a list, at one node.
pub struct Pages<'a> {
    list: PagedList,
    node: AskedNode<'a>,
    query: &'a str,
    /// Rows that are still asked for.
    left: usize,
    /// The page after the last one, and all that were named so far.
    next: Option<String>,
    named: HashSet<String>,
    /// What the node counts at the first page.
    pub count: Option<u64>,
    is_begun: bool,
    empty_pages: usize,
    bytes_left: usize,
    until: Instant,
}

impl<'a> Pages<'a> {
    /// `query` says which rows, without a limit of them.
    pub fn new(list: PagedList, node: AskedNode<'a>, query: &'a str, limit: usize) -> Self {
        Self {
            list,
            node,
            query,
            left: limit,
            next: None,
            named: HashSet::new(),
            count: None,
            is_begun: false,
            empty_pages: 0,
            bytes_left: bytes_for(limit).min(LIST_BYTES_MAX),
            until: clock::now() + Duration::from_secs(LIST_SECONDS),
        }
    }

    /// Whether rows are asked for that the node may have.
    pub fn has_more(&self) -> bool {
        self.left > 0 && (!self.is_begun || self.next.is_some())
    }

    /// The rows of the next page, which may be none.
    pub fn read_next(&mut self) -> Result<Vec<Value>, Unanswered> {
        let asked = self.left.min(self.list.page);
        let mut query = format!("limit={asked}");
        if !self.query.is_empty() {
            query = format!("{query}&{}", self.query);
        }
        if let Some(next) = &self.next {
            query = format!("{query}&after={}", encode(next));
        }
        let wait = self.until.saturating_duration_since(clock::now()).min(AnswerBounds::MAX.wait);
        if wait.is_zero() {
            return Err(self.refuse(&format!("takes longer than {LIST_SECONDS} s")).hint(NARROWER).into());
        }
        let bytes = bytes_for(asked).min(AnswerBounds::MAX.bytes).min(self.bytes_left);
        let sent = Sent { query: &query, ..Sent::default() };
        let (mut page, length) = self.node.send(self.list.command, &sent, AnswerBounds { bytes, wait })?;
        self.bytes_left -= length;
        if !self.is_begun {
            self.count = page.get("count").and_then(Value::as_u64);
        }
        let Some(Value::Array(mut rows)) = page.get_mut(self.list.rows).map(Value::take) else {
            return Err(self.refuse("is none").into());
        };
        rows.truncate(asked);
        rows.shrink_to_fit();
        if !rows.iter().all(Value::is_object) {
            return Err(self.refuse("has rows that are no objects").into());
        }
        self.left -= rows.len();
        self.empty_pages = if rows.is_empty() { self.empty_pages + 1 } else { 0 };
        self.go_on(page.get("next"))?;
        self.is_begun = true;
        Ok(rows)
    }

    fn go_on(&mut self, next: Option<&Value>) -> Result<(), Failure> {
        self.next = match next {
            None | Some(Value::Null) => None,
            Some(Value::String(next)) if next.len() <= LIST_CURSOR_BYTES_MAX => Some(next.clone()),
            Some(_) => return Err(self.refuse("has a `next` that names no page")),
        };
        // A search that looked through its share of the log without a find has such pages.
        if self.next.is_some() && self.empty_pages >= LIST_EMPTY_PAGES_MAX {
            return Err(self
                .refuse(&format!("has {LIST_EMPTY_PAGES_MAX} empty pages in a row"))
                .hint(NARROWER));
        }
        match &self.next {
            Some(next) if !self.named.insert(next.clone()) => {
                Err(self.refuse("comes back to a page that was read, so it has no end"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn refuse(&self, what: &str) -> Failure {
        let (authority, rows) = (self.node.authority(), self.list.rows);
        Failure::io(format!("the list `{rows}` of {authority} {what}"))
    }
}

const NARROWER: &str = "ask for less, such as a shorter time or one tenant";

/// What so many rows may take.
fn bytes_for(rows: usize) -> usize {
    rows.saturating_mul(LIST_ROW_BYTES).saturating_add(LIST_PAGE_BYTES)
}
