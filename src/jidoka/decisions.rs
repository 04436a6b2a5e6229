//! How often each rule decided, and what. A shard counts for itself and tells the metrics once a second.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::kaizen::Metric;
use crate::receipt::{About, Draft, Policy, ReceiptType};

/// What a rule may decide, in the order of the counts.
const DECISIONS: [&str; 3] = ["act", "deny", "observe"];
/// Stands for pack and rule where no rule applied.
const NO_RULE: &str = "none";

/// Decisions since the last report.
#[derive(Debug, Default)]
pub struct Decisions {
    /// By the address of the rule's policy, which is kept so that no other one gets it.
    by_rule: HashMap<usize, (Arc<Policy>, [u64; 3])>,
    without_rule: u64,
}

impl Decisions {
    /// Counts the decision that a receipt proves, if it proves one.
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
            ReceiptType::BootstrapTimeout
            | ReceiptType::ActionSuccessful
            | ReceiptType::ActionFailed
            | ReceiptType::JidokaHalt
            | ReceiptType::DeadletterSignal
            | ReceiptType::QuotaExceeded
            | ReceiptType::DeferredDropped
            | ReceiptType::Entitlement
            | ReceiptType::Operator
            | ReceiptType::PolicyChange
            | ReceiptType::KeyChange
            | ReceiptType::QuotaRestored
            | ReceiptType::BreakerTesting => return,
        };
        let Some(policy) = &draft.policy else {
            self.without_rule += 1;
            return;
        };
        let known = self.by_rule.entry(Arc::as_ptr(policy).addr());
        known.or_insert_with(|| (Arc::clone(policy), [0; 3])).1[decision] += 1;
    }

    /// Other rules hold: those of before are not kept.
    pub fn forget_rules(&mut self) {
        self.report();
        self.by_rule.clear();
    }

    /// Adds what was counted to the metrics.
    pub fn report(&mut self) {
        for (policy, counts) in self.by_rule.values_mut() {
            for (decision, count) in DECISIONS.into_iter().zip(counts) {
                if *count > 0 {
                    Metric::Decisions.counter(&[&policy.pack, &policy.rule, decision]).increment(*count);
                    *count = 0;
                }
            }
        }
        if self.without_rule > 0 {
            Metric::Decisions.counter(&[NO_RULE, NO_RULE, "observe"]).increment(self.without_rule);
            self.without_rule = 0;
        }
    }
}
