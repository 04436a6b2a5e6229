//! Who is told of what. A part of the rules of a node, so that the journal says by which routes an alert went.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cause::{CauseKind, Importance};
use super::notice::ListedAlert;
use crate::expression::{Expression, Facts, Names, Slot, Steps, Type, Value, Wrong};

/// By what alerts of one route are told together, beside how urgent they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// The kind of cause.
    Kind,
    /// Rule, target, stage, source or channel.
    Name,
    Tenant,
    Sku,
    Owner,
}

/// Minutes of the day in UTC, from the first to before the second; over midnight where the second is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    pub from: u16,
    pub to: u16,
}

impl QuietHours {
    /// `22:00-07:00`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let minute = |text: &str| {
            let (hour, minute) = text.split_once(':')?;
            let digits = |part: &str| {
                let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
                plain.then(|| part.parse::<u16>().ok()).flatten()
            };
            let (hour, minute) = (digits(hour)?, digits(minute)?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let (from, to) = text.split_once('-')?;
        let (from, to) = (minute(from)?, minute(to)?);
        (from != to).then_some(Self { from, to })
    }

    /// As it is read.
    #[must_use]
    pub fn to_text(self) -> String {
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        format!("{}-{}", time(self.from), time(self.to))
    }

    /// Milliseconds until they end, if this moment (milliseconds since 1970) is in them.
    #[must_use]
    pub fn left(self, time: u64) -> Option<u64> {
        const DAY: u64 = 24 * 60 * 60_000;
        let now = time % DAY;
        let (from, to) = (u64::from(self.from) * 60_000, u64::from(self.to) * 60_000);
        let is_in = if from < to { (from..to).contains(&now) } else { now >= from || now < to };
        is_in.then(|| (to + DAY - now) % DAY)
    }
}

/// What a route says; what it leaves out is as `[alerts]` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteSource {
    /// CEL over `alert`.
    pub when: String,
    /// Empty: nobody is told.
    pub channels: Vec<String>,
    pub group_wait_seconds: Option<u32>,
    pub group_interval_seconds: Option<u32>,
    pub repeat_minutes: Option<u32>,
    /// 0: never.
    pub escalate_after_minutes: u32,
    pub escalate_to: Vec<String>,
    /// Alerts that are not critical wait until these are over.
    pub quiet_hours: Option<QuietHours>,
}

/// What `[alerts]` and the names of `[[channel]]` say, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutesSource {
    /// Names of the channels that there are.
    pub channels: Vec<String>,
    /// Those of them that are told of each alert of a group, and not of the newest alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub complete: Vec<String>,
    pub critical: Vec<String>,
    pub warning: Vec<String>,
    pub info: Vec<String>,
    pub group_by: Vec<GroupBy>,
    pub group_wait_seconds: u32,
    pub group_interval_seconds: u32,
    pub repeat_minutes: u32,
    /// How urgent alerts of a kind are; `None`: there are none of it.
    pub importance: BTreeMap<CauseKind, Option<Importance>>,
    pub routes: Vec<RouteSource>,
}

impl Default for RoutesSource {
    fn default() -> Self {
        Self {
            channels: Vec::new(),
            complete: Vec::new(),
            critical: Vec::new(),
            warning: Vec::new(),
            info: Vec::new(),
            group_by: vec![GroupBy::Kind, GroupBy::Name],
            group_wait_seconds: 5,
            group_interval_seconds: 60,
            repeat_minutes: 240,
            importance: BTreeMap::new(),
            routes: Vec::new(),
        }
    }
}

/// Names that a `when` may use, all of them text; empty where an alert has no such thing.
const NAMES: [&str; 10] = [
    "alert.kind",
    "alert.name",
    "alert.severity",
    "alert.tenant",
    "alert.sku",
    "alert.source",
    "alert.assurance",
    "alert.owner",
    "alert.target",
    "alert.message",
];

/// A condition on alerts, of a route or of a silence.
#[derive(Debug)]
pub struct AlertFilter(Expression);

/// The names, and where each has its place: the same for all conditions.
fn declared() -> (Names, [Slot; NAMES.len()]) {
    let mut names = Names::new();
    let slots = NAMES.map(|name| names.declare(name, Type::String));
    (names, slots)
}

impl AlertFilter {
    /// # Errors
    /// [`Wrong`], with line and column.
    pub fn compile(text: &str) -> Result<Self, Wrong> {
        let (mut names, _) = declared();
        Ok(Self(Expression::compile(text, &mut names, Type::Bool)?))
    }

    /// Whether it holds. One that cannot be evaluated does not: nobody is left without a call by a mistake in a condition.
    #[must_use]
    pub fn holds(&self, alert: &AlertFacts<'_>) -> bool {
        self.0.holds(&alert.0, &mut Steps::default()).unwrap_or(false)
    }
}

/// What conditions see of an alert; made once for all of them.
#[derive(Debug)]
pub struct AlertFacts<'a>(Facts<'a>);

impl<'a> AlertFacts<'a> {
    #[must_use]
    pub fn of(alert: &'a ListedAlert) -> Self {
        let mut facts = Facts::new();
        let or_empty = |text: &'a Option<Box<str>>| text.as_deref().unwrap_or_default();
        let values = [
            alert.kind.into_str(),
            &alert.name,
            alert.importance.into_str(),
            or_empty(&alert.tenant),
            or_empty(&alert.sku),
            or_empty(&alert.source),
            or_empty(&alert.assurance),
            or_empty(&alert.owner),
            or_empty(&alert.target),
            &alert.message,
        ];
        let (_, slots) = declared();
        for (slot, value) in slots.into_iter().zip(values) {
            facts.set(slot, Value::Text(value.into()));
        }
        Self(facts)
    }
}

