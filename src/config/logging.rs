//! `[logging]`: what a node tells on standard error.

use super::layer::LogFormat;
use super::layers::Layers;
use crate::logging::Filter;
use crate::place::ConfigError;

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    pub filter: Filter,
    pub format: LogFormat,
}

impl Layers {
    pub(super) fn logging(&self) -> Result<Logging, ConfigError> {
        let level = self.or(|l| &l.logging.level, "logging.level", "info".into());
        let filter = Filter::parse(&level.value).map_err(|wrong| {
            ConfigError::new(&level.place, format!("`{}`: {}", level.key, wrong.what)).hint(wrong.hint)
        })?;
        let format = self.or(|l| &l.logging.format, "logging.format", LogFormat::Auto).value;
        Ok(Logging { filter, format })
    }
}
