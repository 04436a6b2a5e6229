//! What a governor goes by: the bounds that the configuration sets, and the policy packs. Pure. The same journal under
//! other rules is another history, so rules are an event of the journal like any other: as the text of
//! [`RulesSource`], from which every shard makes the same [`Rules`] (promise P8).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::halts::Halts;
use super::policy::{Pack, Policies, PolicySet};
use crate::alert::{Routes, RoutesSource};
use crate::event::{Event, JournalId, Reconfigured, RulesText, Seq};
use crate::halt::{Halt, HaltScope};
use crate::limits::{
    self, HALTS_BYTES_MAX, HALTS_MAX, MEMORIES_MAX, PACKS_MAX, RESOLVING_RULES_MAX, RULES_BYTES_MAX,
};
use crate::manifest::{NumberRange, SequenceFindings, SourceHour};
use crate::place::{ConfigError, Place, nearest};
use crate::printable::with_noun;
use crate::receipt::{About, Draft, Gist, Policy, ReceiptId, ReceiptType, StateName};
use crate::ring::Switch;
use crate::view::{PackView, RulesView};

/// What a new governor may assume about its entitlement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntitlementDefault {
    /// Entitled until revoked: starts in `stable`.
    #[default]
    Active,
    /// Waits in `boot` for `gemba.entitlement.active`.
    Required,
}

/// One set of rules for all governors of a node.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whose numbers name the actions.
    pub journal: JournalId,
    pub policies: Policies,
    /// Who is told of alerts.
    pub routes: Arc<Routes>,
    /// What operators stopped that is more than one governor.
    pub halts: Halts,
    pub entitlement: EntitlementDefault,
    pub boot_timeout: Duration,
    /// Actions that one governor may generate in one window.
    pub quota: u32,
    pub quota_window: Duration,
    /// Signals that may wait in one governor, and the bytes of their bodies.
    pub mailbox: usize,
    pub mailbox_bytes: usize,
    pub breaker_failures: u32,
    pub breaker_reset: Duration,
    /// An action without an outcome by then counts as failed.
    pub action_deadline: Duration,
    /// Actions that go out in the background, and for how long they are tried.
    pub background: BTreeMap<Box<str>, Duration>,
    /// What they were made of.
    pub source: RulesSource,
}

impl Rules {
    /// The text of the pack with this SHA-256, in hex, where it holds.
    #[must_use]
    pub fn pack_text(&self, content_hash: &str) -> Option<&str> {
        let hash = |text: &str| faster_hex::hex_string(digest(&SHA256, text.as_bytes()).as_ref());
        self.source.packs.iter().map(|pack| pack.text.as_str()).find(|text| hash(text) == content_hash)
    }
}

/// Why a halt does not begin or end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoHalt {
    #[error("{0} is halted already")]
    Already(HaltScope),
    #[error("{0} is not halted")]
    None(HaltScope),
    #[error("no [[action]] is named `{0}`")]
    NoTarget(Box<str>),
    #[error("{many} halts of {kind}s hold, and no more can: end one that is over, or halt the line", many = .0.most(), kind = .0.kind())]
    TooMany(HaltScope),
}

/// An action that packs may ask for. Rules of before have its name alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ActionSource {
    /// Its governor waits for its outcome.
    Awaited(String),
    /// No governor waits for it; it is given up after so long.
    Background { name: String, background_seconds: u32 },
}

impl ActionSource {
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Awaited(name) | Self::Background { name, .. } => name,
        }
    }

    fn background(&self) -> Option<(Box<str>, Duration)> {
        match self {
            Self::Awaited(_) => None,
            Self::Background { name, background_seconds } => {
                Some((name.as_str().into(), Duration::from_secs((*background_seconds).into())))
            }
        }
    }
}

impl From<&str> for ActionSource {
    fn from(name: &str) -> Self {
        Self::Awaited(name.into())
    }
}

