//! Requests from a template: all have the same length, so a request is one copy in which a few digits and the
//! signature are set in place. Nothing is formatted and nothing allocated while the load runs.

use std::ops::Range;

use aws_lc_rs::hmac as mac;
use data_encoding::BASE64;

use super::plan::{Kind, Plan};

/// Digits of a signal's number in its id.
pub const NUMBER_DIGITS: usize = 12;
const TAG_BYTES: usize = 32;
const TAG_BASE64: usize = 44;

/// What signs the requests.
#[derive(Clone, Debug)]
pub enum Signer {
    /// `x-signature`: hex HMAC-SHA256 of the body.
    Hmac(mac::Key),
    /// Standard Webhooks: id, timestamp and body.
    StandardWebhooks(mac::Key),
}

/// What all requests of a run have in common.
#[derive(Clone, Copy, Debug)]
pub struct Common<'a> {
    pub host: &'a str,
    pub path: &'a str,
    pub run: &'a str,
    /// RFC 3339.
    pub time: &'a str,
    pub batch: u32,
    pub tenants: u32,
    pub skus: u32,
}

/// Where the digits of one signal stand in its text.
#[derive(Clone, Debug)]
struct Item {
    id: Range<usize>,
    number: Range<usize>,
    tenant: Range<usize>,
    tenant_number: Range<usize>,
    sku_number: Range<usize>,
    severity: Range<usize>,
}

/// Header fields that change with each request.
#[derive(Clone, Debug)]
enum Fields {
    Hmac { signature: Range<usize> },
    StandardWebhooks { id: Range<usize>, timestamp: Range<usize>, signature: Range<usize> },
}

/// One run's request.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    fields: Fields,
    signer: Signer,
    content_type: &'static str,
    body_at: usize,
    /// Where the first signal begins, and the bytes from one to the next.
    first: usize,
    stride: usize,
    item: Item,
    batch: usize,
}

