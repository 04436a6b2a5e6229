//! What the node has measured since it started, for `gemba kaizen`.

use std::rc::Rc;

use aws_lc_rs::digest::{SHA256, digest};

use super::machine;
use super::settings::Settings;
use crate::case::Cause;
use crate::event::Seq;
use crate::improvement::{LaneLook, Look, NodeLook, RuleLook, Spread, StageLook, TargetLook, TenantLook};
use crate::jidoka::action::Watch;
use crate::jidoka::rules::Rules;
use crate::kaizen::{Collector, Counter, Metric, Stage, Tally};

/// What does not change while the node runs.
pub fn node(settings: &Settings) -> NodeLook {
    NodeLook {
        name: settings.name.clone(),
        role: settings.role.as_str().into(),
        version: env!("CARGO_PKG_VERSION").into(),
        machine: machine::look(&settings.data_dir),
        ..NodeLook::default()
    }
}

/// One look at all that was measured, under the rules that hold.
pub fn look(
    node: &NodeLook,
    rules: Option<(Seq, &Rules)>,
    targets: &[Rc<Watch>],
    collector: &Collector,
) -> Look {
    let (started_milliseconds, elapsed) = collector.begun();
    let policy = rules.map(|(_, rules)| {
        faster_hex::hex_string(digest(&SHA256, rules.source.to_text().as_bytes()).as_ref())
    });
    let node = NodeLook {
        started_milliseconds,
        policy,
        policy_since: rules.map(|(since, _)| since.0),
        ..node.clone()
    };
    let mut look = Look {
        node,
        elapsed_milliseconds: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        ..Look::default()
    };
    for stage in Stage::ALL {
        let took = Spread::new(collector.took(stage));
        look.stages.insert(stage.into_str().into(), StageLook { sampled: stage.sampled(), took });
    }
    for (name, waiting) in collector.lanes() {
        let lane = LaneLook { depth: waiting.depth, waited_milliseconds: waiting.milliseconds };
        look.lanes.insert(name.into(), lane);
    }
    for counter in Counter::ALL {
        if let (Metric::Signals, [result]) = counter.series() {
            look.results.insert((*result).into(), collector.counted(counter));
        }
    }
    for cause in Cause::ALL {
        look.dead_letters.insert(cause.into_str().into(), collector.counted(Counter::dead(cause)));
    }
    Collector::counted_by_name(|metric, labels, count| {
        let (Metric::Decisions | Metric::RuleFailures, [pack, rule, ..]) = (metric, labels) else { return };
        let at = look.rules.iter().position(|known| *known.pack == **pack && *known.rule == **rule);
        let at = at.unwrap_or_else(|| {
            let new = RuleLook { pack: pack.to_string(), rule: rule.to_string(), ..RuleLook::default() };
            look.rules.push(new);
            look.rules.len() - 1
        });
        let Some(known) = look.rules.get_mut(at) else { return };
        *(if metric == Metric::Decisions { &mut known.decisions } else { &mut known.failures }) += count;
    });
    for watch in targets.iter().filter(|watch| watch.is_shown()) {
        look.targets.insert(watch.name.to_string(), target(watch));
    }
    for (name, tally) in collector.tenants().named() {
        look.tenants.insert(name.into(), tenant(tally));
    }
    look.other_tenants = tenant(collector.tenants().others());
    look
}

fn target(watch: &Watch) -> TargetLook {
    let tally = watch.tally();
    TargetLook {
        successes: tally.successes,
        failures: tally.failures,
        tries: tally.tries,
        failed_tries: tally.failed_tries,
        turned_away: tally.turned_away,
        waiting: watch.waiting() as u64,
        took: Spread::new(tally.took()),
    }
}

fn tenant(tally: Tally) -> TenantLook {
    let Tally { events, waited_milliseconds, failures } = tally;
    TenantLook { events, waited_milliseconds, failures }
}
