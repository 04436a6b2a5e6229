//! Samples on their way to a receiver of Prometheus remote write: taken once an interval, kept for as long as they are worth
//! something, sent in order, one request at a time. A receiver that hangs costs samples, which are counted, and nothing else.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::Uri;
use hyper::header::{self, HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::sink_counters::SinkCounters;
use crate::clock;
use crate::kaizen::remote_write::{Answer, STALE, Said, Version, WRITTEN};
use crate::kaizen::{Known, Sample, Taking};
use crate::limits::{
    REMOTE_KEPT_FOR, REMOTE_REQUEST_SAMPLES, REMOTE_SAMPLES_MAX, REMOTE_TIMEOUT, SPANS_LOOK, TELEMETRY_LAST,
};
use crate::net::backoff::{pause, random, retry_after};
use crate::net::client_tls::ClientTls;
use crate::net::post::{Http, Poster, Reply};

/// Where samples go, and how.
pub struct Plan {
    pub url: Uri,
    pub version: Version,
    pub interval: Duration,
    /// `None`: the receiver asks for none.
    pub authorization: Option<HeaderValue>,
    /// Of every series.
    pub labels: Vec<(String, String)>,
    pub tls: Option<Arc<ClientTls>>,
}

impl std::fmt::Debug for Plan {
    /// A URL may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Samples of one moment, as many as a request has.
struct Part {
    /// Tells it from the others.
    number: u64,
    /// Milliseconds since 1970.
    time: i64,
    taken: Instant,
    samples: Vec<Sample>,
}

/// Shows all metrics as they are now.
pub type ShowAll = Box<dyn Fn(&mut Taking<'_>)>;

/// When the process began to count: counters go on where the line is taken up again.
static SINCE: OnceLock<i64> = OnceLock::new();

/// Samples that wait, and where they go.
pub struct RemoteWrite {
    plan: Arc<Plan>,
    show: ShowAll,
    poster: Poster,
    known: RefCell<Known>,
    waiting: RefCell<VecDeque<Part>>,
    /// Samples in them.
    count: Cell<usize>,
    /// Of the parts before.
    parts: Cell<u64>,
    /// Of the samples before.
    last: Cell<i64>,
    /// When the process began to count.
    since: i64,
    version: Cell<Version>,
    /// The receiver has said what it wrote, or refuses in both versions.
    is_proven: Cell<bool>,
    /// 1.0 is tried, since a request of 2.0 was answered by 400.
    is_trial: Cell<bool>,
    is_failing: Cell<bool>,
    counters: SinkCounters,
}

impl RemoteWrite {
    #[must_use]
    pub fn new(plan: &Arc<Plan>, show: ShowAll) -> Rc<Self> {
        Rc::new(Self {
            plan: Arc::clone(plan),
            show,
            poster: Poster::new(Http::Any, plan.tls.clone()),
            known: RefCell::default(),
            waiting: RefCell::default(),
            count: Cell::new(0),
            parts: Cell::new(0),
            last: Cell::new(0),
            since: *SINCE.get_or_init(wall),
            version: Cell::new(plan.version),
            is_proven: Cell::new(false),
            is_trial: Cell::new(false),
            is_failing: Cell::new(false),
            counters: SinkCounters::of("remote_write"),
        })
    }

    /// Takes samples once an interval, for ever.
    pub async fn gather(self: Rc<Self>) {
        let mut interval = tokio::time::interval(self.plan.interval);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.take();
        }
    }

    fn take(&self) {
        let mut taking = self.known.take().take(&self.plan.labels);
        (self.show)(&mut taking);
        let (mut samples, gone, known) = taking.end();
        samples.extend(gone.into_iter().map(|series| (series, STALE)));
        self.known.replace(known);
        self.keep(samples);
    }

    /// Every series that was told of has ended.
    fn take_ends(&self) {
        let samples = self.known.take().iter().map(|series| (Arc::clone(series), STALE)).collect();
        self.keep(samples);
    }

    /// The newest are kept: those before them make room.
    fn keep(&self, mut samples: Vec<Sample>) {
        // In order for every series, whatever the wall clock does.
        let time = wall().max(self.last.get() + 1);
        self.last.set(time);
        let (mut waiting, taken) = (self.waiting.borrow_mut(), Instant::now());
        while !samples.is_empty() {
            let rest = samples.split_off(samples.len().min(REMOTE_REQUEST_SAMPLES));
            self.count.set(self.count.get() + samples.len());
            let number = self.parts.get();
            self.parts.set(number + 1);
            waiting.push_back(Part { number, time, taken, samples: std::mem::replace(&mut samples, rest) });
        }
        while self.count.get() > REMOTE_SAMPLES_MAX
            && let Some(oldest) = waiting.pop_front()
        {
            self.forget(&oldest, &self.counters.queue);
        }
    }

    fn forget(&self, part: &Part, counter: &metrics::Counter) {
        self.count.set(self.count.get() - part.samples.len());
        counter.increment(part.samples.len() as u64);
    }

    /// Sends what was taken, for ever.
    pub async fn send(self: Rc<Self>) {
        let mut failed = 0;
        loop {
            match self.send_first().await {
                Some(Ok(())) => failed = 0,
                Some(Err(after)) => {
                    failed += 1;
                    tokio::time::sleep(pause(failed, after, random())).await;
                }
                None => tokio::time::sleep(SPANS_LOOK).await,
            }
        }
    }

    /// Sends the oldest part that is not too old; `None` where nothing waits. What is to be sent again waits on.
    async fn send_first(&self) -> Option<Result<(), Option<Duration>>> {
        let (request, number, count) = {
            let mut waiting = self.waiting.borrow_mut();
            while let Some(part) = waiting.front()
                && part.taken.elapsed() > REMOTE_KEPT_FOR
            {
                self.forget(part, &self.counters.too_old);
                waiting.pop_front();
            }
            let part = waiting.front()?;
            let body = self.version.get().request(&part.samples, part.time, self.since);
            (compressed(&body), part.number, part.samples.len() as u64)
        };
        let version = self.version.get();
        let asked = self.poster.post(&self.plan.url, self.headers(version), request, REMOTE_TIMEOUT).await;
        let answer = match &asked {
            Ok(reply) => Answer::of(&said(reply), version, count, self.is_proven.get()),
            Err(_) => Answer::Again(None),
        };
        match answer {
            Answer::Written(written) => {
                self.is_proven.set(version == Version::Two);
                if self.is_trial.replace(false) {
                    tell_of_version();
                }
                self.settle(number, |_| {
                    self.counters.sent.increment(written);
                    self.counters.rejected.increment(count - written);
                });
                if self.is_failing.replace(false) {
                    tracing::info!(target: "gemba::kaizen", "samples are taken again");
                }
            }
            Answer::OtherVersion { is_certain } => {
                self.version.set(Version::One);
                if is_certain {
                    tell_of_version();
                } else {
                    self.is_trial.set(true);
                }
            }
            Answer::Refused => {
                if self.is_trial.replace(false) {
                    // The samples were at fault, not the version.
                    self.version.set(Version::Two);
                    self.is_proven.set(true);
                }
                let reason = asked.as_ref().map_or_else(Clone::clone, |reply| self.refused(reply));
                tracing::warn!(
                    target: "gemba::kaizen",
                    reason,
                    hint = "check its address and what it asks of clients",
                    "the receiver refuses samples"
                );
                self.settle(number, |samples| self.counters.refused.increment(samples as u64));
            }
            Answer::Again(after) => {
                if !self.is_failing.replace(true) {
                    let reason = asked.as_ref().map_or_else(Clone::clone, |reply| self.refused(reply));
                    tracing::warn!(target: "gemba::kaizen", reason, "samples are not taken");
                }
                return Some(Err(after));
            }
        }
        Some(Ok(()))
    }

    /// This part is done with; newer samples may have pushed it out meanwhile, and then it is counted already.
    fn settle(&self, number: u64, count: impl FnOnce(usize)) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.front().is_some_and(|part| part.number == number)
            && let Some(part) = waiting.pop_front()
        {
            self.count.set(self.count.get() - part.samples.len());
            count(part.samples.len());
        }
    }

    fn headers(&self, version: Version) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(version.content_type()));
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        let number = HeaderValue::from_static(version.number());
        headers.insert("x-prometheus-remote-write-version", number);
        if let Some(authorization) = &self.plan.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        headers
    }

    /// Its status and what it says, for people; nothing is decided by that. A receiver that repeats what it was asked with is
    /// not quoted.
    fn refused(&self, reply: &Reply) -> String {
        const SHOWN: usize = 200;
        let status = reply.status.as_u16();
        let text = String::from_utf8_lossy(&reply.body);
        let secret =
            self.plan.authorization.as_ref().and_then(|value| value.to_str().ok()?.split(' ').nth(1));
        let path = self
            .plan
            .url
            .path_and_query()
            .map(hyper::http::uri::PathAndQuery::as_str)
            .filter(|path| path.len() > 1);
        if [secret, path].into_iter().flatten().any(|secret| text.contains(secret)) {
            return format!("it answered {status}");
        }
        let text: String = text.chars().take(SHOWN).collect();
        format!("it answered {status}: {}", text.trim())
    }

    /// The last of it, at an orderly end: the values as they are, and that every series has ended.
    pub async fn end(&self) {
        self.take();
        self.take_ends();
        let last = async {
            while let Some(sent) = self.send_first().await {
                if sent.is_err() {
                    tokio::time::sleep(SPANS_LOOK).await;
                }
            }
        };
        let _taken_or_not = tokio::time::timeout(TELEMETRY_LAST, last).await;
        self.counters.undelivered.increment(self.count.get() as u64);
    }
}