/// A policy pack's text and the file it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackSource {
    pub file: String,
    pub text: String,
}

/// What rules are made of, as the journal keeps it: everything that a decision depends on and that is not in the
/// events themselves, bounds that a later version may choose otherwise included. Its text is JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesSource {
    pub entitlement: EntitlementDefault,
    pub boot_timeout_seconds: u32,
    pub quota: u32,
    pub quota_window_seconds: u32,
    pub mailbox: u32,
    pub mailbox_bytes: u32,
    pub breaker_failures: u32,
    pub breaker_reset_seconds: u32,
    pub action_deadline_seconds: u32,
    /// Names of the actions that packs may ask for.
    pub actions: Vec<ActionSource>,
    pub packs: Vec<PackSource>,
    /// The packs of every tenant that has none of its own, by place in `packs`.
    pub everyone: Vec<usize>,
    pub tenants: BTreeMap<String, Vec<usize>>,
    /// Who is told of alerts. A journal that is older than alerts says nothing of it.
    #[serde(default)]
    pub alerts: RoutesSource,
    /// Of operators; a configuration has none. The newest is last, each scope once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub halts: Vec<Halt>,
}

impl Default for RulesSource {
    fn default() -> Self {
        Self {
            entitlement: EntitlementDefault::Active,
            boot_timeout_seconds: 30,
            quota: 1000,
            quota_window_seconds: 60,
            mailbox: 1024,
            mailbox_bytes: limits::MAILBOX_BYTES_MAX,
            breaker_failures: 5,
            breaker_reset_seconds: 60,
            action_deadline_seconds: limits::ACTION_DEADLINE_SECONDS,
            actions: Vec::new(),
            packs: Vec::new(),
            everyone: Vec::new(),
            tenants: BTreeMap::new(),
            alerts: RoutesSource::default(),
            halts: Vec::new(),
        }
    }
}

impl RulesSource {
    /// The same, under the halts that hold: what is configured says nothing of them.
    #[must_use]
    pub fn under(self, halts: Vec<Halt>) -> Self {
        Self { halts, ..self }
    }

    /// The same, with one more halt.
    ///
    /// # Errors
    /// [`NoHalt`].
    pub fn halting(mut self, halt: Halt) -> Result<Self, NoHalt> {
        if self.is_halted(&halt.scope) {
            return Err(NoHalt::Already(halt.scope));
        }
        if let HaltScope::Target(target) = &halt.scope
            && !self.has_action(target)
        {
            return Err(NoHalt::NoTarget(target.clone()));
        }
        let scope = halt.scope.clone();
        self.halts.push(halt);
        // Those of its kind alone: whatever tenants are halted, the line can be. Of one alone nothing is too long.
        let alike: Vec<&Halt> = self.halts.iter().filter(|halt| halt.scope.kind() == scope.kind()).collect();
        let bytes = serde_json::to_string(&alike).map_or(usize::MAX, |text| text.len());
        if alike.len() > scope.most() || bytes > HALTS_BYTES_MAX {
            return Err(NoHalt::TooMany(scope));
        }
        Ok(self)
    }

    /// The same, without this halt.
    ///
    /// # Errors
    /// [`NoHalt`].
    pub fn resuming(mut self, scope: HaltScope) -> Result<Self, NoHalt> {
        if !self.is_halted(&scope) {
            return Err(NoHalt::None(scope));
        }
        self.halts.retain(|halt| halt.scope != scope);
        Ok(self)
    }

    /// Whether packs may ask for this action.
    #[must_use]
    pub fn has_action(&self, name: &str) -> bool {
        self.actions.iter().any(|action| action.name() == name)
    }

    fn is_halted(&self, scope: &HaltScope) -> bool {
        self.halts.iter().any(|halt| halt.scope == *scope)
    }

    /// The same with one more pack for every tenant that has none of its own.
    #[must_use]
    pub fn with_pack(mut self, file: &str, text: &str) -> Self {
        self.everyone.push(self.packs.len());
        self.packs.push(PackSource { file: file.into(), text: text.into() });
        self
    }

