//! What stands behind the `?` of a list.

use super::terms::Filter;
use crate::alert::{AlertsWanted, Importance};
use crate::case::{CaseFilter, CaseId, Cause, Status};
use crate::event::{Seq, Subject, UnixMillis};
use crate::halt::HaltScope;
use crate::limits;
use crate::names::Rule;
use crate::percent;
use crate::receipt::ReceiptType;
use crate::receipt::filter::{ReceiptFilter, ReceiptTypes};
use crate::tapped::{TapAsked, TapFilter};
use crate::variants;

/// The parameters of a request, each once.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Reads the query of a request, which may have these parameters and no others.
    pub fn read(query: &str, parameters: &[&'static str]) -> Result<Self, String> {
        let mut read: Vec<(&'static str, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(name) = parameters.iter().find(|parameter| **parameter == name) else {
                return Err(match parameters {
                    [] => format!("unknown parameter `{name}`: this request has none"),
                    known => format!("unknown parameter `{name}`; known: {}", known.join(", ")),
                });
            };
            if read.iter().any(|(other, _)| other == name) {
                return Err(format!("`{name}` is duplicated"));
            }
            let value = percent::decode(value.replace('+', " ").as_bytes());
            read.push((name, value.ok_or_else(|| format!("`{name}` is not percent-encoded UTF-8"))?));
        }
        Ok(Self(read))
    }

    /// As it stands in a request.
    #[must_use]
    pub fn to_text(&self) -> String {
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={}", percent::encode(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }
}

/// The name of a tenant.
pub fn tenant(name: &str) -> Result<&str, String> {
    Rule::Name.check("tenant", name.as_bytes()).map_err(|illegal| illegal.to_string())
}

/// What a halt is about: a tenant, a target, or the line.
pub fn halt_scope(query: &Query) -> Result<HaltScope, String> {
    match (query.get("tenant"), query.get("target")) {
        (None, None) => Ok(HaltScope::Line),
        (Some(name), None) => Ok(HaltScope::Tenant(tenant(name)?.into())),
        (None, Some(target)) => Ok(HaltScope::Target(target.into())),
        (Some(_), Some(_)) => Err("name a tenant or a target, not both".into()),
    }
}

/// A page of governors.
pub fn governors(query: &Query) -> Result<Filter, String> {
    let after = query.get("after").map(|after| {
        let (tenant, sku) = after.split_once('/').ok_or("`after` must be tenant/sku")?;
        Subject::read(tenant, sku).map_err(|illegal| format!("`after`: {illegal}"))?;
        Ok::<_, String>((tenant.into(), sku.into()))
    });
    let halted = match query.get("halted") {
        None => false,
        Some("true") => true,
        Some(_) => return Err("`halted` is `true`, or is not there".into()),
    };
    Ok(Filter {
        tenant: query.get("tenant").map(tenant).transpose()?.map(Into::into),
        halted,
        after: after.transpose()?,
        limit: limit(query)?,
    })
}

/// The source of a signal.
pub fn source(query: &Query) -> Result<Option<&str>, String> {
    let check = |name: &'_ str| Rule::Name.check("source", name.as_bytes()).map(drop);
    let source = query.get("source");
    source.map(check).transpose().map_err(|illegal| illegal.to_string())?;
    Ok(source)
}

/// A filter of dead letters that are to be discarded, and how many they must be.
pub fn discarded(query: &Query) -> Result<(CaseFilter, u64), String> {
    let filter = cases(query)?;
    if filter == CaseFilter::default() {
        return Err("name which: by `cause`, `tenant`, `sku` or `type`".into());
    }
    let missing = "`expect` is missing: how many there must be, as the list counts them";
    let expected = query.get("expect").ok_or(missing)?;
    let plain = expected.bytes().all(|byte| byte.is_ascii_digit());
    let expected = plain.then(|| expected.parse().ok()).flatten();
    let expected: u64 = expected.ok_or("`expect` must be a whole number")?;
    if expected > limits::DISCARDED_MAX as u64 {
        return Err(format!(
            "too many at once: one order discards {} at most; narrow the filter",
            limits::DISCARDED_MAX
        ));
    }
    Ok((filter, expected))
}

