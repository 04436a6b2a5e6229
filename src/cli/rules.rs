//! From the configuration and the files that it names to the rules of a node.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{Action, Config, ConfigError, Entitled, PackFile};
use crate::jidoka::rules::{ActionSource, EntitlementDefault, PackSource, RulesSource};
use crate::limits::{MAILBOX_BYTES_MAX, SHARED_MAILBOX_BYTES, SHARED_MAILBOX_MAX};
use crate::line::live::Rulebook;

/// The rules that are configured, checked, and how to read their packs anew.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn rulebook(config: &Config) -> Result<Rulebook, ConfigError> {
    let source = rules(config)?;
    source.clone().compile()?;
    let config = config.clone();
    Ok(Rulebook::new(source, Box::new(move || rules(&config))))
}

/// Reads the packs; nothing is compiled yet.
///
/// # Errors
/// When a file cannot be read.
pub fn rules(config: &Config) -> Result<RulesSource, ConfigError> {
    let governor = config.governor;
    let mut packs = Vec::new();
    let everyone = places(&config.policy.packs, &mut packs)?;
    let mut tenants = BTreeMap::new();
    for (tenant, own) in &config.policy.tenants {
        tenants.insert(tenant.clone(), places(own, &mut packs)?);
    }
    let mailbox = u32::try_from(governor.mailbox).unwrap_or(u32::MAX);
    // A processor journals a governor from the shared store and its waiting signals as one unit.
    let (mailbox, mailbox_bytes) = match config.firestore {
        Some(_) => (mailbox.min(SHARED_MAILBOX_MAX), SHARED_MAILBOX_BYTES),
        None => (mailbox, MAILBOX_BYTES_MAX),
    };
    let mut background = config.actions.iter().filter(|action| action.background.is_some());
    if let (Some(_), Some(action)) = (&config.firestore, background.next()) {
        let what = format!("action `{}` goes out in the background, and the state is shared", action.name);
        return Err(ConfigError::new(&action.place, what).hint(
            "set `delivery = \"await\"`: who takes a partition over can take over only what governors wait for",
        ));
    }
    Ok(RulesSource {
        entitlement: match config.entitled {
            Entitled::Active => EntitlementDefault::Active,
            Entitled::Required => EntitlementDefault::Required,
        },
        boot_timeout_seconds: seconds(governor.boot_timeout),
        quota: governor.quota,
        quota_window_seconds: seconds(governor.quota_window),
        breaker_failures: governor.breaker_failures,
        breaker_reset_seconds: seconds(governor.breaker_reset),
        actions: config.actions.iter().map(action).collect(),
        mailbox,
        mailbox_bytes,
        packs,
        everyone,
        tenants,
        alerts: config.alerts.routes.clone(),
        ..RulesSource::default()
    })
}

/// The places of these files among the packs, to which they are added.
fn places(files: &[PackFile], packs: &mut Vec<PackSource>) -> Result<Vec<usize>, ConfigError> {
    let mut places = Vec::new();
    for file in files {
        let name = file.path.display().to_string();
        let known = packs.iter().position(|pack| pack.file == name);
        places.push(if let Some(place) = known {
            place
        } else {
            packs.push(PackSource { file: name, text: file.read()? });
            packs.len() - 1
        });
    }
    Ok(places)
}

fn action(action: &Action) -> ActionSource {
    match action.background {
        None => ActionSource::Awaited(action.name.clone()),
        Some(time) => {
            ActionSource::Background { name: action.name.clone(), background_seconds: seconds(time) }
        }
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
