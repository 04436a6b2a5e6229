//! From TOML to a pack whose expressions are parsed, checked and compiled once. What is wrong with it is told with file,
//! line and column, and changes nothing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use toml::Spanned;
use xxhash_rust::xxh3::xxh3_64;

use super::alert::RuleAlert;
use super::example::{Example, ExampleText};
use super::facts::{DOCUMENT, Known, names};
use super::memory::{CellId, Kind};
use super::pack::{Declared, Pack, Rule, Verdict};
use super::ruling::Ruling;
use crate::alert::Importance;
use crate::expression::{Expression, Names, Type, Wrong};
use crate::limits::{
    ALERT_MINUTES_MAX, EXAMPLES_MAX, ID_BYTES_MAX, MEMORIES_MAX, MEMORY_WINDOW_SECONDS_MAX, NAME_BYTES_MAX,
    PACK_BYTES_MAX, REASON_BYTES_MAX, RULES_MAX,
};
use crate::place::{ConfigError, Number, Text};
use crate::receipt::Policy;
use crate::signal::is_name;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PackText {
    name: Spanned<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "for readers of the file")]
    description: String,
    #[serde(default)]
    memory: BTreeMap<Spanned<String>, Spanned<MemoryText>>,
    #[serde(default)]
    rule: Vec<Spanned<RuleText>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    id: Spanned<String>,
    #[serde(default)]
    types: Vec<Spanned<String>>,
    when: Spanned<String>,
    decide: Spanned<Verdict>,
    action: Option<Spanned<String>>,
    reason: Spanned<String>,
    alert: Option<Spanned<Importance>>,
    message: Option<Spanned<String>>,
    owner: Option<Spanned<String>>,
    resolve: Option<Spanned<String>>,
    resolve_after_minutes: Option<Spanned<Number<1, ALERT_MINUTES_MAX>>>,
    #[serde(default)]
    example: Vec<Spanned<ExampleText>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemoryText {
    kind: Spanned<Kind>,
    of: Option<Spanned<String>>,
    when: Option<Spanned<String>>,
    #[serde(default)]
    types: Vec<Spanned<String>>,
    window_seconds: Option<Spanned<Number<1, MEMORY_WINDOW_SECONDS_MAX>>>,
}

impl Pack {
    /// Reads and checks the pack that `file` holds.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let text = Text::file(file, text.to_owned());
        if text.as_str().len() > PACK_BYTES_MAX {
            let what =
                format!("the pack has {} bytes; at most {PACK_BYTES_MAX} are allowed", text.as_str().len());
            return Err(ConfigError::new(&text.whole(), what));
        }
        let read: PackText = toml::from_str(text.as_str()).map_err(|error| text.complaint(&error))?;
        Checker::new(text, &read)?.pack(read)
    }
}

/// A memory's `of` and `when`.
type Counted = (Option<Expression>, Option<Expression>);

/// A pack that is being checked.
struct Checker {
    text: Text,
    name: Box<str>,
    content_hash: [u8; 32],
    names: Names,
    known: Known,
}

impl Checker {
    fn new(text: Text, read: &PackText) -> Result<Self, ConfigError> {
        let mut content_hash = [0; 32];
        content_hash.copy_from_slice(digest(&SHA256, text.as_str().as_bytes()).as_ref());
        let (names, known) = names();
        let mut checker = Self { text, name: "".into(), content_hash, names, known };
        checker.name = checker.name(&read.name)?;
        Ok(checker)
    }

    fn pack(mut self, read: PackText) -> Result<Pack, ConfigError> {
        if read.rule.len() > RULES_MAX {
            let what = format!("{} rules; a pack has at most {RULES_MAX}", read.rule.len());
            return Err(self.wrong(&read.rule[RULES_MAX].span(), what));
        }
        if read.memory.len() > MEMORIES_MAX {
            let what = format!("{} memories; there are at most {MEMORIES_MAX}", read.memory.len());
            return Err(ConfigError::new(&self.text.whole(), what));
        }
        // All of them before any is named, so that no memory is made of another.
        let compiled =
            read.memory.iter().map(|(name, memory)| self.counted(name.get_ref(), memory.get_ref()));
        let compiled = compiled.collect::<Result<Vec<_>, ConfigError>>()?;
        let mut memories = Vec::new();
        for ((name, memory), counted) in read.memory.iter().zip(compiled) {
            memories.push(self.memory(name, memory.get_ref(), counted)?);
        }
        let mut rules: Vec<Rule> = Vec::new();
        for rule in read.rule {
            let span = rule.get_ref().id.span();
            let rule = self.rule(rule.into_inner(), &memories)?;
            if rules.iter().any(|other| other.id == rule.id) {
                return Err(self.wrong(&span, format!("the rule `{}` is there twice", rule.id)));
            }
            rules.push(rule);
        }
        let policy = self.policy("*");
        let Self { name, content_hash, names, known, .. } = self;
        Ok(Pack { name, content_hash, rules, memories, names, known, policy })
    }