    /// The text that the journal keeps.
    #[must_use]
    pub fn to_text(&self) -> Box<str> {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default().into()
    }

    /// What holds before the first rules of a journal. Not what happens to be configured: the receipts of those first
    /// rules say what they changed, and must say it again in every replay.
    #[must_use]
    pub fn before_any() -> Box<str> {
        Self::default().to_text()
    }

    /// # Errors
    /// When the text is not what this version writes.
    pub fn from_text(text: &str) -> Result<Self, ConfigError> {
        serde_json::from_str(text).map_err(|error| {
            ConfigError::new(&Place::named("the journalled rules"), error.to_string()).hint(
                "another version of the program wrote them; start with that version, and end it in order",
            )
        })
    }

    /// Checks and compiles.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn compile(self) -> Result<Rules, ConfigError> {
        let whole = Place::named("policy.packs");
        if self.packs.len() > PACKS_MAX {
            let what = format!("{} packs; there are at most {PACKS_MAX}", self.packs.len());
            return Err(ConfigError::new(&whole, what));
        }
        if self.halts.len() > HALTS_MAX {
            let what = format!("they have {} halts; at most {HALTS_MAX} hold at once", self.halts.len());
            return Err(ConfigError::new(&Place::named("the journalled rules"), what));
        }
        let bytes = self.clone().under(Vec::new()).to_text().len();
        if bytes > RULES_BYTES_MAX {
            let what =
                format!("the rules have {bytes} bytes with all packs; at most {RULES_BYTES_MAX} are kept");
            return Err(ConfigError::new(&whole, what));
        }
        let packs = self.packs.iter().map(|pack| self.pack(pack)).collect::<Result<Vec<_>, _>>()?;
        let everyone = set(&packs, &self.everyone, &self)?;
        let tenants = self.tenants.iter();
        let tenants =
            tenants.map(|(tenant, chosen)| Ok((tenant.as_str().into(), set(&packs, chosen, &self)?)));
        let tenants = tenants.collect::<Result<_, ConfigError>>()?;
        let routes = Routes::compile(self.alerts.clone()).map_err(|(at, wrong)| {
            let place = Place::named(&format!("alerts.route[{at}].when:{}:{}", wrong.line, wrong.column));
            ConfigError { hint: wrong.hint, ..ConfigError::new(&place, wrong.what) }
        })?;
        Ok(Rules::new(self, Policies { everyone, tenants }, Arc::new(routes)))
    }

    fn pack(&self, source: &PackSource) -> Result<Arc<Pack>, ConfigError> {
        let pack = Pack::parse(&source.file, &source.text)?;
        for (action, place) in pack.rules.iter().filter_map(|rule| rule.action.as_ref()) {
            if !self.actions.iter().any(|known| *known.name() == **action) {
                let known: Vec<&str> = self.actions.iter().map(ActionSource::name).collect();
                let error = ConfigError::new(place, format!("no [[action]] is named `{action}`"));
                return Err(match nearest(action, &known) {
                    Some(name) => error.hint(format!("the nearest configured one is `{name}`")),
                    None => error.hint("configure it, or name another one"),
                });
            }
        }
        Ok(Arc::new(pack))
    }
}

