//! How a webhook is shaped: the texts of its expressions. They are compiled where it is known what they may name.

use hyper::header::{HeaderName, HeaderValue};
use toml::Spanned;

use super::layer;
use super::layers::optional;
use crate::limits::{SHAPED_HEADERS_MAX, SHAPED_NAME_BYTES_MAX};
use crate::place::{ConfigError, StringPlace, Text};

/// What `body`, `headers` and `content_type` of a webhook say.
#[derive(Clone, Debug, Default)]
pub struct ShapeText {
    pub body: Option<ExpressionText>,
    pub content_type: Option<HeaderValue>,
    pub headers: Vec<(HeaderName, ExpressionText)>,
}

/// An expression, and where it is written.
#[derive(Clone, Debug)]
pub struct ExpressionText {
    pub text: String,
    pub place: StringPlace,
}

impl ExpressionText {
    fn new(text: &Text, written: &Spanned<String>) -> Self {
        Self { text: written.get_ref().clone(), place: text.string_at(&written.span()) }
    }
}

/// Headers that say how a request is framed, whom it is for, who sent it, and what it belongs to: they are the node's own.
const OWN: [&str; 22] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "idempotency-key",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
/// The same, by how they begin: what Standard Webhooks signs, under either name.
const OWN_BEGINNINGS: [&str; 2] = ["webhook-", "svix-"];

/// `None` where a webhook says nothing of it.
pub fn shape_text(text: &Text, action: &layer::Action) -> Result<Option<ShapeText>, ConfigError> {
    let mut shape = ShapeText {
        body: action.body.as_ref().map(|body| ExpressionText::new(text, body)),
        ..ShapeText::default()
    };
    if let Some(content_type) = optional(text, action.content_type.as_ref()) {
        if shape.body.is_none() {
            return Err(ConfigError::new(&content_type.place, "`content_type` needs `body`")
                .hint("the message that is sent without `body` is JSON"));
        }
        shape.content_type = Some(content_type.map(|text| media_type(&text))?);
    }
    for (name, written) in action.headers.iter().flat_map(Spanned::get_ref) {
        let wrong =
            |why: String| ConfigError::new(&text.place(&written.span()), format!("header `{name}`: {why}"));
        let header = header_name(name).map_err(wrong)?;
        if shape.headers.len() == SHAPED_HEADERS_MAX {
            return Err(wrong(format!("an action has at most {SHAPED_HEADERS_MAX} headers")));
        }
        shape.headers.push((header, ExpressionText::new(text, written)));
    }
    Ok((shape.body.is_some() || !shape.headers.is_empty()).then_some(shape))
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    if name.len() > SHAPED_NAME_BYTES_MAX || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(format!("a name is written in lower case, with at most {SHAPED_NAME_BYTES_MAX} bytes"));
    }
    if OWN.contains(&name) || OWN_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) {
        return Err("the node sets it, or nobody: no expression does".into());
    }
    name.parse().map_err(|_| "HTTP has no header of such a name".into())
}

fn media_type(text: &str) -> Result<HeaderValue, String> {
    let is_type = text.len() <= SHAPED_NAME_BYTES_MAX
        && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && text.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty());
    let wrong = || format!("this is no media type of at most {SHAPED_NAME_BYTES_MAX} bytes, as `text/plain`");
    if is_type { text.parse().map_err(|_| wrong()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_the_nodes_own_cannot_be_set() {
        for name in ["x-team", "x-api-version", "accept", "link", "priority", "x_y", "forwarded"] {
            assert_eq!(header_name(name).map(|header| header.to_string()), Ok(name.to_owned()));
        }
        let wrong = [
            "Host",
            "host",
            "X-Team",
            "webhook-id",
            "webhook-signature",
            "webhook-",
            "svix-id",
            "content-length",
            "transfer-encoding",
            "connection",
            "authorization",
            "proxy-authorization",
            "traceparent",
            "",
            "x team",
            "x:y",
            "x\r\ny",
            "é",
            "te",
            "upgrade",
            ":path",
        ];
        for name in wrong {
            assert!(header_name(name).is_err(), "{name:?}");
        }
        assert!(header_name(&"x".repeat(SHAPED_NAME_BYTES_MAX)).is_ok());
        assert!(header_name(&"x".repeat(SHAPED_NAME_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_media_type_is_a_line_with_a_slash() {
        for good in ["text/plain", "application/json", "text/plain; charset=utf-8"] {
            assert_eq!(media_type(good).map(|value| value.as_bytes().to_vec()), Ok(good.as_bytes().to_vec()));
        }
        for bad in ["", "json", "/json", "text/", "text/plain\r\nx: y", "text/ü"] {
            assert!(media_type(bad).is_err(), "{bad:?}");
        }
        assert!(media_type(&format!("text/{}", "x".repeat(SHAPED_NAME_BYTES_MAX))).is_err());
    }
}
