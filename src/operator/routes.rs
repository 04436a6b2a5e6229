//! Every route of the plane in one table, which a test walks.

use hyper::Method;
use strum::EnumString;

use super::Role;
use super::access::Need;
use crate::percent;

/// What is asked for or ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Live,
    Ready,
    Metrics,
    Status,
    Signal { tenant: String, id: String },
    Receipt { id: String },
    Governors,
    Governor { tenant: String, sku: String },
    Govern { tenant: String, sku: String, order: Order },
    DeadLetters,
    DeadLetter { id: String },
    DryRun { id: String },
    Replay { id: String },
    Resend { id: String },
    Discard { id: String },
    Policy,
    PolicyReload,
}

/// What a governor is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum Order {
    Halt,
    Resume,
    Entitle,
    Revoke,
    Quota,
}

/// No route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    NotFound,
    /// The path is there, for these methods.
    Method(&'static str),
    /// A part of the path is not percent-encoded UTF-8.
    Encoding,
}

/// Finds the route of a request.
pub fn find(method: &Method, path: &str) -> Result<Route, NoRoute> {
    let parts: Vec<String> = path
        .split('/')
        .skip(1)
        .map(|part| percent::decode(part.as_bytes()))
        .collect::<Option<_>>()
        .ok_or(NoRoute::Encoding)?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let route = route(&parts).ok_or(NoRoute::NotFound)?;
    match (route.orders(), method) {
        (false, &Method::GET | &Method::HEAD) | (true, &Method::POST) => Ok(route),
        (false, _) => Err(NoRoute::Method("GET, HEAD")),
        (true, _) => Err(NoRoute::Method("POST")),
    }
}

fn route(parts: &[&str]) -> Option<Route> {
    let own = |text: &str| text.to_owned();
    Some(match parts {
        ["livez"] => Route::Live,
        ["readyz"] => Route::Ready,
        ["metrics"] => Route::Metrics,
        ["v1", "status"] => Route::Status,
        ["v1", "signals", tenant, id] => Route::Signal { tenant: own(tenant), id: own(id) },
        ["v1", "receipts", id] => Route::Receipt { id: own(id) },
        ["v1", "governors"] => Route::Governors,
        ["v1", "governors", tenant, sku] => Route::Governor { tenant: own(tenant), sku: own(sku) },
        ["v1", "governors", tenant, sku, order] => {
            Route::Govern { tenant: own(tenant), sku: own(sku), order: order.parse().ok()? }
        }
        ["v1", "deadletters"] => Route::DeadLetters,
        ["v1", "deadletters", id] => Route::DeadLetter { id: own(id) },
        ["v1", "deadletters", id, "dry-run"] => Route::DryRun { id: own(id) },
        ["v1", "deadletters", id, "replay"] => Route::Replay { id: own(id) },
        ["v1", "deadletters", id, "resend"] => Route::Resend { id: own(id) },
        ["v1", "deadletters", id, "discard"] => Route::Discard { id: own(id) },
        ["v1", "policy"] => Route::Policy,
        ["v1", "policy", "reload"] => Route::PolicyReload,
        _ => return None,
    })
}

impl Route {
    /// What is asked of whoever asks or orders.
    #[must_use]
    pub fn need(&self) -> Need {
        match self {
            Self::Live | Self::Ready => Need::Nothing,
            Self::Metrics => Need::LoopbackOr(Role::Viewer),
            Self::Status
            | Self::Signal { .. }
            | Self::Receipt { .. }
            | Self::Governors
            | Self::Governor { .. }
            | Self::DeadLetters
            | Self::DeadLetter { .. }
            | Self::DryRun { .. }
            | Self::Policy => Need::Role(Role::Viewer),
            Self::Govern { .. } | Self::Replay { .. } | Self::Resend { .. } | Self::Discard { .. } => {
                Need::Role(Role::Operator)
            }
            Self::PolicyReload => Need::Role(Role::Admin),
        }
    }

    /// Whether it is a POST.
    fn orders(&self) -> bool {
        match self {
            Self::Govern { .. }
            | Self::DryRun { .. }
            | Self::Replay { .. }
            | Self::Resend { .. }
            | Self::Discard { .. }
            | Self::PolicyReload => true,
            Self::Live
            | Self::Ready
            | Self::Metrics
            | Self::Status
            | Self::Signal { .. }
            | Self::Receipt { .. }
            | Self::Governors
            | Self::Governor { .. }
            | Self::DeadLetters
            | Self::DeadLetter { .. }
            | Self::Policy => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_its_method_and_role() {
        let asked = [
            ("/livez", Need::Nothing),
            ("/readyz", Need::Nothing),
            ("/metrics", Need::LoopbackOr(Role::Viewer)),
            ("/v1/status", Need::Role(Role::Viewer)),
            ("/v1/signals/acme/s-1", Need::Role(Role::Viewer)),
            ("/v1/receipts/r-0000000000000001-00", Need::Role(Role::Viewer)),
            ("/v1/governors", Need::Role(Role::Viewer)),
            ("/v1/governors/acme/vm", Need::Role(Role::Viewer)),
            ("/v1/deadletters", Need::Role(Role::Viewer)),
            ("/v1/deadletters/d-0000000000000001", Need::Role(Role::Viewer)),
            ("/v1/policy", Need::Role(Role::Viewer)),
        ];
        let ordered = [
            ("/v1/governors/acme/vm/halt", Need::Role(Role::Operator)),
            ("/v1/governors/acme/vm/resume", Need::Role(Role::Operator)),
            ("/v1/governors/acme/vm/entitle", Need::Role(Role::Operator)),
            ("/v1/governors/acme/vm/revoke", Need::Role(Role::Operator)),
            ("/v1/governors/acme/vm/quota", Need::Role(Role::Operator)),
            ("/v1/deadletters/d-0000000000000001/dry-run", Need::Role(Role::Viewer)),
            ("/v1/deadletters/d-0000000000000001/replay", Need::Role(Role::Operator)),
            ("/v1/deadletters/d-0000000000000001/resend", Need::Role(Role::Operator)),
            ("/v1/deadletters/d-0000000000000001/discard", Need::Role(Role::Operator)),
            ("/v1/policy/reload", Need::Role(Role::Admin)),
        ];
        let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];
        for (table, method, allowed) in
            [(&asked[..], Method::GET, "GET, HEAD"), (&ordered, Method::POST, "POST")]
        {
            for (path, need) in table {
                assert_eq!(find(&method, path).unwrap().need(), *need, "{path}");
                for other in methods.iter().filter(|other| **other != method) {
                    assert_eq!(find(other, path), Err(NoRoute::Method(allowed)), "{other} {path}");
                }
            }
        }
        for path in
            ["/", "/v1", "/v1/signals", "/v1/signals/acme", "/livez/", "/v1/governors/a/b/c", "/v1/policy/x"]
        {
            assert_eq!(find(&Method::GET, path), Err(NoRoute::NotFound), "{path}");
        }
    }

    #[test]
    fn parts_are_percent_decoded() {
        let found = find(&Method::GET, "/v1/signals/acme/a%2Fb%20c");
        assert_eq!(found, Ok(Route::Signal { tenant: "acme".into(), id: "a/b c".into() }));
        assert_eq!(find(&Method::GET, "/v1/signals/acme/%zz"), Err(NoRoute::Encoding));
    }
}
