//! `gemba policy`: packs are checked, tried on their examples, and tried on what was.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use super::client::{Reach, Sent};
use super::configured::Configured;
use super::output::{self, Failure};
use super::rules;
use crate::config::{ConfigError, file};
use crate::disk::RealDisk;
use crate::event::{Event, Kind, Seq, Subject};
use crate::jidoka::policy::{Pack, trial};
use crate::jidoka::rules::{PackSource, Rules, RulesSource};
use crate::jidoka::what_if::{Settled, Verdict, WhatIf};
use crate::kanban::journal::record::Decoder;
use crate::kanban::journal::{Damage, scan};
use crate::limits::CONFIG_BYTES_MAX;
use crate::line::journal_dir;
use crate::printable::with_noun;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check packs: names, types and limits, with file, line and column
    Check {
        /// Packs, whose actions are looked up where --config names a configuration; without any, those of the
        /// configuration
        files: Vec<PathBuf>,
        #[command(flatten)]
        configured: Configured,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run the examples that stand beside the rules
    Test {
        /// Packs; without any, those of the configuration
        files: Vec<PathBuf>,
        #[command(flatten)]
        configured: Configured,
        /// Fail also where a rule or a memory lacks an example
        #[arg(long)]
        strict: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show which decisions of a journal other packs would change
    Diff {
        /// Data directory, or the journal in it; the node may be running
        #[arg(long, value_name = "DIR")]
        journal: PathBuf,
        /// The packs to try, in their order
        #[arg(long = "pack", value_name = "FILE", required = true)]
        packs: Vec<PathBuf>,
        /// The packs to compare with, instead of those that the journal names
        #[arg(long = "base", value_name = "FILE")]
        base: Vec<PathBuf>,
        /// First event
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Last event
        #[arg(long, default_value_t = u64::MAX)]
        to: u64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the packs that a running node goes by
    Show {
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have a running node read its packs anew
    Reload {
        /// Why; it stands on the receipt
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Check { files, configured, json } => check(&files, &configured, json),
            Self::Test { files, configured, strict, json } => test(&files, &configured, strict, json),
            Self::Diff { journal, packs, base, from, to, json } => {
                let span = Seq(from)..=Seq(to);
                Diff::new(&packs, &base)?.run(&journal, &span)?.print(json)
            }
            Self::Show { reach, json } => {
                let rules = reach.send("policy show", &Sent::default())?;
                if json { output::print_json(&rules) } else { print_packs(&rules) }
            }
            Self::Reload { reason, reach, json } => {
                let order = json!({"reason": reason});
                let done = reach.send("policy reload", &Sent { order: Some(&order), ..Sent::default() })?;
                if json {
                    return output::print_json(&done);
                }
                match done.get("seq").and_then(serde_json::Value::as_u64) {
                    Some(seq) => output::print(format!("new rules hold from event {seq} on\n").as_bytes()),
                    None => output::print(b"nothing changed\n"),
                }
            }
        }
    }
}

/// A pack that does not check is a failed check, not a wrong use of the command.
fn failed(error: ConfigError) -> Failure {
    let failure = Failure::check(error.to_string());
    match error.hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn read(path: &Path) -> Result<(String, String), Failure> {
    let shown = path.display().to_string();
    let text = file::streamed_text(path, CONFIG_BYTES_MAX)
        .map_err(|error| Failure::io(file::failure(path, &error)))?;
    Ok((shown, text))
}

fn packs(files: &[PathBuf], configured: &Configured) -> Result<Vec<Arc<Pack>>, Failure> {
    let given = files.iter().map(|path| read(path).map(|(file, text)| PackSource { file, text }));
    let mut packs = given.collect::<Result<Vec<_>, _>>()?;
    if files.is_empty() || configured.names_a_file() {
        let mut source = rules::rules(&configured.load(None)?)?;
        if !files.is_empty() {
            source.everyone = (0..packs.len()).collect();
            source.tenants.clear();
            source.packs.clone_from(&packs);
        }
        packs.clone_from(&source.packs);
        source.compile().map_err(failed)?;
    }
    let parse = |pack: &PackSource| Pack::parse(&pack.file, &pack.text).map(Arc::new);
    packs.iter().map(|pack| parse(pack).map_err(failed)).collect()
}

fn check(files: &[PathBuf], configured: &Configured, json: bool) -> Result<(), Failure> {
    let packs = packs(files, configured)?;
    let hash = |pack: &Pack| faster_hex::hex_string(&pack.content_hash);
    let examples = |pack: &Pack| pack.rules.iter().map(|rule| rule.examples.len()).sum::<usize>();
    let alerts = |pack: &Pack| pack.rules.iter().filter(|rule| rule.alert.is_some()).count();
    if json {
        let shown: Vec<_> = packs
            .iter()
            .map(|pack| {
                json!({"name": pack.name, "rules": pack.rules.len(), "alerts": alerts(pack),
                       "memories": pack.memories.len(), "examples": examples(pack), "content_hash": hash(pack)})
            })
            .collect();
        return output::print_json(&shown);
    }
    let row = |pack: &Arc<Pack>| {
        let (rules, memories) = (pack.rules.len(), pack.memories.len());
        [
            pack.name.to_string(),
            rules.to_string(),
            alerts(pack).to_string(),
            memories.to_string(),
            examples(pack).to_string(),
            hash(pack),
        ]
    };
    output::print_table(
        ["PACK", "RULES", "ALERTS", "MEMORIES", "EXAMPLES", "CONTENT HASH"],
        packs.iter().map(row),
    )
}

/// An example that did not come out as it says.
#[derive(Serialize)]
struct Miss {
    place: String,
    pack: Box<str>,
    rule: Box<str>,
    /// Which signal of the example, from 1.
    signal: usize,
    expected: &'static str,
    decided: &'static str,
    by: Option<Box<str>>,
    detail: Option<Box<str>>,
    /// What is wrong with the alert, where the decision is right.
    alert: Option<String>,
}

impl Miss {
    fn new(pack: &Pack, failed: trial::FailedExample) -> Self {
        let outcome = failed.outcome;
        Self {
            place: failed.place.to_string(),
            pack: pack.name.clone(),
            rule: failed.rule,
            signal: outcome.signal,
            expected: outcome.expected.map_or("no error", |expected| expected.into_str()),
            decided: outcome.decided.into_str(),
            by: outcome.rule,
            detail: outcome.detail.as_deref().map(Into::into),
            alert: outcome.alert,
        }
    }

    fn line(&self) -> String {
        let Self { place, pack, rule, signal, expected, decided, .. } = self;
        let by = self.by.as_ref().map_or_else(|| "no rule".to_owned(), |by| format!("`{by}`"));
        let detail = self.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
        let which = if *signal > 1 { format!("signal {signal}: ") } else { String::new() };
        if let Some(alert) = &self.alert {
            return format!("{place}: {pack}/{rule}: {which}{alert}\n");
        }
        format!("{place}: {pack}/{rule}: {which}expected `{expected}`, got `{decided}` by {by}{detail}\n")
    }
}

fn test(files: &[PathBuf], configured: &Configured, strict: bool, json: bool) -> Result<(), Failure> {
    let (mut passed, mut missed, mut untested, mut bare) = (0, Vec::new(), Vec::new(), Vec::new());
    for pack in packs(files, configured)? {
        let trial = trial::run(&pack);
        passed += trial.passed;
        missed.extend(trial.failed.into_iter().map(|failed| Miss::new(&pack, failed)));
        untested.extend(trial.untested.iter().map(|each| format!("{}: {each}", pack.name)));
        if !pack.rules.is_empty() && pack.rules.iter().all(|rule| rule.examples.is_empty()) {
            bare.push(format!("`{}`", pack.name));
        }
    }
    if json {
        output::print_json(&json!({"passed": passed, "failed": missed, "untested": untested}))?;
    } else {
        for miss in &missed {
            output::print(miss.line().as_bytes())?;
        }
        for what in &untested {
            output::print(format!("warning: {what}\n").as_bytes())?;
        }
        let (failed, untested) = (missed.len(), untested.len());
        output::print(format!("{passed} passed, {failed} failed, warnings: {untested}\n").as_bytes())?;
    }
    let failed = missed.len();
    if failed > 0 {
        return Err(Failure::check(format!("{failed} of {} examples do not hold", passed + failed)));
    }
    if !bare.is_empty() {
        let what = format!("nothing was tested: no examples in {}", bare.join(", "));
        return Err(
            Failure::check(what).hint("write [[rule.example]] beside each rule: see docs/policies.md")
        );
    }
    if strict && !untested.is_empty() {
        let what = format!("--strict: examples are missing, warnings: {}", untested.len());
        return Err(Failure::check(what).hint("each warning says which example is missing"));
    }
    Ok(())
}

fn print_packs(rules: &serde_json::Value) -> Result<(), Failure> {
    let packs = rules.get("packs").and_then(serde_json::Value::as_array);
    let row = |pack: &serde_json::Value| {
        ["name", "rules", "memories", "content_hash"].map(|key| output::cell(pack.get(key)))
    };
    output::print_table(["PACK", "RULES", "MEMORIES", "CONTENT HASH"], packs.into_iter().flatten().map(row))
}

/// Two histories of one journal.
struct Diff {
    /// Instead of the packs that the journal names.
    base: Option<Vec<(String, String)>>,
    new: Vec<(String, String)>,
    /// The event since which the journal's rules hold.
    rules_since: Option<Seq>,
    report: Report,
}

/// What differs.
#[derive(Default)]
struct Report {
    signals: u64,
    differ: u64,
    /// Signals that raise an alert by one side only.
    alerts_new: u64,
    alerts_gone: u64,
    first: Option<Seq>,
    last: Option<Seq>,
    changes: BTreeMap<Change, Count>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    tenant: Box<str>,
    sku: Box<str>,
    before: Verdict,
    after: Verdict,
}

#[derive(Clone, Copy)]
struct Count {
    signals: u64,
    first: Seq,
}

/// What one side said of a signal while the other has not spoken.
type Said = HashMap<Seq, (Subject, Verdict)>;

impl Diff {
    fn new(new: &[PathBuf], base: &[PathBuf]) -> Result<Self, Failure> {
        let all = |files: &[PathBuf]| files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>();
        let base = if base.is_empty() { None } else { Some(all(base)?) };
        Ok(Self { base, new: all(new)?, rules_since: None, report: Report::default() })
    }

    /// Bounds as they were, packs as given; every action that a pack names is taken as configured.
    fn with(source: &RulesSource, packs: &[(String, String)]) -> Result<Arc<Rules>, Failure> {
        let mut source = RulesSource {
            packs: Vec::new(),
            everyone: Vec::new(),
            tenants: BTreeMap::new(),
            ..source.clone()
        };
        for (file, text) in packs {
            let pack = Pack::parse(file, text).map_err(failed)?;
            let named = pack.rules.iter().filter_map(|rule| rule.action.as_ref());
            source.actions.extend(named.map(|(action, _)| (&**action).into()));
            source = source.with_pack(file, text);
        }
        Ok(Arc::new(source.compile().map_err(failed)?))
    }

    fn sides(&self, source: &RulesSource) -> Result<(Arc<Rules>, Arc<Rules>), Failure> {
        let before = match &self.base {
            Some(base) => Self::with(source, base)?,
            None => Arc::new(source.clone().compile().map_err(failed)?),
        };
        Ok((before, Self::with(source, &self.new)?))
    }

    fn run(mut self, journal: &Path, span: &std::ops::RangeInclusive<Seq>) -> Result<Report, Failure> {
        let inner = journal_dir(journal);
        let dir = if inner.is_dir() { inner } else { journal.to_owned() };
        let mut sides = match self.base {
            Some(_) => {
                let (before, after) = self.sides(&RulesSource::default())?;
                Some((WhatIf::new(before), WhatIf::new(after)))
            }
            // Whatever is wrong with the new packs is told before a long read.
            None => Self::with(&RulesSource::default(), &self.new).map(|_| None)?,
        };
        let (mut said, mut provenance, mut wrong) = ((Said::new(), Said::new()), None, None);
        let scanned = scan(&RealDisk, &dir, |header, records, path, offset| -> Result<(), Damage> {
            let mut decoder = Decoder::new(records).after(provenance);
            let mut seq = header.first;
            let unreadable = |why| Damage::Record { path: path.to_owned(), offset, why };
            while let Some(kind) = decoder.next_kind().map_err(unreadable)? {
                let event = Event { seq, time: header.time, kind };
                if wrong.is_none() && (span.contains(&seq) || matches!(event.kind, Kind::Rules(_))) {
                    wrong = self.take(&mut sides, &mut said, &event).err();
                }
                seq = seq.next();
            }
            provenance = decoder.provenance();
            Ok(())
        });
        scanned.map_err(|damage| {
            let failure = Failure::io(damage.to_string());
            match damage.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        wrong.map_or(Ok(self.report), Err)
    }

    fn take(
        &mut self,
        sides: &mut Option<(WhatIf, WhatIf)>,
        said: &mut (Said, Said),
        event: &Event,
    ) -> Result<(), Failure> {
        if let Kind::Rules(text) = &event.kind {
            // A journal may begin after the first of its rules.
            if self.rules_since.is_some_and(|since| text.is_void_under(since)) {
                return Ok(());
            }
            self.rules_since = Some(event.seq);
            let (before, after) = self.sides(&RulesSource::from_text(text.text()).map_err(failed)?)?;
            match sides {
                Some((one, other)) => {
                    one.switch(before);
                    other.switch(after);
                }
                None => *sides = Some((WhatIf::new(before), WhatIf::new(after))),
            }
            return Ok(());
        }
        let Some((before, after)) = sides else {
            let what =
                format!("the journal begins at event {}, behind the one that activated its rules", event.seq);
            return Err(Failure::check(what).hint("name the packs to compare with: --base FILE"));
        };
        if matches!(event.kind, Kind::Signal(_)) {
            self.report.signals += 1;
            self.report.first.get_or_insert(event.seq);
            self.report.last = Some(event.seq);
        }
        let (mut one, mut other) = (Vec::new(), Vec::new());
        before.step(event, &mut one);
        after.step(event, &mut other);
        let by_seq = |Settled { seq, subject, verdict }| (seq, (subject, verdict));
        said.0.extend(one.into_iter().map(by_seq));
        said.1.extend(other.into_iter().map(by_seq));
        let both: Vec<Seq> = said.0.keys().filter(|seq| said.1.contains_key(seq)).copied().collect();
        for seq in both {
            if let (Some((subject, before)), Some((_, after))) = (said.0.remove(&seq), said.1.remove(&seq))
                && before != after
            {
                self.report.differ += 1;
                match (before.alert, after.alert) {
                    (None, Some(_)) => self.report.alerts_new += 1,
                    (Some(_), None) => self.report.alerts_gone += 1,
                    (None, None) | (Some(_), Some(_)) => {}
                }
                let Subject { tenant, sku } = subject;
                let change = Change { tenant: (*tenant).into(), sku: (*sku).into(), before, after };
                let count = self.report.changes.entry(change).or_insert(Count { signals: 0, first: seq });
                count.signals += 1;
            }
        }
        Ok(())
    }
}

impl Report {
    fn print(self, json: bool) -> Result<(), Failure> {
        if json {
            let verdict = |verdict: &Verdict| {
                let (pack, rule) = verdict.rule.as_ref().map(|(pack, rule)| (pack, rule)).unzip();
                json!({"receipt_type": verdict.receipt_type, "pack": pack, "rule": rule, "action": verdict.action,
                       "alert": verdict.alert})
            };
            let change = |(change, count): (&Change, &Count)| {
                json!({"tenant": change.tenant, "sku": change.sku, "before": verdict(&change.before),
                       "after": verdict(&change.after), "signals": count.signals, "first_seq": count.first.0})
            };
            let changes: Vec<_> = self.changes.iter().map(change).collect();
            return output::print_json(&json!({
                "first_seq": self.first.map(|seq| seq.0), "last_seq": self.last.map(|seq| seq.0),
                "signals": self.signals, "differ": self.differ, "alerts_new": self.alerts_new,
                "alerts_gone": self.alerts_gone, "changes": changes,
            }));
        }
        let shown = |verdict: &Verdict| {
            let rule = verdict.rule.as_ref().map(|(pack, rule)| format!(" {pack}/{rule}"));
            let action = verdict.action.as_ref().map(|action| format!(" → {action}"));
            let alert = verdict.alert.map(|alert| format!(", alert {}", alert.into_str()));
            [Some(verdict.receipt_type.to_owned()), rule, action, alert]
                .into_iter()
                .flatten()
                .collect::<String>()
        };
        let row = |(change, count): (&Change, &Count)| {
            let (before, after) = (shown(&change.before), shown(&change.after));
            let (signals, first) = (count.signals.to_string(), count.first.to_string());
            [change.tenant.to_string(), change.sku.to_string(), before, after, signals, first]
        };
        if !self.changes.is_empty() {
            let heading = ["TENANT", "SKU", "BEFORE", "AFTER", "SIGNALS", "FIRST SEQ"];
            output::print_table(heading, self.changes.iter().map(row))?;
        }
        output::print(
            format!(
                "{} of {} decided otherwise\n",
                self.differ,
                with_noun(self.signals, "signal is", "signals are")
            )
            .as_bytes(),
        )?;
        let (new, gone) = (self.alerts_new, self.alerts_gone);
        if (new, gone) == (0, 0) {
            return Ok(());
        }
        output::print(
            format!("{} would newly raise an alert, {gone} no longer\n", with_noun(new, "signal", "signals"))
                .as_bytes(),
        )
    }
}
