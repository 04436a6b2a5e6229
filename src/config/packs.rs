//! `[policy]`: the packs, and which tenants have their own.

use std::io;
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
    /// A pack that the built-in configuration names is the one that the program has in itself.
    built_in: Option<&'static str>,
}

impl PackFile {
    fn new(text: &Text, pack: &Spanned<FilePath>) -> Self {
        let path = pack.get_ref().0.clone();
        let built_in = BUILT_IN_PACKS.iter().find(|(name, _)| text.is_built_in() && Path::new(name) == path);
        Self { place: text.place(&pack.span()), built_in: built_in.map(|(_, text)| *text), path }
    }

    /// The pack's text.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn read(&self) -> Result<String, ConfigError> {
        if let Some(text) = self.built_in {
            return Ok(text.to_owned());
        }
        file::text(&self.path, CONFIG_BYTES_MAX).map_err(|error| {
            let what = format!("the policy pack cannot be read: {}", file::failure(&self.path, &error));
            let is_missing = error.kind() == io::ErrorKind::NotFound;
            ConfigError::new(&self.place, what).hint(match (is_missing, self.path.is_relative()) {
                (true, true) => {
                    "a relative path begins where the node is started: start it there, or name the whole path"
                }
                (true, false) => "name a file that is there, or leave the pack out",
                (false, _) => "make it a file that the node's user may read",
            })
        })
    }
}

impl Policy {
    /// Files that look as if they held, and do not: a pack that is built in goes before them.
    pub fn unused_files(&self) -> impl Iterator<Item = ConfigError> {
        self.packs.iter().filter_map(|pack| {
            let built_in = pack.built_in?;
            let text = file::text(&pack.path, CONFIG_BYTES_MAX).ok()?;
            if text == built_in {
                return None;
            }
            let what = format!("{} is not used: the pack of this name is built in", pack.path.display());
            let hint = "name a configuration with --config to use packs of your own";
            Some(ConfigError::new(&pack.place, what).hint(hint))
        })
    }
}

impl Layers {
    pub fn policy(&self) -> Result<Policy, ConfigError> {
        let files = |text: &Text, packs: &[Spanned<FilePath>]| {
            packs.iter().map(|pack| PackFile::new(text, pack)).collect()
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