/// A filter of dead letters, the page behind a case, and its length.
pub fn dead_letters(query: &Query) -> Result<(CaseFilter, Seq, usize), String> {
    let filter = cases(query)?;
    let after = query.get("after").map(str::parse).transpose();
    let CaseId(after) = after.map_err(|error| format!("`after`: {error}"))?.unwrap_or(CaseId(Seq(0)));
    Ok((filter, after, limit(query)?))
}

fn cases(query: &Query) -> Result<CaseFilter, String> {
    let cause = query.get("cause").map(|value| variants::named(value, &Cause::ALL));
    let status = query.get("status").map(|value| variants::named(value, &Status::ALL));
    Ok(CaseFilter {
        cause: cause.transpose().map_err(|error| format!("`cause` {error}"))?,
        status: status.transpose().map_err(|error| format!("`status` {error}"))?,
        tenant: query.get("tenant").map(tenant).transpose()?.map(Into::into),
        sku: query.get("sku").map(Into::into),
        r#type: query.get("type").map(Into::into),
    })
}

/// A filter of receipts, the page before an entry of the log, and its length. Types may be named that are `known` here; those that
/// are `usual` are shown where none is.
pub fn receipts(
    query: &Query,
    (known, usual): (ReceiptTypes, ReceiptTypes),
) -> Result<(ReceiptFilter, Option<u64>, usize), String> {
    let mut filter = ReceiptFilter::of(usual);
    if let Some(types) = query.get("type") {
        let types = types.split(',').map(|kind| variants::named(kind, &ReceiptType::ALL));
        let types = types.collect::<Result<Vec<_>, _>>().map_err(|error| format!("`type` {error}"))?;
        if let Some(other) = types.iter().find(|kind| !known.has(**kind)) {
            let known = ReceiptType::ALL.into_iter().filter(|kind| known.has(*kind));
            let known: Vec<&str> = known.map(ReceiptType::into_str).collect();
            return Err(format!(
                "`type` {} is not shown here; known: {}",
                other.into_str(),
                known.join(", ")
            ));
        }
        filter.types = ReceiptTypes::of(types);
    }
    let text = |name: &'static str, bytes| {
        if query.get(name).is_some_and(str::is_empty) {
            return Err(format!("`{name}` is empty"));
        }
        let given = query.get(name).map(|value| Rule::AtMost(bytes).check(name, value.as_bytes()));
        given.transpose().map_err(|illegal| illegal.to_string()).map(|text| text.map(Into::into))
    };
    filter.tenant = query.get("tenant").map(tenant).transpose()?.map(Into::into);
    filter.sku = text("sku", limits::NAME_BYTES_MAX)?;
    filter.rule = text("rule", RULE_BYTES)?;
    filter.who = text("who", limits::REASON_BYTES_MAX)?;
    filter.since = time(query, "since")?;
    filter.until = time(query, "until")?;
    let after = query.get("after").map(|after| {
        let plain = after.bytes().all(|byte| byte.is_ascii_digit()).then(|| after.parse().ok()).flatten();
        plain.ok_or("`after` must be the `next` of an answer")
    });
    Ok((filter, after.transpose()?, limit(query)?))
}

/// Milliseconds since 1970, or a time as RFC 3339 writes it.
fn time(query: &Query, name: &str) -> Result<Option<UnixMillis>, String> {
    let Some(value) = query.get(name) else { return Ok(None) };
    let millis = if value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().ok()
    } else {
        value.parse().ok().and_then(|time: jiff::Timestamp| u64::try_from(time.as_millisecond()).ok())
    };
    let wrong =
        || format!("`{name}` must be a time such as 2026-11-29T12:00:00Z, or milliseconds since 1970");
    millis.map(|millis| Some(UnixMillis(millis))).ok_or_else(wrong)
}

