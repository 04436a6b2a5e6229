//! One request: route, guard, read, verify, parse, rate, offer, wait, answer. The order is the promise: nothing is
//! parsed before its signature held (P6), and a tenant's quota is not touched by what nobody signed. A path is
//! looked at as one of a callback only when it is not one of a signal: signals pay nothing for callbacks.

use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue,
    TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode, Uri};
use tokio::sync::oneshot;

use super::answer::{Promised, Refused};
use super::body;
use super::callback::{CallbackAsked, channel_of};
use super::connection::{Answer, Watch};
use super::guard::Turn;
use super::outbox::{self, SharedOutbox};
use super::stage::{Ingress, Source, SourceInUse};
use super::traced::Traced;
use crate::clock::{self, Instant};
use crate::kaizen::Stage as Measured;
use crate::limits;
use crate::net::host;
use crate::signal::{self, Form, Signals};

/// Answers one request of a connection that answers them one after the other: what the journal has to say comes
/// later, through the outbox. Never fails, since every failure has an answer.
pub async fn answer_in_order(
    ingress: Rc<Ingress>,
    watch: Rc<Watch>,
    outbox: SharedOutbox,
    request: Request<Incoming>,
) -> Answer {
    outbox::room(&outbox).await;
    let begun = clock::now();
    let (head, mut body) = request.into_parts();
    let bodiless = head.method == Method::HEAD;
    watch.request_began();
    let client = ingress.admission.client(&watch, &head.headers);
    let taken = match check(&ingress, &watch, client, &head, &mut body).await {
        Ok((signals, traced)) => {
            let promised = Promised::of(&signals, begun, traced);
            Ok(ingress.offer(signals).map(|()| {
                ingress.await_in(&outbox, promised);
                None
            }))
        }
        Err(Refused::NoSuchPath) => Box::pin(called_back(&ingress, &watch, client, &head, &mut body))
            .await
            .map(|answer| Ok(Some(answer))),
        Err(refused) => Err(refused),
    };
    let (offered, closes) = match taken {
        // Where the length of the body was a matter of interpretation, the next request would be too.
        Ok(offered) => (offered, head.headers.contains_key(TRANSFER_ENCODING)),
        Err(refused) => {
            let closes = refused.closes() || !is_read(&head.headers, &mut body).await;
            (Err(refused), closes)
        }
    };
    let mut answer = match offered {
        // Only its framing will be used.
        Ok(None) => accepted(),
        Ok(Some(answer)) => {
            outbox.borrow_mut().speaks(answer.body().len());
            answer
        }
        Err(refused) => {
            if let Some(rest) = refuse(&ingress, &watch, client, &refused, begun) {
                rest.await;
            }
            let answer = refused.answer();
            outbox.borrow_mut().speaks(if bodiless { 0 } else { answer.body().len() });
            answer
        }
    };
    if closes || watch.is_last_request() {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    watch.request_ended();
    answer
}

/// Reads what is left of a refused request's body, so that the next request can be read; false where it is not worth it
/// or not known where it ends, and the connection closes.
async fn is_read(headers: &HeaderMap, body: &mut Incoming) -> bool {
    if headers.contains_key(TRANSFER_ENCODING) {
        return false;
    }
    let is_short = body.size_hint().upper().is_some_and(|bytes| bytes <= limits::BODY_BYTES_MAX as u64);
    // Who waits for a word before it sends the body will not send it.
    body.is_end_stream() || is_short && !headers.contains_key(EXPECT) && body::discard(body).await
}

/// Answers one request that waits for the journal by itself; also says whose it was.
pub async fn answer_alone<B>(ingress: &Ingress, watch: &Watch, head: &Parts, body: &mut B) -> (Answer, IpAddr)
where
    B: Body<Data = Bytes> + Unpin,
{
    let begun = clock::now();
    let client = ingress.admission.client(watch, &head.headers);
    let offered = check(ingress, watch, client, head, body).await.and_then(|(signals, traced)| {
        let mut promised = Promised::of(&signals, begun, traced);
        let traced = promised.traced.take();
        ingress.offer(signals).map(|()| (ingress.wait(promised), traced))
    });
    let answered = match offered {
        Ok((told, traced)) => {
            let told = told.await;
            ingress.count_told(&told, begun, traced);
            Ok(told.answer())
        }
        Err(Refused::NoSuchPath) => Box::pin(called_back(ingress, watch, client, head, body)).await,
        Err(refused) => Err(refused),
    };
    let answer = match answered {
        Ok(answer) => answer,
        Err(refused) => {
            if let Some(rest) = refuse(ingress, watch, client, &refused, begun) {
                rest.await;
            }
            refused.answer()
        }
    };
    (answer, client)
}

/// A callback of a channel, if the path names one; answered when what it says is durable.
async fn called_back<B>(
    ingress: &Ingress,
    watch: &Watch,
    client: IpAddr,
    head: &Parts,
    incoming: &mut B,
) -> Result<Answer, Refused>
where
    B: Body<Data = Bytes> + Unpin,
{
    let channel = channel_of(head.uri.path()).ok_or(Refused::NoSuchPath)?;
    let callbacks = ingress.callbacks();
    let source = callbacks.iter().find(|source| source.channel() == channel);
    let source = source.ok_or(Refused::NoSuchCallback)?;
    if head.method != Method::POST {
        return Err(Refused::Method);
    }
    check_head(&head.headers)?;
    let body = read_body(ingress, watch, client, source.counted(), incoming).await?;
    // A key that was withdrawn while the body came is no key any more.
    let callbacks = ingress.callbacks();
    let source = callbacks.iter().find(|source| source.channel() == channel);
    let source = source.ok_or(Refused::NoSuchCallback)?;
    let verified = source.key().verify(&head.headers, body, ingress.unix_seconds()).map_err(|refusal| {
        source.refused(refusal);
        ingress.guard_bad(client, source.counted());
        Refused::Signature
    })?;
    let Some(callback) = source.read(&verified).map_err(Refused::NotACallback)? else {
        return Ok(Answer::default());
    };
    let (tell, answer) = oneshot::channel();
    ingress.call_back(CallbackAsked { callback, answer: tell })?;
    if let Ok(Ok(())) = tokio::time::timeout(limits::CALLBACK_WAIT, answer).await {
        return Ok(Answer::default());
    }
    let why = "the line does not answer now: send it again";
    Err(Refused::Busy { why, retry_after: ingress.retry_after() })
}

fn accepted() -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::ACCEPTED;
    answer
}

