//! What to do about a bottleneck: one table.

use super::ranking::Kind;

/// Kind, how the name begins, and the advice. The first row that fits holds.
const ADVICE: [(Kind, &str, &str); 24] = [
    (
        Kind::StageDelay,
        "verify",
        "give ingress more processors (`ingress.threads`), or prefer `hmac` where a sender may choose its scheme",
    ),
    (
        Kind::StageDelay,
        "parse",
        "ask senders for smaller bodies, or for batches of lines instead of many requests",
    ),
    (
        Kind::StageDelay,
        "rate",
        "give ingress more processors: spending a tenant's rate waits for other threads",
    ),
    (
        Kind::StageDelay,
        "lane_wait",
        "the journal is the narrow place: put the data directory on a faster disk, or divide tenants among more nodes",
    ),
    (
        Kind::StageDelay,
        "journal_write",
        "put the data directory on a disk with more bandwidth, or ask senders for smaller bodies",
    ),
    (
        Kind::StageDelay,
        "fsync",
        "put the data directory on a disk that makes writes durable faster (NVMe with power-loss protection); let nothing else write to it",
    ),
    (
        Kind::StageDelay,
        "decide_wait",
        "shards are the narrow place: give the node more processors, or divide its tenants among more nodes; look at the tenant with the largest share of waiting",
    ),
    (
        Kind::StageDelay,
        "decide",
        "make the rules cheaper: fewer rules for each type, cheaper conditions first; `gemba policy check` says what a pack costs",
    ),
    (
        Kind::StageDelay,
        "receipt_sync",
        "put the data directory on a disk that makes writes durable faster: each batch of receipts waits for one sync",
    ),
    (Kind::StageDelay, "receipt", "give the node more processors: one thread makes all receipts"),
    (
        Kind::LaneWaiting,
        "arrivals",
        "the journal is slower than ingress: put the data directory on a faster disk, or lower what senders may send (`ingress.rate_per_second`)",
    ),
    (
        Kind::LaneWaiting,
        "events",
        "shards are slower than the journal: give the node more processors, or make the rules cheaper",
    ),
    (
        Kind::LaneWaiting,
        "drafts",
        "the scribe is slower than the shards: give the node more processors, and the log a faster disk",
    ),
    (Kind::LaneWaiting, "intents", "actions come faster than they are taken: see the targets"),
    (
        Kind::TenantWaiting,
        "",
        "this tenant sends more than its share: lower its rate, divide it into more SKUs, or give it a node of its own",
    ),
    (
        Kind::TenantFailures,
        "",
        "look at its dead letters: `gemba deadletter list --tenant` says whose each is to mend",
    ),
    (
        Kind::RuleFailures,
        "",
        "look at this rule's action and condition: `gemba deadletter list` says why they failed",
    ),
    (
        Kind::TargetFailures,
        "",
        "ask whoever keeps this target: its breaker and the reasons in `gemba deadletter list --cause target` say since when and why",
    ),
    (
        Kind::TargetTime,
        "",
        "ask whoever keeps this target for faster answers, or let it answer at once and work afterwards",
    ),
    (
        Kind::Refusals,
        "bad_signature",
        "compare secret and clock of the senders: their signatures do not hold",
    ),
    (
        Kind::Refusals,
        "shed",
        "the node sheds what it cannot take: see the lane and the stage with the largest shares",
    ),
    (
        Kind::Refusals,
        "rate_limited",
        "tenants send more than `ingress.rate_per_second` allows: raise it, or ask them to send less",
    ),
    (Kind::Refusals, "", "ask the senders: what they send is not what `docs/signals.md` says"),
    (Kind::RuleDecisions, "", "look at this rule first: most decisions are its"),
];

/// What to do about one of these.
pub fn advice(kind: Kind, name: &str) -> &'static str {
    let row = ADVICE.iter().find(|(of, begin, _)| *of == kind && name.starts_with(begin));
    row.map_or("look at its metrics in `docs/metrics.md`", |(_, _, advice)| advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kaizen::Stage;

    #[test]
    fn every_stage_that_is_ranked_and_every_kind_has_advice() {
        for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::Whole) {
            let name = stage.into_str();
            let row =
                ADVICE.iter().find(|(kind, begin, _)| *kind == Kind::StageDelay && name.starts_with(begin));
            // `receipt_sync` begins as `receipt` does.
            assert!(row.is_some_and(|(_, begin, _)| *begin == name), "{name}");
        }
        for kind in Kind::ALL {
            assert!(ADVICE.iter().any(|(of, ..)| *of == kind), "{kind:?}");
        }
    }
}
