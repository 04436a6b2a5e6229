//! `[alerts]` and `[[alerts.route]]`: who is told of what, by the names of channels.

use std::collections::BTreeMap;

use toml::Spanned;

use super::channels::{BUILT_IN_CHANNEL, Channel, ChannelKind};
use super::layer::{self, Key, Layer};
use super::layers::{Layers, Set, optional, place_of, set};
use super::receivers::http_url;
use crate::alert::{AlertFilter, CauseKind, GroupBy, Importance, QuietHours, RouteSource, RoutesSource};
use crate::limits::ALERT_ROUTES_MAX;
use crate::place::{ConfigError, Place, Text, nearest};

/// Who is told of what, and what else alerts need. The default is that of a node without alerts.
#[derive(Clone, Debug, Default)]
pub struct AlertSettings {
    /// A part of the rules.
    pub routes: RoutesSource,
    /// Where people find the board of this node, without a slash at its end.
    pub external_url: Option<String>,
    /// More dead letters within a minute are an alert; 0: none are.
    pub dead_letters_per_minute: u32,
    /// Where the channels of critical alerts are listed, if they are.
    pub critical_place: Option<Place>,
}

const DEAD_LETTERS_PER_MINUTE: u32 = 60;

impl Layers {
    pub(super) fn alerts(&self, channels: &[Channel]) -> Result<AlertSettings, ConfigError> {
        let known: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
        // It groups itself, and each alert begins and ends there for itself.
        let complete =
            channels.iter().filter(|channel| matches!(channel.kind, ChannelKind::Alertmanager { .. }));
        let usual = RoutesSource::default();
        let repeat = self.find(|l| &l.alerts.repeat_hours).map(|set| set.value.0 * 60);
        let external_url = self.find(|l| &l.alerts.external_url);
        let routes = RoutesSource {
            critical: self.list(|l| &l.alerts.critical, &known)?,
            warning: self.list(|l| &l.alerts.warning, &known)?,
            info: self.list(|l| &l.alerts.info, &known)?,
            group_by: self.group_by()?.unwrap_or(usual.group_by),
            group_wait_seconds: self.number(|l| &l.alerts.group_wait_seconds, usual.group_wait_seconds),
            group_interval_seconds: self
                .number(|l| &l.alerts.group_interval_seconds, usual.group_interval_seconds),
            repeat_minutes: repeat.unwrap_or(usual.repeat_minutes),
            importance: self.importance()?,
            routes: self.routes(&known)?,
            complete: complete.map(|channel| channel.name.clone()).collect(),
            channels: known.into_iter().map(str::to_owned).collect(),
        };
        Ok(AlertSettings {
            routes,
            external_url: external_url.map(|set| set.map(|text| base_url(&text))).transpose()?,
            dead_letters_per_minute: self
                .number(|l| &l.alerts.dead_letters_per_minute, DEAD_LETTERS_PER_MINUTE),
            critical_place: self.find(|l| &l.alerts.critical).map(|set| set.place),
        })
    }

    /// A severity's channels; the built-in one where nothing is said.
    fn list(
        &self,
        key: impl Fn(&Layer) -> &Key<Vec<Spanned<String>>>,
        known: &[&str],
    ) -> Result<Vec<String>, ConfigError> {
        let found = self.0.iter().find_map(|(text, layer)| Some((text, key(layer).as_ref()?)));
        match found {
            Some((text, list)) => names(text, list, known),
            None => Ok(vec![BUILT_IN_CHANNEL.into()]),
        }
    }

    fn group_by(&self) -> Result<Option<Vec<GroupBy>>, ConfigError> {
        let found = self.0.iter().find_map(|(text, layer)| Some((text, layer.alerts.group_by.as_ref()?)));
        let Some((text, list)) = found else { return Ok(None) };
        let mut parts: Vec<GroupBy> = Vec::new();
        for part in list.get_ref() {
            if parts.contains(part.get_ref()) {
                return Err(ConfigError::new(
                    &text.place(&part.span()),
                    "`alerts.group_by` says the same twice",
                ));
            }
            parts.push(*part.get_ref());
        }
        Ok(Some(parts))
    }

