//! How a file of receipts ends: with its last whole line, and perhaps with a torn one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use serde::Deserialize;

use super::position::WrittenEntry;
use crate::limits::AUDIT_LINE_BYTES_MAX;

/// The last line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastLine {
    pub entry: WrittenEntry,
    pub log_origin: String,
}

/// Where the whole lines of a file end, and the last of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEnd {
    pub whole: u64,
    pub last: Option<LastLine>,
}

/// What is read of a line to go on after it.
#[derive(Deserialize)]
struct AuditLine {
    log_index: u64,
    log_origin: String,
}

/// How every line begins.
const OURS: &[u8] = b"{\"action_id\":";
/// Bytes that are read at first: some tens of lines.
const WINDOW: usize = 64 * 1024;

/// What is at the end of the first `bytes` of a file; `None` where that is no line of ours.
pub fn ending(file: &File, bytes: u64) -> io::Result<Option<FileEnd>> {
    let mut window = WINDOW;
    loop {
        let from = bytes.saturating_sub(window as u64);
        let mut end = vec![0; usize::try_from(bytes - from).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut end, from)?;
        let whole = memchr::memrchr(b'\n', &end).map_or(0, |at| at + 1);
        let before = end.get(..whole.saturating_sub(1)).unwrap_or_default();
        let begin = memchr::memrchr(b'\n', before).map(|at| at + 1).or((from == 0).then_some(0));
        if let Some(begin) = begin {
            let (lines, torn) = end.split_at(whole);
            let line = lines.get(begin..).and_then(|line| line.strip_suffix(b"\n"));
            let last = line.map(last_line);
            // Where the machine lost its power a file may end in zeros.
            let is_ours =
                OURS.starts_with(torn) || torn.starts_with(OURS) || torn.iter().all(|byte| *byte == 0);
            return Ok(match last {
                _ if !is_ours => None,
                None => Some(FileEnd { whole: from + whole as u64, last: None }),
                Some(None) => None,
                Some(last) => Some(FileEnd { whole: from + whole as u64, last }),
            });
        }
        if window > 2 * AUDIT_LINE_BYTES_MAX {
            return Ok(None);
        }
        window *= 4;
    }
}

fn last_line(line: &[u8]) -> Option<LastLine> {
    let AuditLine { log_index, log_origin } = serde_json::from_slice(line).ok()?;
    Some(LastLine { entry: WrittenEntry::new(log_index, line), log_origin })
}