/// Counts a refusal. Who is refused too much waits for the end of what this returns; it is in a box, since hardly a
/// request needs room for it.
fn refuse<'r>(
    ingress: &'r Ingress,
    watch: &'r Watch,
    client: IpAddr,
    refused: &Refused,
    begun: Instant,
) -> Option<Pin<Box<impl Future<Output = ()> + use<'r>>>> {
    ingress.count(refused.counter(), 1);
    ingress.record(Measured::Whole, clock::now() - begun);
    let nanos = watch.rests().filter(|_| refused.is_paced())?;
    Some(Box::pin(ingress.rest(watch, client, nanos)))
}

/// Signals that may be offered, and what is to be told of them where they are traced.
type Checked = (Signals, Option<Box<Traced>>);

/// Everything before the journal.
async fn check<B>(
    ingress: &Ingress,
    watch: &Watch,
    client: IpAddr,
    head: &Parts,
    incoming: &mut B,
) -> Result<Checked, Refused>
where
    B: Body<Data = Bytes> + Unpin,
{
    crate::fault::point("K2");
    if !host::is_clear(head.version, &head.uri, &head.headers) {
        return Err(Refused::Host);
    }
    let source = route(ingress, &head.method, &head.uri)?;
    check_head(&head.headers)?;
    let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let form = Form::of(content_type, &head.headers, source.fixed.binary).map_err(Refused::Form)?;
    let body = read_body(ingress, watch, client, &source.name, incoming).await?;
    crate::fault::point("K3");
    // A key that was withdrawn while the body came is no key any more.
    let source = ingress.same_source(source).ok_or(Refused::NoSuchSource)?;
    check_body(ingress, watch, client, &source, &head.headers, form, body)
}

