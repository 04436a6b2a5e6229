//! `[policy]`: the packs, and which tenants have their own.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::file;
use super::layer::FilePath;
use super::layers::{Layers, name, set, twice};
use crate::limits::CONFIG_BYTES_MAX;
use crate::place::{ConfigError, Place, Text};

/// The packs that the built-in configuration names.
const BUILT_IN_PACKS: [(&str, &str); 4] = [
    ("config/policies/cost_governance.toml", include_str!("../../config/policies/cost_governance.toml")),
    ("config/policies/permission_drift.toml", include_str!("../../config/policies/permission_drift.toml")),
    ("config/policies/change_management.toml", include_str!("../../config/policies/change_management.toml")),
    ("config/policies/compliance_audit.toml", include_str!("../../config/policies/compliance_audit.toml")),
];

/// Which packs hold for whom.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub packs: Vec<PackFile>,
    /// Tenants that go by packs of their own.
    pub tenants: Vec<(String, Vec<PackFile>)>,
}

/// A policy pack, by its file.
#[derive(Clone, Debug)]
pub struct PackFile {
    pub path: PathBuf,
    pub place: Place,
}

impl PackFile {
    /// The pack's text, from its file or, under the built-in configuration, built in where no file of this name is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, is_built_in: bool) -> Result<String, ConfigError> {
        match file::text(&self.path, CONFIG_BYTES_MAX) {
            Ok(text) => Ok(text),
            Err(error) => {
                let own = BUILT_IN_PACKS.iter().find(|(name, _)| is_built_in && Path::new(name) == self.path);
                let what = || format!("the policy pack {} cannot be read: {error}", self.path.display());
                own.map(|(_, text)| (*text).to_owned()).ok_or_else(|| ConfigError::new(&self.place, what()))
            }
        }
    }
}

impl Layers {
    pub fn policy(&self) -> Result<Policy, ConfigError> {
        let files = |text: &Text, packs: &[Spanned<FilePath>]| {
            packs
                .iter()
                .map(|pack| PackFile { path: pack.get_ref().0.clone(), place: text.place(&pack.span()) })
                .collect()
        };
        let common =
            self.0.iter().find_map(|(text, layer)| Some(files(text, layer.policy.packs.as_ref()?.get_ref())));
        let mut tenants: Vec<(String, Vec<PackFile>)> = Vec::new();
        for (text, table) in self.tables(|layer| &layer.policy.tenant) {
            for tenant in &table.get_ref().tenants {
                let name = set(text, tenant).map(name)?;
                if tenants.iter().any(|(other, _)| *other == name) {
                    return Err(twice(text, tenant));
                }
                tenants.push((name, files(text, &table.get_ref().packs)));
            }
        }
        Ok(Policy { packs: common.unwrap_or_default(), tenants })
    }
}
