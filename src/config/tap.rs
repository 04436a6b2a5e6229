//! `[tap]`: whether viewers may look at signals while they are decided, and which fields they do not see.

use super::layer::Profile;
use super::layers::{Layers, set};
use crate::limits::{NAME_BYTES_MAX, TAP_MASKS_MAX};
use crate::place::ConfigError;
use crate::tapped::{Mask, TapRules};

/// Names in the path of a field.
const DEPTH_MAX: usize = 16;

impl Layers {
    pub(super) fn tap(&self, profile: Profile) -> Result<TapRules, ConfigError> {
        // In production somebody has to mean it.
        let is_allowed = self.or(|l| &l.tap.allowed, "tap.allowed", profile != Profile::Prod).value;
        let found = self.0.iter().find_map(|(text, layer)| layer.tap.mask.as_ref().map(|mask| (text, mask)));
        let Some((text, mask)) = found else { return Ok(TapRules { is_allowed, ..TapRules::default() }) };
        if mask.get_ref().len() > TAP_MASKS_MAX {
            let what =
                format!("`tap.mask` has {} fields; there are at most {TAP_MASKS_MAX}", mask.get_ref().len());
            return Err(ConfigError::new(&text.place(&mask.span()), what));
        }
        let mut paths = Vec::new();
        for path in mask.get_ref() {
            paths.push(set(text, path).map(path_of)?);
        }
        Ok(TapRules { is_allowed, mask: Mask::new(&paths) })
    }
}

fn path_of(path: String) -> Result<String, String> {
    let names: Vec<&str> = path.split('.').collect();
    let fits =
        names.len() <= DEPTH_MAX && names.iter().all(|name| (1..=NAME_BYTES_MAX).contains(&name.len()));
    if fits {
        return Ok(path);
    }
    Err(format!(
        "`{path}` is no path of a field: 1 to {DEPTH_MAX} names with dots between, such as data.card or data.people.*.iban"
    ))
}
