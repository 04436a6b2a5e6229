//! From verified bytes to signals: the forms of a request, and the rules of the interface contract.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::HeaderMap;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::attributes::Attributes;
use super::checked::{Severity, Signal, Signals, Unchecked};
use super::names::Text;
use super::unfit::{Reason, Unfit};
use crate::limits::BATCH_SIGNALS_MAX;
use crate::names::Provenance;
use crate::percent;
use crate::rfc3339;
use crate::signature::Verified;

/// How a request carries its signals.
#[derive(Clone, Copy, Debug)]
pub enum Form<'h> {
    /// One JSON object.
    Single,
    /// A JSON array.
    Batch,
    /// One JSON object a line.
    Lines,
    /// Binary-mode CloudEvents: attributes in `ce-*` headers, which the signature does not cover.
    Binary(&'h HeaderMap),
}

/// Why a request's form carries no signals for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedForm {
    /// The content type is none of those that carry signals.
    #[error(
        "send application/json, application/cloudevents+json, application/cloudevents-batch+json or \
         application/x-ndjson"
    )]
    ContentType,
    /// Binary mode is not taken.
    #[error(
        "this source takes no CloudEvents in binary mode, whose attributes are not signed: send \
         application/cloudevents+json, or let the operator set `binary` and `tenant` of the source"
    )]
    Binary,
    /// A batch is not taken beside binary mode.
    #[error("this source takes binary mode and knows a signal by its body, so it takes one signal a request")]
    Batch,
}

impl<'h> Form<'h> {
    /// Chooses by content type; `ce-id` beside any other type means binary mode, which is taken where `binary`. Nothing
    /// that this looks at is signed, so each form that a source takes must give a body the same identity.
    pub fn of(
        content_type: Option<&[u8]>,
        headers: &'h HeaderMap,
        binary: bool,
    ) -> Result<Self, UnsupportedForm> {
        let essence = content_type.unwrap_or_default().split(|byte| *byte == b';').next().unwrap_or_default();
        let essence = essence.trim_ascii();
        let is = |name: &str| essence.eq_ignore_ascii_case(name.as_bytes());
        if is("application/cloudevents+json") {
            Ok(Self::Single)
        } else if is("application/cloudevents-batch+json") {
            if binary { Err(UnsupportedForm::Batch) } else { Ok(Self::Batch) }
        } else if is("application/x-ndjson") {
            if binary { Err(UnsupportedForm::Batch) } else { Ok(Self::Lines) }
        } else if headers.contains_key("ce-id") {
            if binary { Ok(Self::Binary(headers)) } else { Err(UnsupportedForm::Binary) }
        } else if is("application/json") {
            Ok(Self::Single)
        } else {
            Err(UnsupportedForm::ContentType)
        }
    }
}

/// What a source lays down for its signals.
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    /// The tenant of all of them.
    pub tenant: Option<Box<str>>,
    /// The SKU of all of them.
    pub sku: Option<Box<str>>,
    /// Whether it may send `gemba.*` signals.
    pub control: bool,
    /// Whether it may send in binary mode.
    pub binary: bool,
}

/// Reads the signals of a verified request.
pub fn parse(verified: Verified, form: Form<'_>, fixed: &Fixed) -> Result<Signals, Unfit> {
    match form {
        Form::Single => {
            let provenance = verified.provenance();
            let body = verified.into_body();
            let text = std::str::from_utf8(&body).map_err(|_| Unfit::NotUtf8)?;
            let signal = json(text).and_then(|attributes| {
                Complete::new(&attributes, fixed)?.into_signal(body.clone(), xxh3_64(&body), provenance)
            });
            signal.map(Signals::One).map_err(|why| Unfit::Items { batch: false, items: vec![(0, why)] })
        }
        Form::Binary(headers) => binary(&verified, headers, fixed)
            .map(Signals::One)
            .map_err(|why| Unfit::Items { batch: false, items: vec![(0, why)] }),
        Form::Batch => several(verified, fixed, array),
        Form::Lines => several(verified, fixed, lines),
    }
}

fn json(text: &str) -> Result<Attributes<'_>, Reason> {
    serde_json::from_str(text).map_err(|error| Reason::Json(error.to_string()))
}

/// An item's text and what was read from it.
type Item<'a> = (usize, usize, Result<Attributes<'a>, Reason>);

