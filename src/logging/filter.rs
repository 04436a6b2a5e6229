//! Which events are written: a level for all targets, and levels for single ones: `info,gemba::kanban=debug`.

use std::fmt;

use tracing::level_filters::LevelFilter;

/// Targets of events, by layer. Those of libraries are never written: what they tell of may hold headers, and so tokens.
pub const TARGETS: [&str; 12] = [
    "gemba::config",
    "gemba::disk",
    "gemba::net",
    "gemba::tls",
    "gemba::ingress",
    "gemba::kanban",
    "gemba::jidoka",
    "gemba::andon",
    "gemba::kaizen",
    "gemba::traces",
    "gemba::operator",
    "gemba::line",
];
/// What is told of TLS towards others has a file of its own, where one is configured.
pub const TLS: &str = "gemba::tls";
/// Stands for all targets.
const ROOT: &str = "gemba";
const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];
/// A name that differs in no more letters from a target was probably meant to be it.
const TYPING_ERRORS: usize = 3;

/// The levels of all targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter([LevelFilter; TARGETS.len()]);

impl Default for Filter {
    fn default() -> Self {
        Self([LevelFilter::INFO; TARGETS.len()])
    }
}

impl Filter {
    /// Reads a filter. Targets that it does not name have the level that stands alone, or `info`.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, WrongFilter> {
        let (all, named) = Self::read(text)?;
        Ok(Self(named.map(|level| level.or(all).unwrap_or(LevelFilter::INFO))))
    }

    /// The level that stands alone, and those of targets.
    fn read(text: &str) -> Result<(Option<LevelFilter>, [Option<LevelFilter>; TARGETS.len()]), WrongFilter> {
        let (mut all, mut named) = (None, [None; TARGETS.len()]);
        for part in text.split(',').map(str::trim) {
            let twice = || wrong(format!("`{part}` sets a level that was set before"), "keep one of the two");
            let Some((target, level)) = part.split_once('=') else {
                if all.replace(alone(part)?).is_some() {
                    return Err(twice());
                }
                continue;
            };
            let (target, level) = (target.trim(), self::level(level.trim())?);
            let set = if target == ROOT {
                &mut all
            } else {
                let at = TARGETS.iter().position(|known| *known == target);
                &mut named[at.ok_or_else(|| unknown(target))?]
            };
            if set.replace(level).is_some() {
                return Err(twice());
            }
        }
        Ok((all, named))
    }

    /// The same but for what `text` names. A level that stands alone is that of every target that it does not name.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn changed(&self, text: &str) -> Result<Self, WrongFilter> {
        let (all, named) = Self::read(text)?;
        let mut levels = self.0;
        for (level, named) in levels.iter_mut().zip(named) {
            *level = named.or(all).unwrap_or(*level);
        }
        Ok(Self(levels))
    }

    /// What is written of a target.
    pub(super) fn level(&self, target: &str) -> LevelFilter {
        let at = TARGETS.iter().position(|known| *known == target);
        at.map_or(LevelFilter::OFF, |at| self.0[at])
    }

    /// The most that is written of any.
    pub(super) fn most(&self) -> LevelFilter {
        self.0.into_iter().max().unwrap_or(LevelFilter::OFF)
    }
}

/// Every target with its level, as [`Filter::parse`] reads it.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (target, level)) in TARGETS.iter().zip(self.0).enumerate() {
            let name = LEVELS.iter().find(|(_, known)| *known == level).map_or("off", |(name, _)| name);
            write!(f, "{}{target}={name}", if number == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// A filter that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongFilter {
    pub what: String,
    pub hint: String,
}

impl fmt::Display for WrongFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

fn wrong(what: String, hint: impl Into<String>) -> WrongFilter {
    WrongFilter { what, hint: hint.into() }
}

fn find(level: &str) -> Option<LevelFilter> {
    LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(level)).map(|(_, level)| *level)
}

/// Reads one level.
///
/// # Errors
/// When there is none of that name.
pub fn level(text: &str) -> Result<LevelFilter, WrongFilter> {
    let names = LEVELS.map(|(name, _)| name).join(", ");
    find(text).ok_or_else(|| wrong(format!("`{text}` is not a level"), format!("a level is one of {names}")))
}

