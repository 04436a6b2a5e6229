//! Where tokens may go.

use hyper::Uri;

/// A URL that tokens may be sent to: nobody on the way can read along.
pub(super) fn guarded(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host().filter(|host| !host.is_empty())?;
    let here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    match uri.scheme_str() {
        Some("https") => Some(uri),
        Some("http") if here => Some(uri),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_where_nobody_reads_along() {
        for good in
            ["https://a.example", "https://a.example:8443/token", "http://127.0.0.1:1/x", "http://[::1]:1"]
        {
            assert!(guarded(good).is_some(), "{good}");
        }
        for bad in
            ["http://a.example", "http://127.0.0.1.a.example", "a.example", "/token", "", "ftp://a.example"]
        {
            assert!(guarded(bad).is_none(), "{bad}");
        }
    }
}