    /// How urgent alerts of single kinds are. Each kind is a key of its own, so that a variable may say one of them.
    fn importance(&self) -> Result<BTreeMap<CauseKind, Option<Importance>>, ConfigError> {
        let one = |text: &Text, name: &String, severity: &Spanned<layer::KindSeverity>| {
            let kind: CauseKind = name.parse().map_err(|_| {
                let place = text.place(&severity.span());
                let error =
                    ConfigError::new(&place, format!("`alerts.severity.{name}` is not a kind of alert"));
                let kinds = CauseKind::ALL.map(|kind| kind.into_str());
                match nearest(name, &kinds) {
                    Some(near) => error.hint(format!("the nearest valid name is `alerts.severity.{near}`")),
                    None => error.hint(format!("kinds are {}", kinds.join(", "))),
                }
            })?;
            Ok((kind, severity.get_ref().importance()))
        };
        // The strongest layer comes last.
        let layers = self.0.iter().rev();
        let tables = layers.filter_map(|(text, layer)| Some((text, layer.alerts.severity.as_ref()?)));
        let each = tables.flat_map(|(text, table)| {
            table.get_ref().iter().map(move |(name, severity)| one(text, name, severity))
        });
        each.collect()
    }

    fn routes(&self, known: &[&str]) -> Result<Vec<RouteSource>, ConfigError> {
        let tables = self.tables(|layer| &layer.alerts.route);
        if let Some((text, beyond)) = tables.get(ALERT_ROUTES_MAX) {
            let what = format!("there are more than {ALERT_ROUTES_MAX} routes");
            return Err(ConfigError::new(&place_of(text, beyond), what));
        }
        tables.into_iter().map(|(text, table)| route(text, table.get_ref(), known)).collect()
    }
}

fn route(text: &Text, keys: &layer::RouteKeys, known: &[&str]) -> Result<RouteSource, ConfigError> {
    let when = keys.when.get_ref().clone();
    AlertFilter::compile(&when).map_err(|wrong| {
        let place = text.within(&keys.when.span(), wrong.line, wrong.column);
        ConfigError { hint: wrong.hint, ..ConfigError::new(&place, wrong.what) }
    })?;
    let after = optional(text, keys.escalate_after_minutes.as_ref());
    let to = keys.escalate_to.as_ref();
    match (&after, to) {
        (Some(after), None) => {
            return Err(ConfigError::new(&after.place, "`escalate_after_minutes` needs `escalate_to`")
                .hint("name the channels that are told when nobody acknowledged an alert in time"));
        }
        (None, Some(to)) => {
            let place = text.place(&to.span());
            return Err(ConfigError::new(&place, "`escalate_to` needs `escalate_after_minutes`")
                .hint("say how long an alert may wait for somebody to acknowledge it"));
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let escalate_to = to.map(|to| names(text, to, known)).transpose()?.unwrap_or_default();
    if let Some(to) = to.filter(|_| escalate_to.is_empty()) {
        return Err(ConfigError::new(&text.place(&to.span()), "`alerts.route.escalate_to` names nobody"));
    }
    let quiet = optional(text, keys.quiet_hours.as_ref()).map(quiet_hours).transpose()?;
    Ok(RouteSource {
        when,
        channels: names(text, &keys.channels, known)?,
        group_wait_seconds: optional(text, keys.group_wait_seconds.as_ref()).map(|set| set.value.0),
        group_interval_seconds: optional(text, keys.group_interval_seconds.as_ref()).map(|set| set.value.0),
        repeat_minutes: optional(text, keys.repeat_hours.as_ref()).map(|set| set.value.0 * 60),
        escalate_after_minutes: after.map_or(0, |set| set.value.0),
        escalate_to,
        quiet_hours: quiet,
    })
}

/// Channels by their names, none twice.
fn names(
    text: &Text,
    list: &Spanned<Vec<Spanned<String>>>,
    known: &[&str],
) -> Result<Vec<String>, ConfigError> {
    let mut found: Vec<String> = Vec::new();
    for one in list.get_ref() {
        let Set { value: name, key, place } = set(text, one);
        if !known.contains(&name.as_str()) {
            let error = ConfigError::new(&place, format!("`{key}`: no [[channel]] is named `{name}`"));
            return Err(match nearest(&name, known) {
                Some(near) => error.hint(format!("the nearest configured one is `{near}`")),
                None => error.hint("configure it, or name another one"),
            });
        }
        if found.contains(&name) {
            return Err(ConfigError::new(&place, format!("`{key}` names `{name}` twice")));
        }
        found.push(name);
    }
    Ok(found)
}

fn quiet_hours(set: Set<String>) -> Result<QuietHours, ConfigError> {
    set.map(|text| {
        QuietHours::read(&text).ok_or_else(|| {
            "this is not a time of the day and a later one, in UTC, of the form 22:00-07:00".to_owned()
        })
    })
}

/// Where people find the board: what is put behind it begins with a slash.
fn base_url(text: &str) -> Result<String, String> {
    let url = http_url(text)?;
    if url.query().is_some() || text.contains('#') {
        return Err("what is linked to is put behind it, so it ends with its path".into());
    }
    Ok(text.trim_end_matches('/').to_owned())
}
