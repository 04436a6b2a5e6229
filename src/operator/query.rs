//! What stands behind the `?` of a list.

use std::collections::HashSet;

use super::terms::Filter;
use crate::case::{CaseFilter, CaseId, Cause, Status};
use crate::event::Seq;
use crate::limits;
use crate::percent;
use crate::variants;

/// `tenant=`, `limit=` and `after=tenant/sku`.
pub fn governors(query: &str) -> Result<Filter, String> {
    let mut filter = Filter { limit: limits::GOVERNORS_LISTED_MAX, ..Filter::default() };
    for (name, value) in pairs(query)? {
        match name {
            "tenant" => filter.tenant = Some(value),
            "limit" => filter.limit = limit(&value)?,
            "after" => {
                let (tenant, sku) = value.split_once('/').ok_or("`after` must be tenant/sku")?;
                filter.after = Some((tenant.into(), sku.into()));
            }
            _ => return Err(format!("`{name}` is no parameter here; there are tenant, limit and after")),
        }
    }
    Ok(filter)
}

/// A filter of dead letters, the page behind a case, and its length.
pub fn dead_letters(query: &str) -> Result<(CaseFilter, Seq, usize), String> {
    let (mut filter, mut after) = (CaseFilter::default(), Seq(0));
    let mut page = limits::GOVERNORS_LISTED_MAX;
    for (name, value) in pairs(query)? {
        match name {
            "cause" => {
                let cause = variants::named(&value, &Cause::ALL);
                filter.cause = Some(cause.map_err(|error| format!("`cause` {error}"))?);
            }
            "status" => {
                let status = variants::named(&value, &Status::ALL);
                filter.status = Some(status.map_err(|error| format!("`status` {error}"))?);
            }
            "tenant" => filter.tenant = Some(value.into()),
            "sku" => filter.sku = Some(value.into()),
            "type" => filter.r#type = Some(value.into()),
            "limit" => page = limit(&value)?,
            "after" => {
                let CaseId(seq) = value.parse().map_err(|error| format!("`after`: {error}"))?;
                after = seq;
            }
            _ => {
                return Err(format!(
                    "`{name}` is no parameter here; there are cause, status, tenant, sku, type, limit and after"
                ));
            }
        }
    }
    Ok((filter, after, page))
}

fn pairs(query: &str) -> Result<Vec<(&str, String)>, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut names = HashSet::new();
    let decoded = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !names.insert(name) {
            return Err(format!("`{name}` is given twice"));
        }
        let value = percent::decode(value.replace('+', " ").as_bytes());
        let value = value.ok_or_else(|| format!("`{name}` is not percent-encoded UTF-8"))?;
        Ok((name, value))
    });
    decoded.collect()
}

fn limit(value: &str) -> Result<usize, String> {
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

    #[test]
    fn a_filter_is_read_whole_or_refused() {
        let (filter, after, limit) =
            dead_letters("cause=policy&tenant=a%2Fb&status=open&limit=5&after=d-000000000000002a").unwrap();
        assert_eq!((filter.cause, filter.tenant.as_deref()), (Some(Cause::Policy), Some("a/b")));
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
        ] {
            assert!(dead_letters(wrong).is_err(), "{wrong}");
        }
        assert!(governors("tenant=acme&after=acme/vm").is_ok());
        assert!(governors("cause=policy").is_err());
    }
}
