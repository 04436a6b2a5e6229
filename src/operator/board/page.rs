//! The board's files: they stand in the binary, need no network, and are the same for everybody.

use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use hyper::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use hyper::{HeaderMap, StatusCode};

use super::super::answers::{Answer, body, compressed, list};

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardFile {
    Page,
    Style,
    Script,
    Icon,
}

impl BoardFile {
    fn content_type(self) -> &'static str {
        match self {
            Self::Page => "text/html; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Icon => "image/svg+xml",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Page => include_str!("board.html"),
            Self::Style => include_str!("board.css"),
            Self::Script => include_str!("board.js"),
            Self::Icon => include_str!("board.svg"),
        }
    }

    /// Names what stands in it.
    fn tag(self) -> &'static str {
        static TAGS: [OnceLock<String>; 4] = [const { OnceLock::new() }; 4];
        let tag = || {
            let hash = faster_hex::hex_string(digest(&SHA256, self.text().as_bytes()).as_ref());
            format!("\"{}\"", &hash[..16])
        };
        TAGS.get(self as usize).map_or("\"\"", |cell| cell.get_or_init(tag))
    }

    /// The file; or 304 where the browser has it.
    pub fn answer(self, headers: &HeaderMap, takes_gzip: bool) -> Answer {
        let known = list(headers, IF_NONE_MATCH);
        let is_known = known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == self.tag());
        let mut answer = if is_known {
            body(StatusCode::NOT_MODIFIED, self.content_type(), bytes::Bytes::new())
        } else {
            compressed(self.content_type(), self.text().into(), takes_gzip)
        };
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer.headers_mut().insert(ETAG, HeaderValue::from_static(self.tag()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup_and_nothing_comes_from_elsewhere() {
        let script = BoardFile::Script.text();
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "DOMParser",
            "createContextualFragment",
            "eval(",
            "new Function",
            "setAttribute(\"style",
            "setAttribute(\"on",
            "srcdoc",
            "javascript:",
        ] {
            assert!(!script.contains(forbidden), "{forbidden}");
        }
        let page = BoardFile::Page.text();
        for forbidden in ["<style", "style=", " onclick", " onload", "<script>"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        for file in [BoardFile::Page, BoardFile::Style, BoardFile::Script] {
            let text = file.text().replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{file:?}");
        }
    }
}