fn decimal_digits(count: u32) -> usize {
    count.saturating_sub(1).checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Appends and says where.
fn put(bytes: &mut Vec<u8>, text: &str) -> Range<usize> {
    let from = bytes.len();
    bytes.extend_from_slice(text.as_bytes());
    from..bytes.len()
}

fn item(common: &Common<'_>) -> (Vec<u8>, Item) {
    let mut bytes = Vec::with_capacity(320);
    let b = &mut bytes;
    put(b, r#"{"specversion":"1.0","id":""#);
    let run = put(b, common.run);
    put(b, "-");
    let number = put(b, &"0".repeat(NUMBER_DIGITS));
    put(b, r#"","source":"/billing/exporter","tenant":""#);
    let tenant_name = put(b, "tenant-");
    let tenant_number = put(b, &"0".repeat(decimal_digits(common.tenants).max(3)));
    put(b, r#"","sku":"sku-"#);
    let sku_number = put(b, &"0".repeat(decimal_digits(common.skus)));
    put(b, r#"","type":"cost.usage","time":""#);
    put(b, common.time);
    put(b, r#"","severity":""#);
    let severity = put(b, "info");
    put(
        b,
        r#"","data":{"spend":81.25,"budget":100.0,"amount":1.5,"currency":"EUR","region":"eu-central-1"}}"#,
    );
    let item = Item {
        id: run.start..number.end,
        number,
        tenant: tenant_name.start..tenant_number.end,
        tenant_number,
        sku_number,
        severity,
    };
    (bytes, item)
}

impl Template {
    #[must_use]
    pub fn new(common: &Common<'_>, signer: Signer) -> Self {
        let (signal, item) = item(common);
        let batch = common.batch.max(1) as usize;
        let list = batch > 1;
        let content_type =
            if list { "application/cloudevents-batch+json" } else { "application/cloudevents+json" };
        let body_bytes = if list { batch * (signal.len() + 1) + 1 } else { signal.len() };
        let mut bytes = Vec::with_capacity(512 + body_bytes);
        let b = &mut bytes;
        put(b, &format!("POST {} HTTP/1.1\r\nhost: {}\r\n", common.path, common.host));
        put(b, &format!("content-type: {content_type}\r\ncontent-length: {body_bytes}\r\n"));
        let fields = match &signer {
            Signer::Hmac(_) => {
                put(b, "x-signature: ");
                Fields::Hmac { signature: put(b, &"0".repeat(2 * TAG_BYTES)) }
            }
            Signer::StandardWebhooks(_) => {
                put(b, "webhook-id: ");
                let id = put(b, &"0".repeat(item.id.len()));
                put(b, "\r\nwebhook-timestamp: ");
                let timestamp = put(b, "0000000000");
                put(b, "\r\nwebhook-signature: ");
                let version = put(b, "v1,");
                let code = put(b, &"0".repeat(TAG_BASE64));
                Fields::StandardWebhooks { id, timestamp, signature: version.start..code.end }
            }
        };
        put(b, "\r\n\r\n");
        let body_at = b.len();
        let first = body_at + usize::from(list);
        for index in 0..batch {
            if list {
                b.push(if index == 0 { b'[' } else { b',' });
            }
            b.extend_from_slice(&signal);
        }
        if list {
            b.push(b']');
        }
        let stride = signal.len() + 1;
        Self { bytes, fields, signer, content_type, body_at, first, stride, item, batch }
    }

    /// Appends the request with this number; a duplicate is written as the request that it repeats.
    pub fn write(&self, out: &mut Vec<u8>, plan: &Plan, number: u64, kind: Kind, unix_seconds: u64) {
        let from = out.len();
        out.extend_from_slice(&self.bytes);
        let request = &mut out[from..];
        for (index, signal) in plan.signals(number).take(self.batch).enumerate() {
            let at = self.first + index * self.stride;
            let text = &mut request[at..at + self.stride - 1];
            set_digits(&mut text[self.item.number.clone()], signal);
            set_digits(&mut text[self.item.tenant_number.clone()], u64::from(plan.tenant(signal)));
            set_digits(&mut text[self.item.sku_number.clone()], u64::from(plan.sku(signal)));
        }
        if kind == Kind::Malformed {
            request[self.first..][self.item.severity.clone()].copy_from_slice(b"none");
        }
        self.sign(request, kind == Kind::BadSignature, unix_seconds);
    }

    fn sign(&self, request: &mut [u8], wrongly: bool, unix_seconds: u64) {
        let (head, body) = request.split_at_mut(self.body_at);
        match (&self.fields, &self.signer) {
            (Fields::Hmac { signature }, Signer::Hmac(key) | Signer::StandardWebhooks(key)) => {
                let tag = spoilt(mac::sign(key, body), wrongly);
                let place = &mut head[signature.clone()];
                // The place has two digits for each byte of the tag.
                let _encoded = faster_hex::hex_encode(&tag, place);
            }
            (
                Fields::StandardWebhooks { id, timestamp, signature },
                Signer::Hmac(key) | Signer::StandardWebhooks(key),
            ) => {
                let signal = self.first - self.body_at;
                head[id.clone()].copy_from_slice(&body[signal..][self.item.id.clone()]);
                set_digits(&mut head[timestamp.clone()], unix_seconds);
                let mut context = mac::Context::with_key(key);
                for part in [&head[id.clone()], b".", &head[timestamp.clone()], b".", body] {
                    context.update(part);
                }
                let tag = spoilt(context.sign(), wrongly);
                let code = signature.end - TAG_BASE64..signature.end;
                BASE64.encode_mut(&tag, &mut head[code]);
            }
        }
    }

    /// The header fields that a written request carries, for HTTP/2.
    pub fn fields<'a>(&'a self, request: &'a [u8]) -> impl Iterator<Item = (&'static str, &'a [u8])> {
        let of = |range: &Range<usize>| &request[range.clone()];
        let signed = match &self.fields {
            Fields::Hmac { signature } => [Some(("x-signature", of(signature))), None, None],
            Fields::StandardWebhooks { id, timestamp, signature } => [
                Some(("webhook-id", of(id))),
                Some(("webhook-timestamp", of(timestamp))),
                Some(("webhook-signature", of(signature))),
            ],
        };
        std::iter::once(("content-type", self.content_type.as_bytes())).chain(signed.into_iter().flatten())
    }

    /// The body of a written request.
    #[must_use]
    pub fn body<'a>(&self, request: &'a [u8]) -> &'a [u8] {
        &request[self.body_at..]
    }

    /// Appends a signal's tenant.
    pub fn tenant(&self, out: &mut Vec<u8>, tenant: u32) {
        let from = out.len();
        out.extend_from_slice(&self.bytes[self.first..][self.item.tenant.clone()]);
        let digits = self.item.tenant_number.len();
        let end = out.len();
        debug_assert!(from + digits <= end, "the number ends the name");
        set_digits(&mut out[end - digits..], u64::from(tenant));
    }

    /// Appends a signal's id.
    pub fn id(&self, out: &mut Vec<u8>, signal: u64) {
        out.extend_from_slice(&self.bytes[self.first..][self.item.id.clone()]);
        let end = out.len();
        set_digits(&mut out[end - NUMBER_DIGITS..], signal);
    }
}

fn spoilt(tag: mac::Tag, wrongly: bool) -> [u8; TAG_BYTES] {
    let mut bytes = [0; TAG_BYTES];
    bytes.iter_mut().zip(tag.as_ref()).for_each(|(byte, of)| *byte = *of);
    bytes[0] ^= u8::from(wrongly);
    bytes
}

/// Writes the last digits of a number.
fn set_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::HeaderMap;
    use hyper::header::HeaderValue;

    use super::*;
    use crate::load::options::SignatureScheme as Scheme;
    use crate::load::plan::Zipf;
    use crate::signal::{self, Fixed, Form, Signals};
    use crate::signature::{Keyring, Refusal};

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const WHSEC: &[u8] = b"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const NOW: u64 = 1_795_000_000;

    fn template(batch: u32, scheme: Scheme) -> (Plan, Template) {
        let plan = Plan::new(5, batch, "valid=1".parse().unwrap(), Zipf::new(2000, 1.0), 7);
        let common = Common {
            host: "localhost",
            path: "/v1/signals",
            run: "r1",
            time: "2026-11-23T20:00:00Z",
            batch,
            tenants: 2000,
            skus: 7,
        };
        let key = mac::Key::new(mac::HMAC_SHA256, SECRET);
        let signer = match scheme {
            Scheme::Hmac => Signer::Hmac(key),
            Scheme::StandardWebhooks => Signer::StandardWebhooks(key),
        };
        (plan, Template::new(&common, signer))
    }

    fn received(template: &Template, request: &[u8], scheme: Scheme) -> Result<Signals, Refusal> {
        let headers: HeaderMap = template
            .fields(request)
            .map(|(name, value)| (name.parse().unwrap(), value.try_into().unwrap()))
            .collect();
        let secret = if scheme == Scheme::Hmac { SECRET } else { WHSEC };
        let keyring = Keyring::new("signals", scheme.into(), &[("k1", secret)], 300).unwrap();
        let body = Bytes::copy_from_slice(template.body(request));
        let verified = keyring.verify(&headers, body, NOW)?;
        let form = Form::of(headers.get("content-type").map(HeaderValue::as_bytes), &headers, false).unwrap();
        Ok(signal::parse(verified, form, &Fixed::default()).unwrap())
    }

    #[test]
    fn what_is_written_is_accepted_by_the_line() {
        for scheme in [Scheme::Hmac, Scheme::StandardWebhooks] {
            for batch in [1, 3] {
                let (plan, template) = template(batch, scheme);
                let mut out = b"before".to_vec();
                template.write(&mut out, &plan, 41, Kind::Valid, NOW);
                let request = &out[6..];
                let signals = received(&template, request, scheme).unwrap();
                assert_eq!(signals.as_slice().len(), batch as usize);
                for (signal, number) in signals.as_slice().iter().zip(plan.signals(41)) {
                    let (mut id, mut tenant) = (Vec::new(), Vec::new());
                    template.id(&mut id, number);
                    template.tenant(&mut tenant, plan.tenant(number));
                    assert_eq!(signal.id().as_bytes(), id);
                    assert_eq!(signal.tenant().as_bytes(), tenant);
                    assert_eq!(signal.sku(), format!("sku-{}", plan.sku(number)));
                }
                let length = format!("content-length: {}\r\n", template.body(request).len());
                assert!(String::from_utf8_lossy(request).contains(&length));
            }
        }
    }

    #[test]
    fn a_bad_signature_is_refused_and_a_malformed_signal_is_none() {
        let (plan, template) = template(2, Scheme::Hmac);
        let mut out = Vec::new();
        template.write(&mut out, &plan, 0, Kind::BadSignature, NOW);
        assert_eq!(received(&template, &out, Scheme::Hmac).unwrap_err(), Refusal::NoMatch);

        out.clear();
        template.write(&mut out, &plan, 0, Kind::Malformed, NOW);
        let keyring = Keyring::new("signals", Scheme::Hmac.into(), &[("k1", SECRET)], 300).unwrap();
        let headers = keyring.sign(template.body(&out), "", NOW);
        let headers =
            headers.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let body = Bytes::copy_from_slice(template.body(&out));
        let verified = keyring.verify(&headers.collect(), body, NOW).unwrap();
        assert_eq!(signal::parse(verified, Form::Batch, &Fixed::default()).unwrap_err().status(), 422);
    }
}