fn set(packs: &[Arc<Pack>], chosen: &[usize], source: &RulesSource) -> Result<Arc<PolicySet>, ConfigError> {
    let mut found: Vec<Arc<Pack>> = Vec::new();
    for at in chosen {
        let (pack, text) = packs.get(*at).zip(source.packs.get(*at)).ok_or_else(|| {
            ConfigError::new(&Place::named("the journalled rules"), format!("they have no pack {at}"))
        })?;
        if found.iter().any(|other| other.name == pack.name) {
            let what = format!("two packs of one tenant are named `{}`", pack.name);
            return Err(ConfigError::new(&Place::named(&text.file), what));
        }
        found.push(Arc::clone(pack));
    }
    let memories: usize = found.iter().map(|pack| pack.memories.len()).sum();
    if memories > MEMORIES_MAX {
        let what =
            format!("the packs of one tenant declare {memories} memories; at most {MEMORIES_MAX} are kept");
        return Err(ConfigError::new(&Place::named("policy.packs"), what));
    }
    let resolves = |pack: &Arc<Pack>| {
        let alerts = pack.rules.iter().filter_map(|rule| rule.alert.as_ref());
        alerts.filter(|alert| alert.resolve.is_some()).count()
    };
    let resolving: usize = found.iter().map(resolves).sum();
    if resolving > RESOLVING_RULES_MAX {
        let what = format!(
            "the packs of one tenant have {resolving} rules with `resolve`; a governor remembers \
             {RESOLVING_RULES_MAX} open alerts"
        );
        return Err(ConfigError::new(&Place::named("policy.packs"), what));
    }
    Ok(Arc::new(PolicySet::new(found)))
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(RulesSource::default(), Policies::default(), Arc::default())
    }
}

impl Rules {
    fn new(source: RulesSource, policies: Policies, routes: Arc<Routes>) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Self {
            journal: JournalId::default(),
            policies,
            routes,
            halts: Halts::new(&source.halts),
            entitlement: source.entitlement,
            boot_timeout: seconds(source.boot_timeout_seconds),
            quota: source.quota,
            quota_window: seconds(source.quota_window_seconds),
            mailbox: source.mailbox as usize,
            mailbox_bytes: source.mailbox_bytes as usize,
            breaker_failures: source.breaker_failures,
            breaker_reset: seconds(source.breaker_reset_seconds),
            action_deadline: seconds(source.action_deadline_seconds),
            background: source.actions.iter().filter_map(ActionSource::background).collect(),
            source,
        }
    }

    /// From the text that the journal keeps.
    ///
    /// # Errors
    /// When it does not compile.
    pub fn from_text(text: &str) -> Result<Self, ConfigError> {
        RulesSource::from_text(text)?.compile()
    }

    /// Every pack, each once.
    fn packs(&self) -> BTreeMap<&str, &Arc<Pack>> {
        let sets = std::iter::once(&self.policies.everyone).chain(self.policies.tenants.values());
        sets.flat_map(|set| set.packs()).map(|pack| (&*pack.name, pack)).collect()
    }

    /// Rules that ask for this action, as `pack/rule`.
    #[must_use]
    pub fn rules_acting_by(&self, action: &str) -> Vec<String> {
        let rules =
            self.packs().into_values().flat_map(|pack| pack.rules.iter().map(move |rule| (pack, rule)));
        let acting =
            rules.filter(|(_, rule)| rule.action.as_ref().is_some_and(|(name, _)| **name == *action));
        acting.map(|(pack, rule)| format!("{}/{}", pack.name, rule.id)).collect()
    }

    /// As operators are shown them.
    #[must_use]
    pub fn view(&self, since: Seq) -> RulesView {
        let pack = |pack: &Arc<Pack>| PackView {
            name: pack.name.clone(),
            content_hash: faster_hex::hex_string(&pack.content_hash),
            rules: pack.rules.len(),
            memories: pack.memories.len(),
        };
        let names = |set: &PolicySet| set.packs().iter().map(|pack| pack.name.clone()).collect();
        RulesView {
            since: since.0,
            packs: self.policies.everyone.packs().iter().map(pack).collect(),
            tenants: self.policies.tenants.iter().map(|(tenant, set)| (tenant.clone(), names(set))).collect(),
        }
    }

    /// The receipts of the event that puts these rules in the place of `before`: one for each pack that came, changed or
    /// went, and for each halt that began or ended; if there is none, one for the rest.
    #[must_use]
    pub fn receipts(&self, before: &Rules, event: &Event, said: &RulesText) -> Vec<Draft> {
        let (old, new) = (before.packs(), self.packs());
        let by = format!("by {}: {}", said.actor, said.reason);
        let mut changes: Vec<(Option<&Arc<Pack>>, ReceiptType, String)> = Vec::new();
        let changed = ReceiptType::PolicyChange;
        for (name, pack) in &new {
            match old.get(name) {
                Some(known) if known.content_hash == pack.content_hash => {}
                Some(_) => changes.push((Some(pack), changed, format!("changed {by}"))),
                None => changes.push((Some(pack), changed, format!("activated {by}"))),
            }
        }
        let gone = old.iter().filter(|(name, _)| !new.contains_key(*name));
        changes.extend(gone.map(|(_, pack)| (Some(*pack), changed, format!("withdrawn {by}"))));
        let (held, holds) = (&before.source.halts, &self.source.halts);
        let begun = holds.iter().filter(|halt| !held.contains(halt));
        changes.extend(begun.map(|halt| {
            let said = format!("halt of {} by {}: {}", halt.scope, halt.by.actor, halt.by.reason);
            (None, ReceiptType::JidokaHalt, said)
        }));
        let ended = held.iter().filter(|halt| !holds.iter().any(|other| other.scope == halt.scope));
        changes.extend(
            ended.map(|halt| (None, ReceiptType::Operator, format!("resume of {} {by}", halt.scope))),
        );
        if changes.is_empty() {
            let what = if before.source.alerts == self.source.alerts {
                "bounds and assignments"
            } else {
                "bounds, assignments and routes of alerts"
            };
            changes.push((None, changed, format!("{what} {by}")));
        }
        let draft = |(ordinal, (pack, kind, reason)): (u8, (Option<&Arc<Pack>>, ReceiptType, String))| {
            let policy = pack.map(|pack| {
                let content_hash = pack.content_hash;
                Arc::new(Policy { pack: pack.name.clone(), rule: "*".into(), content_hash })
            });
            Draft { policy, ..node_draft(event, ordinal, kind, &reason) }
        };
        (0..=u8::MAX).zip(changes).map(draft).collect()
    }
}