/// A page of alerts: in which state, of which severity, of which tenant.
pub fn alerts(query: &Query) -> Result<AlertsWanted, String> {
    let state = query.get("state");
    if let Some(wrong) = state.filter(|state| !ALERT_STATES.contains(state)) {
        return Err(format!("`state` is {wrong:?}; it must be one of {}", ALERT_STATES.join(", ")));
    }
    let severity = query.get("severity").map(|value| variants::named(value, &Importance::ALL)).transpose();
    let after = query.get("after").map(str::parse).transpose();
    Ok(AlertsWanted {
        state: state.map(Into::into),
        importance: severity.map_err(|error| format!("`severity` {error}"))?,
        tenant: query.get("tenant").map(tenant).transpose()?.map(Into::into),
        after: after.map_err(|error| format!("`after`: {error}"))?,
        limit: limit(query)?,
    })
}

const ALERT_STATES: [&str; 4] = ["open", "notified", "acknowledged", "resolved"];

/// Which signals are looked at; or the look that goes on, which has a filter already.
pub fn tap(query: &Query) -> Result<TapAsked, String> {
    if let Some(look) = query.get("look") {
        if query.0.len() > 1 {
            return Err("`look` stands alone: it has its filter already".into());
        }
        let fits = look.len() == 16 && look.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(look, 16).ok().filter(|_| fits);
        return number.map(TapAsked::Next).ok_or_else(|| "`look` must be the one of an answer before".into());
    }
    let result = query.get("result").map(|value| variants::named(value, &ReceiptType::ALL));
    let rule = query.get("rule").map(|rule| Rule::AtMost(RULE_BYTES).check("rule", rule.as_bytes()));
    Ok(TapAsked::Begin(TapFilter {
        source: source(query)?.map(Into::into),
        tenant: query.get("tenant").map(tenant).transpose()?.map(Into::into),
        rule: rule.transpose().map_err(|illegal| illegal.to_string())?.map(Into::into),
        result: result.transpose().map_err(|error| format!("`result` {error}"))?,
    }))
}

/// A pack's and a rule's name with a slash between.
const RULE_BYTES: usize = 2 * limits::NAME_BYTES_MAX + 1;

fn limit(query: &Query) -> Result<usize, String> {
    let Some(value) = query.get("limit") else { return Ok(limits::GOVERNORS_LISTED_MAX) };
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit());
    let limit = value
        .parse()
        .ok()
        .filter(|_| is_plain)
        .filter(|limit| (1..=limits::GOVERNORS_LISTED_MAX).contains(limit));
    limit.ok_or_else(|| format!("`limit` must be 1 to {}", limits::GOVERNORS_LISTED_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOVERNORS: &[&str] = &["tenant", "limit", "after"];
    const DEAD_LETTERS: &[&str] = &["cause", "status", "tenant", "sku", "type", "limit", "after"];

    #[test]
    fn a_filter_is_read_whole_or_refused() {
        let read = |query| Query::read(query, DEAD_LETTERS).and_then(|query| dead_letters(&query));
        let (filter, after, limit) =
            read("cause=policy&tenant=a%2Db&status=open&limit=5&after=d-000000000000002a").unwrap();
        assert_eq!((filter.cause, filter.tenant.as_deref()), (Some(Cause::Policy), Some("a-b")));
        assert_eq!((filter.status, after, limit), (Some(Status::Open), Seq(42), 5));
        for wrong in [
            "cause=bad",
            "status=shut",
            "limit=0",
            "limit=%2b5",
            "limit=5&limit=6",
            "after=42",
            "what=1",
            "tenant=%zz",
            "tenant=a%2Fb",
            "tenant=",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let read = |query| Query::read(query, GOVERNORS).and_then(|query| governors(&query));
        assert!(read("tenant=acme&after=acme/vm").is_ok());
        for wrong in ["cause=policy", "after=/", "after=acme", "after=acme/", "after=A/vm"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_request_without_parameters_takes_none() {
        assert!(Query::read("", &[]).is_ok());
        assert_eq!(Query::read("x=1", &[]).unwrap_err(), "unknown parameter `x`: this request has none");
    }
}