/// A level for all targets.
fn alone(text: &str) -> Result<LevelFilter, WrongFilter> {
    if text.is_empty() {
        let what = "a part of it is empty".to_owned();
        return Err(wrong(
            what,
            "write a level, such as `info`, or levels of targets too: `info,gemba::kanban=debug`",
        ));
    }
    if text.starts_with(ROOT) {
        if text != ROOT && !TARGETS.contains(&text) {
            return Err(unknown(text));
        }
        return Err(wrong(
            format!("`{text}` has no level"),
            format!("write one after it, such as `{text}=debug`"),
        ));
    }
    level(text)
}

fn unknown(target: &str) -> WrongFilter {
    let near = TARGETS.iter().map(|known| (strsim::damerau_levenshtein(target, known), known));
    let hint = match near.min().filter(|(distance, _)| *distance <= TYPING_ERRORS) {
        Some((_, near)) => format!("the nearest target is `{near}`"),
        None => format!("targets are {ROOT} for all, and {}", TARGETS.join(", ")),
    };
    wrong(format!("`{target}` is not a target"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_sets_all_targets_and_single_ones() {
        for (text, kanban, line) in [
            ("info", LevelFilter::INFO, LevelFilter::INFO),
            ("info,gemba::kanban=debug", LevelFilter::DEBUG, LevelFilter::INFO),
            ("gemba::kanban=debug", LevelFilter::DEBUG, LevelFilter::INFO),
            (" gemba::kanban = off , WARN", LevelFilter::OFF, LevelFilter::WARN),
            ("gemba=error", LevelFilter::ERROR, LevelFilter::ERROR),
            ("off", LevelFilter::OFF, LevelFilter::OFF),
        ] {
            let filter = Filter::parse(text).unwrap();
            assert_eq!(
                (filter.level("gemba::kanban"), filter.level("gemba::line")),
                (kanban, line),
                "{text}"
            );
            assert_eq!(filter.most(), kanban.max(line), "{text}");
            assert_eq!(filter.level("h2::codec"), LevelFilter::OFF, "{text}");
            assert_eq!(filter.level("gemba::kanbans"), LevelFilter::OFF, "{text}");
        }
        assert_eq!(Filter::parse("info"), Ok(Filter::default()));
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let filter = Filter::parse("warn,gemba::kanban=debug").unwrap();
        let changed = filter.changed("gemba::line=trace").unwrap();
        assert_eq!(changed.level("gemba::kanban"), LevelFilter::DEBUG);
        assert_eq!(
            (changed.level("gemba::line"), changed.level(TLS)),
            (LevelFilter::TRACE, LevelFilter::WARN)
        );
        assert_eq!(filter.changed("error").unwrap(), Filter::parse("error").unwrap());
        assert_eq!(Filter::parse(&changed.to_string()), Ok(changed));
        assert!(filter.changed("gemba::lin=trace").unwrap_err().hint.contains("gemba::line"));
    }

    #[test]
    fn a_wrong_filter_says_what_is_wrong_and_what_to_write() {
        for (text, what, hint) in [
            ("loud", "`loud` is not a level", "one of off, error, warn, info, debug, trace"),
            ("", "a part of it is empty", "`info,gemba::kanban=debug`"),
            ("info,", "a part of it is empty", "`info`"),
            ("info,gemba::kanban", "`gemba::kanban` has no level", "`gemba::kanban=debug`"),
            ("gemba::kanbn=debug", "`gemba::kanbn` is not a target", "the nearest target is `gemba::kanban`"),
            ("info,h2=trace", "`h2` is not a target", "gemba::line"),
            ("info,gemba::kanban=loud", "`loud` is not a level", "one of off"),
            ("info,warn", "`warn` sets a level that was set before", "keep one"),
            ("gemba::line=info,gemba::line=warn", "`gemba::line=warn` sets a level", "keep one"),
        ] {
            let wrong = Filter::parse(text).unwrap_err();
            assert!(wrong.what.contains(what) && wrong.hint.contains(hint), "{text}: {wrong:?}");
        }
    }
}
