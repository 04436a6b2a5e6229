//! What ingress does for each request, without HTTP: verify the bytes, read the signals.

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use gemba::signal::{Fingerprint, Fixed, Form, parse};
use gemba::signature::{Keyring, Scheme, Verified};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: u64 = 1_700_000_000;

fn main() {
    divan::main();
}

/// About 330 bytes, as a cost meter sends them.
fn signal(n: usize) -> String {
    format!(
        concat!(
            r#"{{"specversion":"1.0","id":"7d9f2c1e-{:08x}","source":"/billing/meter","#,
            r#""type":"cost.usage","tenant":"tenant-042","sku":"compute-standard","severity":"info","#,
            r#""time":"2026-01-02T03:04:05.678Z","datacontenttype":"application/json","#,
            r#""data":{{"amount":12.75,"budget":1000,"currency":"EUR","spend":731.25,"hours":{},"tags":["prod","eu-1"]}}}}"#
        ),
        n,
        n % 24
    )
}

fn batch(count: usize) -> Bytes {
    let signals: Vec<String> = (0..count).map(signal).collect();
    format!("[{}]", signals.join(",")).into()
}

fn keyring(scheme: Scheme) -> Option<Keyring> {
    let secret: &[u8] = match scheme {
        Scheme::Hmac => b"a secret of 28 bytes, enough",
        Scheme::StandardWebhooks => b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    };
    Keyring::new("signals", scheme, &[("k1", secret)], 300).ok()
}

fn headers(keyring: &Keyring, body: &[u8]) -> HeaderMap {
    let value = |(name, value): (&'static str, String)| {
        Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
    };
    keyring.sign(body, "msg_p5jXN8AQM9LWM0D4loKWxJek", NOW).into_iter().filter_map(value).collect()
}

fn verified(keyring: &Keyring, headers: &HeaderMap, body: &Bytes) -> Option<Verified> {
    keyring.verify(headers, body.clone(), NOW).ok()
}

fn verify(bencher: Bencher, scheme: Scheme, body: &Bytes) {
    let Some(keyring) = keyring(scheme) else { return };
    let headers = headers(&keyring, body);
    assert!(verified(&keyring, &headers, body).is_some());
    bencher
        .counter(BytesCount::new(body.len()))
        .bench_local(|| verified(&keyring, black_box(&headers), body));
}

#[divan::bench(args = [1, 100])]
fn verify_hmac(bencher: Bencher, signals: usize) {
    verify(bencher, Scheme::Hmac, &batch(signals));
}

#[divan::bench(args = [1, 100])]
fn verify_standard_webhooks(bencher: Bencher, signals: usize) {
    verify(bencher, Scheme::StandardWebhooks, &batch(signals));
}

fn parses(bencher: Bencher, body: &Bytes, form: Form<'_>, items: usize) {
    let Some(keyring) = keyring(Scheme::Hmac) else { return };
    let (headers, fixed) = (headers(&keyring, body), Fixed::default());
    let read = |verified: Verified| parse(verified, form, &fixed);
    assert!(verified(&keyring, &headers, body).is_some_and(|verified| read(verified).is_ok()));
    bencher
        .counter(ItemsCount::new(items))
        .counter(BytesCount::new(body.len()))
        .with_inputs(|| verified(&keyring, &headers, body))
        .bench_local_values(|verified| verified.map(read));
}

#[divan::bench]
fn parse_one(bencher: Bencher) {
    parses(bencher, &signal(1).into(), Form::Single, 1);
}

#[divan::bench]
fn parse_batch_of_100(bencher: Bencher) {
    parses(bencher, &batch(100), Form::Batch, 100);
}

#[divan::bench]
fn parse_100_lines(bencher: Bencher) {
    let lines: Vec<String> = (0..100).map(signal).collect();
    parses(bencher, &lines.join("\n").into(), Form::Lines, 100);
}

/// serde_json alone, building a tree of the same signal.
#[divan::bench]
fn tree_of_one(bencher: Bencher) {
    let text = signal(1);
    bencher.bench_local(|| serde_json::from_str::<serde_json::Value>(black_box(&text)));
}

#[divan::bench]
fn fingerprint(bencher: Bencher) {
    bencher.bench_local(|| {
        Fingerprint::of_id(black_box("signals"), black_box("tenant-042"), black_box("7d9f2c1e-00000001"))
    });
}