/// Takes the next item.
type Visit<'v, 'a> = &'v mut dyn FnMut(Item<'a>) -> Result<(), Unfit>;

fn several(
    verified: Verified,
    fixed: &Fixed,
    split: for<'a> fn(&'a str, Visit<'_, 'a>) -> Result<(), Unfit>,
) -> Result<Signals, Unfit> {
    let provenance = verified.provenance();
    let body = verified.into_body();
    let text = std::str::from_utf8(&body).map_err(|_| Unfit::NotUtf8)?;
    let mut signals = Vec::new();
    let mut wrong = Vec::new();
    let mut index = 0;
    split(text, &mut |(from, to, attributes)| {
        if index >= BATCH_SIGNALS_MAX {
            return Err(Unfit::TooMany);
        }
        let own = body.slice(from..to);
        let signal = attributes.and_then(|attributes| {
            let digest = xxh3_64(&own);
            Complete::new(&attributes, fixed)?.into_signal(own, digest, provenance)
        });
        match signal {
            Ok(signal) => signals.push(signal),
            Err(why) if wrong.len() < Unfit::ITEMS_MAX => wrong.push((index, why)),
            Err(_) => {}
        }
        index += 1;
        Ok(())
    })?;
    if !wrong.is_empty() {
        return Err(Unfit::Items { batch: true, items: wrong });
    }
    if signals.is_empty() {
        return Err(Unfit::Empty);
    }
    Ok(Signals::Batch(signals))
}

/// The items of a JSON array, each read once; the brackets and commas between them are ours to read.
fn array<'a>(text: &'a str, visit: Visit<'_, 'a>) -> Result<(), Unfit> {
    let bytes = text.as_bytes();
    let skip = |mut at: usize| {
        while bytes.get(at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        at
    };
    let broken =
        |at: usize, what: &str| Unfit::Frame(format!("not a JSON array of signals: {what} at byte {at}"));
    let mut at = skip(0);
    if bytes.get(at) != Some(&b'[') {
        return Err(broken(at, "no `[`"));
    }
    at = skip(at + 1);
    if bytes.get(at) != Some(&b']') {
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Attributes<'a>>();
            let attributes = match stream.next() {
                Some(Ok(attributes)) => Ok(attributes),
                // Without its end the next item cannot be found.
                Some(Err(error)) => {
                    visit((at, at, Err(Reason::Json(error.to_string()))))?;
                    return Ok(());
                }
                None => return Err(broken(at, "no item")),
            };
            let end = at + stream.byte_offset();
            visit((at, end, attributes))?;
            at = skip(end);
            match bytes.get(at) {
                Some(b',') => at = skip(at + 1),
                Some(b']') => break,
                _ => return Err(broken(at, "neither `,` nor `]`")),
            }
        }
    }
    if skip(at + 1) != bytes.len() {
        return Err(broken(at + 1, "something after `]`"));
    }
    Ok(())
}

fn lines<'a>(text: &'a str, visit: Visit<'_, 'a>) -> Result<(), Unfit> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let own = line.trim_matches([' ', '\t', '\n', '\r']);
        if own.is_empty() {
            return Err(Unfit::Frame(format!("an empty line at byte {at}")));
        }
        let begin = at + own.as_ptr() as usize - line.as_ptr() as usize;
        visit((begin, begin + own.len(), json(own)))?;
        at += line.len();
    }
    Ok(())
}

fn binary(verified: &Verified, headers: &HeaderMap, fixed: &Fixed) -> Result<Signal, Reason> {
    const NAMES: [(&str, &str); 7] = [
        ("ce-id", "id"),
        ("ce-tenant", "tenant"),
        ("ce-sku", "sku"),
        ("ce-type", "type"),
        ("ce-time", "time"),
        ("ce-severity", "severity"),
        ("ce-specversion", "specversion"),
    ];
    let mut attributes = Attributes::default();
    let mut digest = Xxh3::new();
    for (header, name) in NAMES {
        let mut values = headers.get_all(header).iter();
        let Some(value) = values.next() else { continue };
        // CloudEvents HTTP binding 3.1.3.2.
        let text = unquoted(value.as_bytes())
            .and_then(|value| percent::decode(&value))
            .filter(|_| values.next().is_none());
        let text = text.ok_or(Reason::Header(header))?;
        digest.update(name.as_bytes());
        digest.update(b"\0");
        digest.update(text.as_bytes());
        digest.update(b"\0");
        if let Some((_, slot)) = attributes.slot(name) {
            *slot = Some(Cow::Owned(text));
        }
    }
    digest.update(verified.body());
    let uncovered = Fixed { control: false, ..fixed.clone() };
    let complete = Complete::new(&attributes, &uncovered)?;
    complete.into_signal(verified.body().clone(), digest.digest(), verified.beside())
}