const _: () =
    assert!((PACKS_MAX + HALTS_MAX) * 2 < u8::MAX as usize, "an event names its receipts by one byte");

/// The receipt of rules that change nothing: they were made from others than those of the event `holding`, and would undo
/// what these say.
#[must_use]
pub fn void(event: &Event, said: &RulesText, holding: Seq) -> Draft {
    let base = said.base().unwrap_or_default();
    let reason = format!(
        "void: rules by {} ({}) were made from those of event {base}, but those of event {holding} hold; nothing changed",
        said.actor, said.reason
    );
    let mut draft = node_draft(event, 0, ReceiptType::Operator, &reason);
    draft.gist.success = false;
    draft
}

/// The receipt of a change of the configuration.
#[must_use]
pub fn reconfigured(event: &Event, change: &Reconfigured) -> Draft {
    let reason = format!("by {}: {}", change.actor, change.reason);
    let facts = Some(change.changes().into());
    Draft { facts, ..node_draft(event, 0, ReceiptType::ConfigChange, &reason) }
}

/// The receipt of what a source sent within an hour.
#[must_use]
pub fn manifest(event: &Event, hour: &SourceHour) -> Draft {
    let found = hour.findings();
    let missing = match found.gaps.len() as u64 + found.more_gaps {
        0 => String::new(),
        count => format!(", and {} in its numbers: {}", with_noun(count, "gap", "gaps"), listed(&found)),
    };
    let anew = match found.restarts.len() as u64 + found.more_restarts {
        0 => String::new(),
        1 => ", and its numbers began anew".to_owned(),
        times => format!(", and its numbers began anew {times} times"),
    };
    let signals = with_noun(hour.count(), "signal", "signals");
    let reason = format!("{signals} of source `{}` within an hour{missing}{anew}", hour.source());
    let facts = serde_jcs::to_string(&hour.facts()).ok().map(Into::into);
    Draft { facts, ..node_draft(event, 0, ReceiptType::Manifest, &reason) }
}

