//! Every route of the plane in one table, which a test walks.

use hyper::Method;

use super::Role;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Live,
    Ready,
    Metrics,
    Signal { tenant: String, id: String },
    Receipt { id: String },
    Governors,
    Governor { tenant: String, sku: String },
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
    let parts: Vec<String> =
        path.split('/').skip(1).map(decoded).collect::<Option<_>>().ok_or(NoRoute::Encoding)?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let route = match parts.as_slice() {
        ["livez"] => Route::Live,
        ["readyz"] => Route::Ready,
        ["metrics"] => Route::Metrics,
        ["v1", "signals", tenant, id] => Route::Signal { tenant: (*tenant).into(), id: (*id).into() },
        ["v1", "receipts", id] => Route::Receipt { id: (*id).into() },
        ["v1", "governors"] => Route::Governors,
        ["v1", "governors", tenant, sku] => Route::Governor { tenant: (*tenant).into(), sku: (*sku).into() },
        _ => return Err(NoRoute::NotFound),
    };
    match *method {
        Method::GET | Method::HEAD => Ok(route),
        _ => Err(NoRoute::Method("GET, HEAD")),
    }
}

impl Route {
    /// The least role that may ask; `None` where none is needed on loopback.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Live | Self::Ready | Self::Metrics => None,
            Self::Signal { .. } | Self::Receipt { .. } | Self::Governors | Self::Governor { .. } => {
                Some(Role::Viewer)
            }
        }
    }
}

fn decoded(part: &str) -> Option<String> {
    decode(part, false)
}

/// Percent-decodes; in a query `+` is a space.
pub fn decode(text: &str, query: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let pair = [bytes.next()?, bytes.next()?];
                let mut decoded = [0];
                faster_hex::hex_decode(&pair, &mut decoded).ok()?;
                decoded[0]
            }
            b'+' if query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_its_method_and_role() {
        let table = [
            ("/livez", None),
            ("/readyz", None),
            ("/metrics", None),
            ("/v1/signals/acme/s-1", Some(Role::Viewer)),
            ("/v1/receipts/r-0000000000000001-00", Some(Role::Viewer)),
            ("/v1/governors", Some(Role::Viewer)),
            ("/v1/governors/acme/vm", Some(Role::Viewer)),
        ];
        for (path, role) in table {
            assert_eq!(find(&Method::GET, path).unwrap().role(), role, "{path}");
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                assert_eq!(find(&method, path), Err(NoRoute::Method("GET, HEAD")), "{method} {path}");
            }
        }
        for path in ["/", "/v1", "/v1/signals", "/v1/signals/acme", "/livez/", "/v1/governors/a/b/c"] {
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
