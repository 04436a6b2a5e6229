//! How often each rule decided, and what. A shard counts for itself and tells the metrics once a second.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::kaizen::Metric;
use crate::receipt::{About, Draft, Policy, ReceiptType};

/// What a rule may decide, in the order of the counts.
const DECISIONS: [&str; 3] = ["act", "deny", "observe"];
/// Stands for pack and rule where no rule applied.
const NO_RULE: &str = "none";

/// Of one rule.
#[derive(Debug)]
struct Rule {
    policy: Arc<Policy>,
    decisions: [u64; 3],
    failures: u64,
}

/// Decisions since the last report.
#[derive(Debug, Default)]
pub struct Decisions {
    /// By the address of the rule's policy, which is kept so that no other one gets it.
    by_rule: HashMap<usize, Rule>,
    /// Actions that failed, by pack and rule. An outcome knows their names alone; they are few.
    failed: Vec<(Box<str>, Box<str>, u64)>,
    without_rule: u64,
}

impl Decisions {
    /// Counts the decision that a receipt proves, or the failure, if it proves one.
    pub fn count(&mut self, draft: &Draft) {
        let About::Signal(_) = draft.about else { return };
        let gist = &draft.gist;
        let decision = match gist.kind {
            // An action that is sent again was decided before.
            ReceiptType::ActionGenerated if gist.action.is_none_or(|action| action.seq != gist.id.seq) => {
                return;
            }
            ReceiptType::ActionGenerated => 0,
            ReceiptType::PolicyDenied => 1,
            ReceiptType::Observed => 2,
            ReceiptType::DeadletterSignal => {
                if let Some(policy) = &draft.policy {
                    self.of(policy).failures += 1;
                }
                return;
            }
            ReceiptType::BootstrapTimeout
            | ReceiptType::ActionSuccessful
            | ReceiptType::ActionFailed
            | ReceiptType::JidokaHalt
            | ReceiptType::QuotaExceeded
            | ReceiptType::DeferredDropped
            | ReceiptType::Entitlement
            | ReceiptType::Operator
            | ReceiptType::PolicyChange
            | ReceiptType::KeyChange
            | ReceiptType::QuotaRestored
            | ReceiptType::BreakerTesting
            | ReceiptType::ConfigChange
            | ReceiptType::AlertOpened
            | ReceiptType::AlertNotified
            | ReceiptType::AlertFailed
            | ReceiptType::AlertAcknowledged
            | ReceiptType::AlertSilenced
            | ReceiptType::AlertEscalated
            | ReceiptType::AlertResolved
            | ReceiptType::Manifest => return,
        };
        match &draft.policy {
            Some(policy) => self.of(policy).decisions[decision] += 1,
            None => self.without_rule += 1,
        }
    }

    /// An action failed that this rule asked for.
    pub fn failed(&mut self, pack: &str, rule: &str) {
        let known = self.failed.iter_mut().find(|(of, by, _)| **of == *pack && **by == *rule);
        match known {
            Some((.., count)) => *count += 1,
            None => self.failed.push((pack.into(), rule.into(), 1)),
        }
    }

    fn of(&mut self, policy: &Arc<Policy>) -> &mut Rule {
        let known = self.by_rule.entry(Arc::as_ptr(policy).addr());
        known.or_insert_with(|| Rule { policy: Arc::clone(policy), decisions: [0; 3], failures: 0 })
    }

    /// Other rules hold: those of before are not kept.
    pub fn forget_rules(&mut self) {
        self.report();
        self.by_rule.clear();
        self.failed.clear();
    }

    /// Adds what was counted to the metrics.
    pub fn report(&mut self) {
        for Rule { policy, decisions, failures } in self.by_rule.values_mut() {
            // Also of none, so that a first failure is seen as a rise.
            if *failures > 0 || decisions.iter().any(|count| *count > 0) {
                Metric::RuleFailures.counter(&[&policy.pack, &policy.rule]).increment(*failures);
                *failures = 0;
            }
            for (decision, count) in DECISIONS.into_iter().zip(decisions) {
                if *count > 0 {
                    Metric::Decisions.counter(&[&policy.pack, &policy.rule, decision]).increment(*count);
                    *count = 0;
                }
            }
        }
        for (pack, rule, count) in &mut self.failed {
            if *count > 0 {
                Metric::RuleFailures.counter(&[pack, rule]).increment(std::mem::take(count));
            }
        }
        if self.without_rule > 0 {
            Metric::Decisions.counter(&[NO_RULE, NO_RULE, "observe"]).increment(self.without_rule);
            Metric::RuleFailures.counter(&[NO_RULE, NO_RULE]).increment(0);
            self.without_rule = 0;
        }
    }
}
