//! How others call a group of alerts: by its name and when it began, so that one which begins again is a different one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::cause::AlertId;

/// A group and when it began, in milliseconds since 1970: the `dedup_key` of PagerDuty, and the value of a button.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupKey {
    pub group: AlertId,
    pub since: u64,
}

/// The one message by which a channel told of several groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestTold {
    pub key: GroupKey,
    /// It stands open at the receiver until it is closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub opens: bool,
}

/// A [`GroupKey`], short enough for people: it stands at the end of an incident's title. The first bytes of the group's name, and the
/// last of its time, which come again after 49 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupTag {
    pub group: [u8; 4],
    pub since: u32,
}

/// The text names no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a group of alerts")]
pub struct NotAGroup;

impl GroupKey {
    /// Its short form.
    #[must_use]
    pub fn tag(&self) -> GroupTag {
        let AlertId([a, b, c, d, ..]) = self.group;
        #[expect(clippy::cast_possible_truncation, reason = "the last bytes are meant")]
        let since = self.since as u32;
        GroupTag { group: [a, b, c, d], since }
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.group, self.since)
    }
}

impl FromStr for GroupKey {
    type Err = NotAGroup;

    fn from_str(text: &str) -> Result<Self, NotAGroup> {
        let (group, since) = text.split_once('-').ok_or(NotAGroup)?;
        let key = Self { group: group.parse().map_err(|_| NotAGroup)?, since: hex(since).ok_or(NotAGroup)? };
        // One spelling for each.
        if key.to_string() == text { Ok(key) } else { Err(NotAGroup) }
    }
}

impl fmt::Display for GroupTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}-{:08x}]", faster_hex::hex_string(&self.group), self.since)
    }
}

impl GroupTag {
    /// Characters of its text.
    pub const CHARS: usize = 19;

    /// The one that stands at the end of a text.
    #[must_use]
    pub fn at_end(text: &str) -> Option<Self> {
        let text = text.trim_end();
        let written = text.get(text.len().checked_sub(Self::CHARS)?..)?;
        let (group, since) = written.strip_prefix('[')?.strip_suffix(']')?.split_once('-')?;
        let group = u32::try_from(hex(group)?).ok()?.to_be_bytes();
        let tag = Self { group, since: u32::try_from(hex(since)?).ok()? };
        (tag.to_string() == written).then_some(tag)
    }
}

fn hex(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_its_tag_read_back_and_nothing_else_reads() {
        let key = GroupKey { group: AlertId([0xab; 16]), since: 0x19a_c2f8_b1d0 };
        let text = key.to_string();
        assert_eq!(text, format!("{}-19ac2f8b1d0", "ab".repeat(16)));
        assert_eq!(text.parse(), Ok(key));
        let id = "ab".repeat(16);
        for wrong in [
            String::new(),
            id.clone(),
            format!("{id}-"),
            format!("{id}-01"),
            format!("{id}-+1"),
            format!("{id}-1F"),
            format!("{id}-10000000000000000"),
            format!("{}-1", id.to_uppercase()),
            format!(" {id}-1"),
            format!("{id}-1-1"),
        ] {
            assert_eq!(wrong.parse::<GroupKey>(), Err(NotAGroup), "{wrong}");
        }

        let tag = key.tag();
        assert_eq!(tag.to_string(), "[abababab-c2f8b1d0]");
        assert_eq!(tag.to_string().chars().count(), GroupTag::CHARS);
        for text in ["[abababab-c2f8b1d0]", "the disk is full [abababab-c2f8b1d0] ", "ü[abababab-c2f8b1d0]"]
        {
            assert_eq!(GroupTag::at_end(text), Some(tag), "{text}");
        }
        for wrong in [
            "",
            "[abababab-c2f8b1d0",
            "[abababab-c2f8b1d0] x",
            "[ABABABAB-c2f8b1d0]",
            "[abababab+c2f8b1d0]",
            "[abababab--2f8b1d0]",
            "(abababab-c2f8b1d0)",
            "üüüüüüüüüüüüüüüüüüüü",
        ] {
            assert_eq!(GroupTag::at_end(wrong), None, "{wrong}");
        }
    }
}