/// The first gaps, as people write them; the facts have more.
fn listed(found: &SequenceFindings) -> String {
    let gap = |gap: &NumberRange| match gap {
        NumberRange { first, last } if first == last => first.to_string(),
        NumberRange { first, last } => format!("{first} to {last}"),
    };
    let shown: Vec<String> = found.gaps.iter().take(GAPS_SHOWN).map(gap).collect();
    let rest = found.gaps.len() as u64 + found.more_gaps - shown.len() as u64;
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    shown.join(", ") + &more
}

/// A reason is one line.
const GAPS_SHOWN: usize = 8;

/// A receipt about the node itself.
fn node_draft(event: &Event, ordinal: u8, kind: ReceiptType, reason: &str) -> Draft {
    let gist = Gist {
        id: ReceiptId { seq: event.seq, ordinal },
        time: event.time,
        kind,
        before: StateName::Stable,
        after: StateName::Stable,
        success: true,
        action: None,
        signal_seq: None,
    };
    Draft { gist, policy: None, facts: None, reason: Some(reason.into()), about: About::Node }
}

/// Rules that were compiled lately, so that each text is compiled once and off the shards' path; and which hold.
#[derive(Debug, Default)]
pub struct Compiled {
    journal: JournalId,
    kept: Mutex<Vec<(Box<str>, Arc<Rules>)>>,
    holding: Mutex<Option<(Seq, Arc<Rules>)>>,
    /// Events of rules that were void, the newest last.
    void: Mutex<Vec<Seq>>,
    /// The one shard that speaks for all has gone by all that the journal had at the start.
    live: Switch,
}

/// Texts that are kept.
const COMPILED_MAX: usize = 8;

impl Compiled {
    /// For a node whose journal is this one.
    #[must_use]
    pub fn new(journal: JournalId) -> Self {
        Self { journal, ..Self::default() }
    }