/// How alerts of one route are told; taken down with the group, so that it ends by the route by which it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertRoute {
    /// `route[2]`, or `critical`.
    pub name: Box<str>,
    pub channels: Vec<Box<str>>,
    pub wait: u32,
    pub interval: u32,
    /// Minutes.
    pub repeat: u32,
    /// Minutes; 0: never.
    pub escalate_after: u32,
    pub escalate_to: Vec<Box<str>>,
    #[serde(default)]
    pub quiet: Option<QuietHours>,
}

/// Routes, ready to be asked.
#[derive(Debug, Default)]
pub struct Routes {
    source: RoutesSource,
    filters: Vec<AlertFilter>,
}

impl Routes {
    /// # Errors
    /// The first `when` that is wrong, with the place of its route.
    pub fn compile(source: RoutesSource) -> Result<Self, (usize, Wrong)> {
        let compiled = source.routes.iter().enumerate();
        let compiled =
            compiled.map(|(at, route)| AlertFilter::compile(&route.when).map_err(|wrong| (at, wrong)));
        let filters = compiled.collect::<Result<_, _>>()?;
        Ok(Self { source, filters })
    }

    #[must_use]
    pub fn source(&self) -> &RoutesSource {
        &self.source
    }

    /// How urgent an alert of this kind is. A rule or a test says it itself, as `said`. `None`: alerts of this kind are off.
    #[must_use]
    pub fn importance(&self, kind: CauseKind, said: Importance) -> Option<Importance> {
        match self.source.importance.get(&kind) {
            Some(configured) => *configured,
            None if matches!(kind, CauseKind::Rule | CauseKind::Test) => Some(said),
            None => Some(kind.importance()),
        }
    }

    /// Whether alerts of this kind are off.
    #[must_use]
    pub fn is_off(&self, kind: CauseKind) -> bool {
        self.importance(kind, kind.importance()).is_none()
    }

    /// The first route that fits, or that of its importance.
    #[must_use]
    pub fn find(&self, alert: &ListedAlert) -> AlertRoute {
        let source = &self.source;
        let boxed = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
        let facts = AlertFacts::of(alert);
        let fits = self.filters.iter().position(|filter| filter.holds(&facts));
        let Some((at, route)) = fits.and_then(|at| Some((at, source.routes.get(at)?))) else {
            let channels = match alert.importance {
                Importance::Critical => &source.critical,
                Importance::Warning => &source.warning,
                Importance::Info => &source.info,
            };
            return AlertRoute {
                name: alert.importance.into_str().into(),
                channels: boxed(channels),
                wait: source.group_wait_seconds,
                interval: source.group_interval_seconds,
                repeat: source.repeat_minutes,
                escalate_after: 0,
                escalate_to: Vec::new(),
                quiet: None,
            };
        };
        AlertRoute {
            name: format!("route[{at}]").into(),
            channels: boxed(&route.channels),
            wait: route.group_wait_seconds.unwrap_or(source.group_wait_seconds),
            interval: route.group_interval_seconds.unwrap_or(source.group_interval_seconds),
            repeat: route.repeat_minutes.unwrap_or(source.repeat_minutes),
            escalate_after: route.escalate_after_minutes,
            escalate_to: boxed(&route.escalate_to),
            quiet: route.quiet_hours.filter(|_| alert.importance != Importance::Critical),
        }
    }

    /// The routes that are looked at for an alert, and whether they fit: up to the first that does.
    pub fn looked_at<'a>(&'a self, alert: &'a ListedAlert) -> impl Iterator<Item = (&'a RouteSource, bool)> {
        let facts = AlertFacts::of(alert);
        let fits = self.filters.iter().map(move |filter| filter.holds(&facts));
        let mut is_found = false;
        self.source.routes.iter().zip(fits).take_while(move |(_, fits)| {
            let before = is_found;
            is_found |= *fits;
            !before
        })
    }

    /// What alerts of one group have in common.
    #[must_use]
    pub fn group(&self, route: &AlertRoute, alert: &ListedAlert) -> Vec<Box<str>> {
        let mut parts: Vec<Box<str>> = vec![route.name.clone(), alert.importance.into_str().into()];
        for by in &self.source.group_by {
            let part: Box<str> = match by {
                GroupBy::Kind => alert.kind.into_str().into(),
                GroupBy::Name => alert.name.clone(),
                GroupBy::Tenant => alert.tenant.clone().unwrap_or_default(),
                GroupBy::Sku => alert.sku.clone().unwrap_or_default(),
                GroupBy::Owner => alert.owner.clone().unwrap_or_default(),
            };
            parts.push(part);
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_read_and_reach_over_midnight() {
        let night = QuietHours::read("22:00-07:30").unwrap();
        assert_eq!(night.to_text(), "22:00-07:30");
        let at = |hour: u64, minute: u64| (hour * 60 + minute) * 60_000;
        assert_eq!(night.left(at(23, 0)), Some(at(8, 30)));
        assert_eq!(night.left(at(7, 29)), Some(at(0, 1)));
        assert_eq!((night.left(at(7, 30)), night.left(at(21, 59))), (None, None));
        let noon = QuietHours::read("12:00-13:00").unwrap();
        assert_eq!((noon.left(at(12, 15)), noon.left(at(13, 0))), (Some(at(0, 45)), None));
        for wrong in
            ["", "22:00", "22-07", "24:00-07:00", "22:60-07:00", "2:00-07:00", "07:00-07:00", "+1:00-07:00"]
        {
            assert_eq!(QuietHours::read(wrong), None, "{wrong}");
        }
    }
}