fn route(ingress: &Ingress, method: &Method, uri: &Uri) -> Result<SourceInUse, Refused> {
    let path = uri.path();
    if path.len() + uri.query().map_or(0, str::len) > limits::URL_BYTES_MAX {
        return Err(Refused::Url);
    }
    let name = match path {
        "/v1/signals" => "signals",
        _ => path.strip_prefix("/v1/sources/").ok_or(Refused::NoSuchPath)?,
    };
    if method != Method::POST {
        return Err(Refused::Method);
    }
    ingress.source(name).ok_or(Refused::NoSuchSource)
}

fn check_head(headers: &HeaderMap) -> Result<(), Refused> {
    // HTTP/1.1 never comes here with two; HTTP/2 says the length in its frames, so it is taken twice without a word.
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(Refused::BodyBroken);
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    // HTTP/1.1 counts them while it reads, HTTP/2 does not.
    if bytes > limits::HEADER_BYTES_MAX as usize || headers.len() > limits::HEADERS_MAX {
        return Err(Refused::Headers);
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Refused::ContentEncoding);
    }
    Ok(())
}

async fn read_body<B>(
    ingress: &Ingress,
    watch: &Watch,
    client: IpAddr,
    source: &str,
    incoming: &mut B,
) -> Result<Bytes, Refused>
where
    B: Body<Data = Bytes> + Unpin,
{
    let declared = incoming.size_hint().exact();
    if declared.is_some_and(|bytes| bytes > limits::BODY_BYTES_MAX as u64) {
        return Err(Refused::TooLarge);
    }
    let body =
        body::read(incoming, || watch.rests().is_some(), || ingress.memory.open(client, clock::nanos()))
            .await?;
    // What was declared and did not come has taken nobody's turn.
    wait_for_turn(ingress, client, source, body.len()).await?;
    Ok(body)
}

/// A large body of a client that sends bad signatures is not looked at before others' (see [`super::guard`]).
async fn wait_for_turn(ingress: &Ingress, client: IpAddr, source: &str, bytes: usize) -> Result<(), Refused> {
    match ingress.turn(client, source, bytes as u64) {
        Turn::Now => {}
        Turn::After(nanos) => {
            let charge = ingress.memory.open(client, clock::nanos());
            body::hold(charge, bytes, Duration::from_nanos(nanos)).await?;
        }
        Turn::Never => return Err(Refused::Guarded),
    }
    Ok(())
}