    /// The rules of this text.
    ///
    /// # Errors
    /// When it does not compile.
    pub fn of(&self, text: &str) -> Result<Arc<Rules>, ConfigError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rules)) = kept.iter().find(|(known, _)| **known == *text) {
            return Ok(Arc::clone(rules));
        }
        let rules = Arc::new(Rules { journal: self.journal, ..Rules::from_text(text)? });
        if kept.len() == COMPILED_MAX {
            kept.remove(0);
        }
        kept.push((text.into(), Arc::clone(&rules)));
        Ok(rules)
    }

    /// These hold from the event `since` on.
    pub fn hold(&self, since: Seq, rules: &Arc<Rules>) {
        *self.holding.lock().unwrap_or_else(PoisonError::into_inner) = Some((since, Arc::clone(rules)));
    }

    /// From here on the rules that hold are those of the journal's end, and not of a moment of its replay.
    pub fn go_live(&self) {
        self.live.turn_on();
    }

    /// Whether the rules that hold are those of now.
    pub fn is_live(&self) -> bool {
        self.live.is_on()
    }

    /// The rules of this event are void.
    pub fn refuse(&self, seq: Seq) {
        let mut void = self.void.lock().unwrap_or_else(PoisonError::into_inner);
        if void.len() == COMPILED_MAX {
            void.remove(0);
        }
        void.push(seq);
    }

    /// Whether the rules of this event, which was stepped just now, are void.
    pub fn is_void(&self, seq: Seq) -> bool {
        self.void.lock().unwrap_or_else(PoisonError::into_inner).contains(&seq)
    }

    /// The halts that hold.
    pub fn halts(&self) -> Vec<Halt> {
        self.holding().map(|(_, rules)| rules.source.halts.clone()).unwrap_or_default()
    }

    /// The rules that hold, and since when.
    pub fn holding(&self) -> Option<(Seq, Arc<Rules>)> {
        self.holding.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::RouteSource;
    use crate::event::{Kind, UnixMillis};
    use crate::halt::HaltOrder;
    use crate::limits::{TARGET_HALTS_MAX, TENANT_HALTS_MAX};

    #[test]
    fn an_older_journals_rules_tell_nobody_of_alerts() {
        let mut old: serde_json::Value = serde_json::from_str(&RulesSource::before_any()).unwrap();
        assert!(old.as_object_mut().unwrap().remove("alerts").is_some());
        let read = RulesSource::from_text(&old.to_string()).unwrap();
        assert_eq!(read, RulesSource::default());
        let rules = read.compile().unwrap();
        assert_eq!(rules.routes.source(), &RoutesSource::default());
    }

    #[test]
    fn routes_are_a_part_of_the_rules() {
        let route = |when: &str| {
            let routes = vec![RouteSource { when: when.into(), ..RouteSource::default() }];
            let alerts = RoutesSource { routes, ..RoutesSource::default() };
            RulesSource { alerts, ..RulesSource::default() }
        };
        let source = route("alert.tenant == 'acme'");
        let rules = Rules::from_text(&source.to_text()).unwrap();
        assert_eq!(rules.routes.source(), &source.alerts);
        let error = route("alert.tenants == 'acme'").compile().unwrap_err();
        assert!(error.to_string().starts_with("alerts.route[0].when:1:1: "), "{error}");
    }

    #[test]
    fn a_governor_has_room_for_the_alert_of_each_rule_that_resolves() {
        let pack = |name: &str, rules: usize| {
            let rule = |number| {
                format!(
                    "[[rule]]\nid = \"r{number}\"\nwhen = \"true\"\ndecide = \"observe\"\nreason = \"r\"\n\
                     alert = \"info\"\nresolve = \"false\"\n"
                )
            };
            let text = format!("name = \"{name}\"\n{}", (0..rules).map(rule).collect::<String>());
            PackSource { file: format!("{name}.toml"), text }
        };
        let source = |more: usize| {
            let packs = vec![pack("a", RESOLVING_RULES_MAX), pack("b", more)];
            RulesSource { packs, everyone: vec![0, 1], ..RulesSource::default() }
        };
        assert!(source(0).compile().is_ok());
        let error = source(1).compile().unwrap_err().to_string();
        assert!(error.contains("have 65 rules with `resolve`"), "{error}");
    }

    fn halt(scope: HaltScope) -> Halt {
        let by = HaltOrder { actor: "eve".into(), reason: "a drill".into() };
        Halt { scope, by, since: UnixMillis(7) }
    }

    #[test]
    fn halts_are_a_part_of_the_rules_that_no_configuration_writes() {
        let source = RulesSource { actions: vec!["notify".into()], ..RulesSource::default() };
        let plain = source.to_text();
        assert!(!plain.contains("halts"), "rules of before are the same text: {plain}");
        let target = || HaltScope::Target("notify".into());
        let halted = source.clone().halting(halt(target())).unwrap();
        assert_eq!(halted.clone().halting(halt(target())), Err(NoHalt::Already(target())));
        let none = HaltScope::Target("notifi".into());
        assert_eq!(source.clone().halting(halt(none)), Err(NoHalt::NoTarget("notifi".into())));
        assert_eq!(source.clone().resuming(HaltScope::Line), Err(NoHalt::None(HaltScope::Line)));
        let read = RulesSource::from_text(&halted.to_text()).unwrap();
        assert_eq!(read, halted);
        assert!(read.clone().compile().unwrap().halts.of_target("notify").is_some());
        assert_eq!(source.clone().under(read.halts.clone()), halted, "a new configuration keeps them");
        assert_eq!(halted.resuming(target()).unwrap().to_text(), plain);
    }

    #[test]
    fn rules_of_before_have_the_names_of_actions_alone() {
        let background = ActionSource::Background { name: "tell".into(), background_seconds: 3600 };
        let source = RulesSource { actions: vec!["notify".into(), background], ..RulesSource::default() };
        let text = source.to_text();
        let actions = r#""actions":["notify",{"name":"tell","background_seconds":3600}]"#;
        assert!(text.contains(actions), "{text}");
        let rules = Rules::from_text(&text).unwrap();
        assert_eq!(rules.source, source);
        assert_eq!(rules.background, [("tell".into(), Duration::from_hours(1))].into());
    }

    #[test]
    fn so_many_halts_hold_and_no_more_and_the_line_can_be_halted_nonetheless() {
        let tenant = |number: usize| HaltScope::Tenant(format!("t-{number}").into());
        let target = |number: usize| HaltScope::Target(format!("a-{number}").into());
        let actions = (0..=TARGET_HALTS_MAX).map(|number| format!("a-{number}").as_str().into()).collect();
        let begin = RulesSource { actions, ..RulesSource::default() };
        let full = (0..TENANT_HALTS_MAX)
            .try_fold(begin.clone(), |source, number| source.halting(halt(tenant(number))));
        let full = full.unwrap();
        let one_more = tenant(TENANT_HALTS_MAX);
        assert_eq!(full.clone().halting(halt(one_more.clone())), Err(NoHalt::TooMany(one_more)));
        let full =
            (0..TARGET_HALTS_MAX).try_fold(full, |source, number| source.halting(halt(target(number))));
        let full = full.unwrap();
        let one_more = target(TARGET_HALTS_MAX);
        assert_eq!(full.clone().halting(halt(one_more.clone())), Err(NoHalt::TooMany(one_more)));
        let full = full.halting(halt(HaltScope::Line)).unwrap();
        assert_eq!(full.halts.len(), HALTS_MAX);
        assert!(full.clone().compile().is_ok());
        let more = [full.halts.clone(), vec![halt(tenant(TENANT_HALTS_MAX))]].concat();
        assert!(full.under(more).compile().is_err());

        let long = |scope| {
            let by = HaltOrder { actor: "eve".into(), reason: "\u{1}".repeat(1024).into() };
            Halt { by, ..halt(scope) }
        };
        let longest = |most: usize| {
            (0..most).try_fold(begin.clone(), |source, number| source.halting(long(tenant(number))))
        };
        assert_eq!(longest(11), Err(NoHalt::TooMany(tenant(10))), "however long the reasons are");
        let full =
            (0..9).try_fold(longest(9).unwrap(), |source, number| source.halting(long(target(number))));
        let full = full.and_then(|source| source.halting(long(HaltScope::Line))).unwrap();
        let text = full.to_text();
        assert!(RulesText::new(text, "eve".into(), "a drill".into()).is_ok());
    }

    #[test]
    fn each_halt_that_begins_or_ends_has_a_receipt() {
        let before = RulesSource::default().compile().unwrap();
        let tenant = HaltScope::Tenant("acme".into());
        let after = RulesSource::default().halting(halt(tenant)).unwrap().compile().unwrap();
        let said = RulesText::new(after.source.to_text(), "bob".into(), "over".into()).unwrap();
        let kind = Kind::Rules(Arc::new(said.clone()));
        let event = Event { seq: Seq(3), time: UnixMillis(9), kind };
        let told = |old: &Rules, new: &Rules| {
            let drafts = new.receipts(old, &event, &said).into_iter();
            drafts.map(|draft| (draft.gist.kind, draft.reason.unwrap().to_string())).collect::<Vec<_>>()
        };
        assert_eq!(
            told(&before, &after),
            [(ReceiptType::JidokaHalt, "halt of tenant acme by eve: a drill".to_owned())]
        );
        assert_eq!(
            told(&after, &before),
            [(ReceiptType::Operator, "resume of tenant acme by bob: over".to_owned())]
        );
    }
}
