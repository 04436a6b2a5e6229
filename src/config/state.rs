//! `[state]`: where what governors know is kept. On the node's own disk, or, by processors, beside that in Firestore, so that
//! they may take partitions from one another.

use std::ffi::OsString;
use std::path::PathBuf;

use super::layer::{NodeRole, Profile, Store};
use super::layers::{Layers, Set};
use super::secret::{Chooser, Kept, SecretRef};
use crate::place::{ConfigError, Place};

/// A database of Firestore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firestore {
    pub project: String,
    pub database: String,
    pub credentials: Credentials,
    pub place: Place,
}

/// Who asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// An emulator at this address, which asks for none.
    Emulator(String),
    /// A service account's key, as the cloud's console gives it.
    KeyFile(SecretRef),
    /// The machine's own service account.
    Machine,
}

/// Names a file with a service account's key, by the cloud's own convention.
const KEY_VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const EMULATOR_VARIABLE: &str = "FIRESTORE_EMULATOR_HOST";

impl Layers {
    pub(super) fn state(
        &self,
        profile: Profile,
        role: &Set<NodeRole>,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Firestore>, ConfigError> {
        let store = self.or(|layer| &layer.state.store, "state.store", Store::Embedded);
        if store.value == Store::Embedded {
            return Ok(None);
        }
        if role.value != NodeRole::Processor {
            let wrong = "only processors share their state: a node with another role keeps it on its disk";
            return Err(ConfigError::new(&store.place, wrong)
                .hint("give it the role `processor`, or leave the store `embedded`"));
        }
        let project = self.or(|layer| &layer.state.project, "state.project", "tai2030".into());
        let database = self.or(|layer| &layer.state.database, "state.database", "(default)".into());
        Ok(Some(Firestore {
            project: project.map(|text| named("project", text))?,
            database: database.map(|text| named("database", text))?,
            credentials: self.credentials(profile, variable)?,
            place: store.place,
        }))
    }

    fn credentials(
        &self,
        profile: Profile,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Credentials, ConfigError> {
        if let Some(host) = variable(EMULATOR_VARIABLE) {
            let place = Place::named(EMULATOR_VARIABLE);
            if profile != Profile::Dev {
                let wrong =
                    "an emulator is asked without TLS and without credentials: only the profile `dev` may";
                return Err(ConfigError::new(&place, wrong).hint(
                    "take this variable out of the node's environment, or set `node.profile = \"dev\"`",
                ));
            }
            let host = host.into_string().map_err(|_| ConfigError::new(&place, "it is not UTF-8"))?;
            return Ok(Credentials::Emulator(host));
        }
        let set = self.find(|layer| &layer.state.credentials_file);
        let set = set.map(|set| (set.value.0, set.key, set.place));
        let usual = || {
            variable(KEY_VARIABLE)
                .map(|path| (PathBuf::from(path), KEY_VARIABLE.to_owned(), Place::named(KEY_VARIABLE)))
        };
        Ok(match set.or_else(usual) {
            None => Credentials::Machine,
            Some((path, key, place)) => {
                let what = "the service account's key".to_owned();
                let (kept, chosen_by) = (Kept::File(path), Chooser::Peer);
                Credentials::KeyFile(SecretRef { kept, what, key, place, chosen_by })
            }
        })
    }
}

fn named(what: &str, text: String) -> Result<String, String> {
    let fits = (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:()".contains(&byte));
    if fits { Ok(text) } else { Err(format!("`{text}` is no name of a {what} of Firestore")) }
}