/// Signature, then content, then rate: nothing here waits.
fn check_body(
    ingress: &Ingress,
    watch: &Watch,
    client: IpAddr,
    source: &Source,
    headers: &HeaderMap,
    form: Form<'_>,
    body: Bytes,
) -> Result<Checked, Refused> {
    crate::fault::point("K4");
    let bytes = body.len();
    let sampled = ingress.samples();
    let choice = ingress.choose(headers);
    let timed = sampled || choice.is_some_and(|choice| choice.is_recorded);
    let before = timed.then(clock::now);
    let verified = source.keyring.verify(headers, body, ingress.unix_seconds()).map_err(|refusal| {
        source.refused(refusal);
        ingress.guard_bad(client, &source.name);
        Refused::Signature
    })?;
    let verified_at = timed.then(clock::now);
    let mut signals = signal::parse(verified, form, &source.fixed).map_err(|unfit| {
        ingress.slow_unfit(watch, client, source, bytes);
        Refused::Unfit(unfit)
    })?;
    let parsed_at = sampled.then(clock::now);
    crate::fault::point("K5");
    ingress.take_rate(watch, &signals, bytes)?;
    if let (Some(before), Some(verified_at), Some(parsed_at)) = (before, verified_at, parsed_at) {
        ingress.record(Measured::Verify, verified_at - before);
        ingress.record(Measured::Parse, parsed_at - verified_at);
        ingress.record(Measured::Rate, clock::now() - parsed_at);
    }
    let traced = choice.and_then(|choice| choice.mark(&mut signals, &source.name, before.zip(verified_at)));
    Ok((signals, traced))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use http_body_util::Full;
    use tokio::sync::{Notify, mpsc};

    use super::*;
    use crate::ingress::callback::{CallbackSource, lane};
    use crate::ingress::client_address::TrustedProxies;
    use crate::ingress::rate::Buckets;
    use crate::ingress::stage::{Ends, Plan};
    use crate::kaizen::Collector;
    use crate::limits::{CALLBACK_WAIT, CALLBACKS_WAITING_MAX};
    use crate::ring::{self, Bell, Crowd, Current, Mark, Room, Switch};
    use crate::signature::{CallbackKey, CallbackScheme};

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn key() -> CallbackKey {
        CallbackKey::new(CallbackScheme::PagerDuty, b"a secret of 28 bytes, enough", 300).unwrap()
    }

    /// A thread that hands callbacks to `to`.
    fn ingress(to: mpsc::Sender<CallbackAsked>) -> Rc<Ingress> {
        let bell = Arc::new(Bell::new(|| {}));
        let (arrivals, _) = ring::lane(1, Arc::clone(&bell));
        let (_, acks) = ring::lane(1, Arc::clone(&bell));
        let (_, accepted) = mpsc::channel(1);
        let recorder = Collector::new().unwrap().recorder().unwrap();
        let ends = Ends::new(arrivals, acks, bell, Arc::new(Notify::new()), accepted, recorder);
        let source = CallbackSource::new("oncall", key(), ["oncall".into()].into());
        let plan = Plan {
            connections_max: 2 * CALLBACKS_WAITING_MAX,
            sources: Current::new(Arc::new(Vec::new())),
            callbacks: (Current::new(Arc::new(vec![source])), to),
            buckets: Buckets::new(NonZeroU32::MIN, 1),
            crowd: Crowd::new(1, Room { bytes: 1, governors: 1 }),
            time: Mark::new(0),
            threads: 1,
            idle_seconds: 60,
            connection_seconds: 60,
            trusted_proxies: TrustedProxies::new(Vec::new()),
            drain: Switch::new(),
            abandon: Switch::new(),
        };
        Rc::new(Ingress::new(&plan, ends))
    }

    async fn called(ingress: &Ingress) -> Answer {
        let body = format!(
            r#"{{"event":{{"event_type":"incident.resolved","occurred_at":"2026-01-02T03:04:05Z",
            "agent":{{"type":"user_reference","id":"P1"}},"data":{{"incident_key":"{}-1"}}}}}}"#,
            "ab".repeat(16)
        );
        let mut request = Request::post("/v1/channels/oncall/callback");
        for (name, value) in key().sign(body.as_bytes(), 0) {
            request = request.header(name, value);
        }
        let (head, mut body) = request.body(Full::new(Bytes::from(body))).unwrap().into_parts();
        let watch = ingress.admission.admit(CLIENT).unwrap();
        let answer = called_back(ingress, &watch, CLIENT, &head, &mut body).await;
        answer.unwrap_or_else(|refused| refused.answer())
    }

    #[test]
    fn callbacks_that_the_line_does_not_take_are_bounded_and_answered_in_time() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        runtime.block_on(async {
            let (to, mut asked) = lane();
            let ingress = ingress(to);
            let begun = tokio::time::Instant::now();
            let calls = (0..CALLBACKS_WAITING_MAX).map(|_| {
                let ingress = Rc::clone(&ingress);
                tokio::task::spawn_local(async move { called(&ingress).await })
            });
            let calls: Vec<_> = calls.collect();
            while asked.len() < CALLBACKS_WAITING_MAX {
                tokio::task::yield_now().await;
            }
            let is_busy = |answer: &Answer| {
                answer.status() == StatusCode::SERVICE_UNAVAILABLE
                    && answer.headers().contains_key("retry-after")
            };
            assert!(is_busy(&called(&ingress).await), "one more than may wait");
            assert_eq!(begun.elapsed(), Duration::ZERO, "is told at once");
            for call in calls {
                assert!(is_busy(&call.await.unwrap()));
            }
            assert_eq!(begun.elapsed(), CALLBACK_WAIT);
            // Who gave up is not waited for; who is answered hears it.
            while let Ok(CallbackAsked { answer, .. }) = asked.try_recv() {
                assert!(answer.is_closed());
            }
            let call = called(&ingress);
            let taken = async { asked.recv().await.unwrap().answer.send(()).unwrap() };
            let (answer, ()) = tokio::join!(call, taken);
            assert_eq!(answer.status(), StatusCode::OK);
        });
    }
}