    /// What is summed, and which signals are.
    fn counted(&mut self, name: &str, declared: &MemoryText) -> Result<Counted, ConfigError> {
        let mut compile = |key: &str, text: &Option<Spanned<String>>, wanted| {
            let of = format!("`{key}` of memory `{name}`");
            text.as_ref().map(|text| self.expression(text, &of, wanted)).transpose()
        };
        let of = compile("of", &declared.of, Type::Double)?;
        let when = compile("when", &declared.when, Type::Bool)?;
        Ok((of, when))
    }

    fn memory(
        &mut self,
        name: &Spanned<String>,
        declared: &MemoryText,
        (of, when): Counted,
    ) -> Result<Declared, ConfigError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let text = name.get_ref();
        let begins = text.starts_with(|first: char| first.is_ascii_lowercase());
        if !begins || !text.bytes().all(plain) || text.len() > NAME_BYTES_MAX {
            let what = format!("`{text}` is no memory's name: a-z, 0-9 and underscore, a letter first");
            return Err(self.wrong(&name.span(), what));
        }
        let kind = *declared.kind.get_ref();
        if kind == Kind::Count && declared.of.is_some() {
            return Err(self.wrong(&declared.kind.span(), "a count counts signals: it has no `of`".into()));
        }
        if kind != Kind::Count && declared.of.is_none() {
            let what = "`of` is missing: the number that is remembered, as `signal.data.amount`";
            return Err(self.wrong(&declared.kind.span(), what.into()));
        }
        let window = match (&declared.window_seconds, kind.has_window()) {
            (Some(window), true) => u64::from(window.get_ref().0) * 1000,
            (None, false) => 0,
            (Some(window), false) => {
                return Err(self.wrong(&window.span(), "a last value has no window".into()));
            }
            (None, true) => {
                return Err(self.wrong(&declared.kind.span(), "`window_seconds` is missing".into()));
            }
        };
        let types = self.types(&declared.types)?;
        let said = |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.get_ref().clone());
        // What makes it another memory: then it begins anew.
        let meaning = (&*self.name, text, kind, window, &types, said(&declared.of), said(&declared.when));
        Ok(Declared {
            name: text.as_str().into(),
            id: CellId(xxh3_64(format!("{meaning:?}").as_bytes())),
            kind,
            types,
            window_millis: window,
            of,
            when,
            slot: self.names.declare(&format!("memory.{text}"), Type::Double),
            policy: self.policy(&format!("memory.{text}")),
        })
    }

    fn rule(&mut self, read: RuleText, memories: &[Declared]) -> Result<Rule, ConfigError> {
        let id = self.name(&read.id)?;
        let verdict = *read.decide.get_ref();
        let action = match (verdict, &read.action) {
            (Verdict::Act, Some(action)) => {
                let place = self.text.within(&action.span(), 1, 1);
                Some((Arc::from(&*self.name(action)?), place))
            }
            (Verdict::Act, None) => {
                let error = self.wrong(&read.decide.span(), "`action` is missing".into());
                return Err(error.hint("name an [[action]] of the configuration"));
            }
            (Verdict::Deny | Verdict::Observe, None) => None,
            (Verdict::Deny | Verdict::Observe, Some(action)) => {
                let what = format!("a rule that decides `{}` takes no action", verdict.into_str());
                return Err(self.wrong(&action.span(), what));
            }
        };
        let reason = read.reason.get_ref();
        if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
            let what = format!("a reason has 1 to {REASON_BYTES_MAX} bytes");
            return Err(self.wrong(&read.reason.span(), what));
        }
        if read.example.len() > EXAMPLES_MAX {
            let what = format!("{} examples; a rule has at most {EXAMPLES_MAX}", read.example.len());
            return Err(self.wrong(&read.example[EXAMPLES_MAX].span(), what));
        }
        let types = self.types(&read.types)?;
        let when = self.expression(&read.when, &format!("`when` of rule `{id}`"), Type::Bool)?;
        let alert = self.alert(&id, &read)?;
        let names: Vec<&str> = memories.iter().map(|memory| &*memory.name).collect();
        let mut examples = Vec::new();
        for example in read.example {
            let place = self.text.place(&example.span());
            let example = Example::check(example.into_inner(), place, &names)?;
            if example.expect_resolved.is_some() && alert.as_ref().is_none_or(|alert| alert.resolve.is_none())
            {
                let error = ConfigError::new(&example.place, "`expect_resolved` is for rules with `resolve`");
                return Err(error.hint("give the rule an `alert` and a `resolve`, or leave it out"));
            }
            examples.push(example);
        }
        let ruling = Ruling { policy: self.policy(&id), reason: reason.as_str().into() };
        let mut reads = when.slots().to_vec();
        reads.retain(|slot| self.names.path(*slot) != DOCUMENT);
        reads.sort_by(|one, other| self.names.path(*one).cmp(self.names.path(*other)));
        reads.dedup();
        Ok(Rule { id, types, verdict, action, ruling, alert, examples, when, reads })
    }

    /// The alert that a rule raises, if it says so.
    fn alert(&mut self, id: &str, read: &RuleText) -> Result<Option<RuleAlert>, ConfigError> {
        let minutes = read.resolve_after_minutes.as_ref().map(|minutes| self.text.place(&minutes.span()));
        let Some(importance) = &read.alert else {
            let place = |text: &Option<Spanned<String>>| {
                text.as_ref().map(|text| self.text.within(&text.span(), 1, 1))
            };
            let given = [
                ("message", place(&read.message)),
                ("owner", place(&read.owner)),
                ("resolve", place(&read.resolve)),
                ("resolve_after_minutes", minutes),
            ];
            let first = given.into_iter().find_map(|(key, place)| Some((key, place?)));
            let Some((key, place)) = first else { return Ok(None) };
            let error = ConfigError::new(&place, format!("`{key}` is for rules with `alert`"));
            return Err(error.hint("add `alert = \"info\"`, `\"warning\"` or `\"critical\"` to the rule"));
        };
        if let (Some(_), Some(place)) = (&read.resolve, &minutes) {
            let error = ConfigError::new(place, "the alert has a `resolve` already");
            return Err(error.hint("keep one of `resolve` and `resolve_after_minutes`"));
        }
        let mut compile = |key: &str, text: &Option<Spanned<String>>, wanted| {
            let of = format!("`{key}` of rule `{id}`");
            text.as_ref().map(|text| self.expression(text, &of, wanted)).transpose()
        };
        let message = compile("message", &read.message, Type::String)?;
        let owner = compile("owner", &read.owner, Type::String)?;
        let resolve = compile("resolve", &read.resolve, Type::Bool)?;
        Ok(Some(RuleAlert {
            name: format!("{}/{id}", self.name).into(),
            importance: *importance.get_ref(),
            message,
            owner,
            resolve,
            minutes: read.resolve_after_minutes.as_ref().map_or(0, |minutes| minutes.get_ref().0),
        }))
    }

    fn types(&self, types: &[Spanned<String>]) -> Result<Vec<Box<str>>, ConfigError> {
        let fits = |kind: &str| {
            (1..=ID_BYTES_MAX).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_graphic())
        };
        for kind in types {
            if !fits(kind.get_ref()) {
                return Err(self.wrong(&kind.span(), format!("`{}` is no signal type", kind.get_ref())));
            }
            if kind.get_ref().starts_with("gemba.") {
                let what = "types that begin with `gemba.` steer governors and are not decided on";
                return Err(self.wrong(&kind.span(), what.into()));
            }
        }
        Ok(types.iter().map(|kind| kind.get_ref().as_str().into()).collect())
    }

    /// Compiles what stands in this key of a rule or a memory.
    fn expression(
        &mut self,
        written: &Spanned<String>,
        of: &str,
        wanted: Type,
    ) -> Result<Expression, ConfigError> {
        Expression::compile(written.get_ref(), &mut self.names, wanted).map_err(|wrong| {
            let Wrong { line, column, what, hint } = wrong;
            let place = self.text.within(&written.span(), line, column);
            ConfigError { place, what: format!("{of}: {what}"), hint }
        })
    }

    fn policy(&self, rule: &str) -> Arc<Policy> {
        Arc::new(Policy { pack: self.name.clone(), rule: rule.into(), content_hash: self.content_hash })
    }

    fn name(&self, name: &Spanned<String>) -> Result<Box<str>, ConfigError> {
        let text = name.get_ref();
        if is_name(text) {
            Ok(text.as_str().into())
        } else {
            let what = format!("`{text}` is not a name: 1 to 64 of a-z, 0-9, dot, underscore and dash");
            Err(self.wrong(&name.span(), what))
        }
    }

    fn wrong(&self, span: &Range<usize>, what: String) -> ConfigError {
        ConfigError::new(&self.text.within(span, 1, 1), what)
    }
}