fn said(reply: &Reply) -> Said {
    let text = |name: &str| reply.headers.get(name).and_then(|value| value.to_str().ok());
    Said {
        status: reply.status.as_u16(),
        after: text(header::RETRY_AFTER.as_str()).and_then(|text| retry_after(text, SystemTime::now())),
        samples: text(WRITTEN[0]).and_then(|count| count.parse().ok()),
        says_written: WRITTEN.iter().any(|name| reply.headers.contains_key(*name)),
    }
}

fn tell_of_version() {
    tracing::info!(
        target: "gemba::kaizen",
        "the receiver of samples does not speak remote write 2.0: 1.0 is spoken from here on"
    );
}

/// In the block format.
fn compressed(body: &[u8]) -> Bytes {
    // A request is far below the 4 GiB that it can say.
    snap::raw::Encoder::new().compress_vec(body).unwrap_or_default().into()
}

fn wall() -> i64 {
    i64::try_from(clock::wall().0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kaizen::Metric;

    fn plan() -> Arc<Plan> {
        Arc::new(Plan {
            url: Uri::from_static("http://127.0.0.1:1/"),
            version: Version::Two,
            interval: Duration::from_secs(1),
            authorization: None,
            labels: Vec::new(),
            tls: None,
        })
    }

    fn samples(count: usize) -> Vec<Sample> {
        let series = Arc::new(crate::kaizen::Series { labels: Vec::new(), metric: Metric::QueueDepth });
        vec![(series, 1.0); count]
    }

    fn waiting(writer: &RemoteWrite) -> usize {
        let waiting = writer.waiting.borrow();
        let times: Vec<i64> = waiting.iter().map(|part| part.time).collect();
        assert!(times.is_sorted() && waiting.iter().all(|part| part.samples.len() <= REMOTE_REQUEST_SAMPLES));
        let count = waiting.iter().map(|part| part.samples.len()).sum();
        assert_eq!(writer.count.get(), count);
        count
    }

    #[test]
    fn what_waits_is_bounded_and_the_newest_is_kept() {
        let writer = RemoteWrite::new(&plan(), Box::new(|_| {}));
        for _ in 0..2 * REMOTE_SAMPLES_MAX / 5000 {
            writer.keep(samples(5000));
            assert!(waiting(&writer) <= REMOTE_SAMPLES_MAX);
        }
        assert!(waiting(&writer) > REMOTE_SAMPLES_MAX - 2 * REMOTE_REQUEST_SAMPLES);
        assert_eq!(writer.waiting.borrow().back().map(|part| part.time), Some(writer.last.get()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_old_is_not_sent() {
        let writer = RemoteWrite::new(&plan(), Box::new(|_| {}));
        writer.keep(samples(10));
        tokio::time::advance(REMOTE_KEPT_FOR).await;
        writer.keep(samples(7));
        tokio::time::advance(Duration::from_secs(1)).await;
        // Nobody listens: it is to be sent again.
        assert_eq!(writer.send_first().await, Some(Err(None)));
        assert_eq!(waiting(&writer), 7);
    }
}