/// CloudEvents HTTP binding 3.1.3.2: a value may be a quoted string (RFC 9110, 5.6.4); that is undone first.
fn unquoted(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(quoted) = value.strip_prefix(b"\"") else { return Some(Cow::Borrowed(value)) };
    let mut out = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    loop {
        match bytes.next()? {
            b'"' => return bytes.next().is_none().then_some(Cow::Owned(out)),
            b'\\' => out.push(*bytes.next()?),
            byte => out.push(*byte),
        }
    }
}

/// Attributes that are all there; what each may look like is [`Unchecked::check`]'s to say.
struct Complete<'a> {
    id: &'a str,
    tenant: &'a str,
    sku: &'a str,
    kind: &'a str,
    severity: Severity,
    sequence: Option<u64>,
}

impl<'a> Complete<'a> {
    fn new(attributes: &'a Attributes<'a>, fixed: &'a Fixed) -> Result<Self, Reason> {
        if let Some(wrong) = &attributes.wrong {
            return Err(wrong.clone());
        }
        let given = |value: &'a Option<Cow<'a, str>>, name| value.as_deref().ok_or(Reason::Missing(name));
        let id = given(&attributes.id, "id")?;
        let kind = given(&attributes.kind, "type")?;
        let tenant = given_or_fixed(attributes.tenant.as_deref(), fixed.tenant.as_deref(), "tenant")?;
        let sku = given_or_fixed(attributes.sku.as_deref(), fixed.sku.as_deref(), "sku")?;
        if kind.starts_with("gemba.") {
            if !fixed.control {
                return Err(Reason::Reserved);
            }
            if !matches!(kind, "gemba.entitlement.active" | "gemba.entitlement.revoked") {
                return Err(Reason::UnknownReserved);
            }
        }
        let severity = match attributes.severity.as_deref() {
            None | Some("info") => Severity::Info,
            Some("warning") => Severity::Warning,
            Some("critical") => Severity::Critical,
            Some(_) => return Err(Reason::Severity),
        };
        if attributes.specversion.as_deref().is_some_and(|version| version != "1.0") {
            return Err(Reason::SpecVersion);
        }
        if attributes.time.as_deref().is_some_and(|time| rfc3339::parse(time).is_none()) {
            return Err(Reason::Time);
        }
        Ok(Self { id, tenant, sku, kind, severity, sequence: attributes.sequence })
    }

    fn into_signal(
        self,
        body: Bytes,
        digest: u64,
        provenance: &'static Provenance,
    ) -> Result<Signal, Reason> {
        let text = |text: &str| span(&body, text).unwrap_or_else(|| Text::Owned(text.into()));
        let unchecked = Unchecked {
            id: text(self.id),
            tenant: text(self.tenant),
            sku: text(self.sku),
            kind: text(self.kind),
            severity: self.severity,
            provenance,
            digest,
            body,
        };
        let mut signal = unchecked.check()?;
        signal.set_sequence(self.sequence);
        Ok(signal)
    }
}

/// The place of `text` in `body`, if it was borrowed from there.
fn span(body: &Bytes, text: &str) -> Option<Text> {
    let at = (text.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    let inside = at.checked_add(text.len())? <= body.len();
    inside.then_some(Text::Span { at: u32::try_from(at).ok()?, len: u8::try_from(text.len()).ok()? })
}

fn given_or_fixed<'a>(
    given: Option<&'a str>,
    fixed: Option<&'a str>,
    which: &'static str,
) -> Result<&'a str, Reason> {
    match (given, fixed) {
        (Some(given), Some(fixed)) if given != fixed => Err(Reason::Fixed(which)),
        (Some(given), _) => Ok(given),
        (None, Some(fixed)) => Ok(fixed),
        (None, None) => Err(Reason::Missing(which)),
    }
}
