//! Lists of variants, and variants by their names. `strum` derives both from the one declaration of an enum.

use std::str::FromStr;

/// All variants, in the order of their declaration: `const ALL: [Self; Self::COUNT] = variants::array(Self::VARIANTS)`.
#[must_use]
pub const fn array<T: Copy, const COUNT: usize>(variants: &'static [T]) -> [T; COUNT] {
    match variants.first_chunk() {
        Some(all) => *all,
        None => panic!("there are as many as `strum` counts"),
    }
}

/// The variant of this name; else what the name must be, in words.
///
/// # Errors
/// `must be open, replayed or discarded`.
pub fn named<T: FromStr + Copy + Into<&'static str>>(name: &str, all: &[T]) -> Result<T, String> {
    name.parse().map_err(|_| {
        let names: Vec<&str> = all.iter().map(|variant| (*variant).into()).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("must be {} or {last}", rest.join(", ")),
            _ => format!("must be {}", names.concat()),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use strum::VariantArray;

    use super::*;
    use crate::alert::{CauseKind, Importance};
    use crate::case::{Cause, Status};
    use crate::event::{Astray, TimerKind, VerbName};
    use crate::kanban::journal::record::RecordKind;
    use crate::receipt::{ReceiptType, StateName};
    use crate::signal::{Assurance, Identified, Severity};

    /// Numbers and names of what is stored or sent. A line may be added; none may change.
    #[test]
    fn stored_numbers_never_change() {
        fn told<T: VariantArray + Copy + Debug + 'static>(name: &str, number: impl Fn(T) -> u8) -> String {
            let each = T::VARIANTS.iter().map(|variant| format!(" {} {variant:?}", number(*variant)));
            format!("{name}:{}", each.collect::<Vec<_>>().join(","))
        }
        let stored = [
            told("alert", |kind: CauseKind| kind as u8),
            told("importance", |importance: Importance| importance as u8),
            told("state", |state: StateName| state as u8),
            told("receipt", |kind: ReceiptType| kind as u8),
            told("cause", |cause: Cause| cause as u8),
            told("status", |status: Status| status as u8),
            told("astray", |why: Astray| why as u8),
            told("timer", |kind: TimerKind| kind as u8),
            told("verb", |verb: VerbName| verb as u8),
            told("severity", |severity: Severity| severity as u8),
            told("assurance", |assurance: Assurance| assurance as u8),
            told("identified", |identified: Identified| identified as u8),
            told("record", |kind: RecordKind| kind as u8),
        ];
        let golden = [
            "alert: 0 Rule, 1 GovernorBreaker, 2 Halt, 3 TargetBreaker, 4 QuotaExhausted, 5 DeadLetters, 6 StageNotReady, \
             7 Restart, 8 DiskLow, 9 BrokerAway, 10 SharedStateAway, 11 ChannelFailing, 12 Test, \
             13 CertificateExpiring, 14 LogUnwritable, 15 StoreUnwritable, 16 HeartbeatMissed, 17 SequenceGap, \
             18 JournalUnwritable",
            "importance: 0 Info, 1 Warning, 2 Critical",
            "state: 0 Boot, 1 Stable, 2 ActionPending, 3 QuotaExhausted, 4 Degraded, 5 Halted",
            "receipt: 0 BootstrapTimeout, 1 ActionGenerated, 2 PolicyDenied, 3 ActionSuccessful, 4 ActionFailed, \
             5 JidokaHalt, 6 DeadletterSignal, 7 Observed, 8 QuotaExceeded, 9 DeferredDropped, 10 Entitlement, \
             11 Operator, 12 PolicyChange, 13 KeyChange, 14 QuotaRestored, 15 BreakerTesting, 16 ConfigChange, \
             17 AlertOpened, 18 AlertNotified, 19 AlertFailed, 20 AlertAcknowledged, 21 AlertSilenced, 22 AlertEscalated, \
             23 AlertResolved, 24 Manifest",
            "cause: 0 Sender, 1 Policy, 2 Target, 3 Us",
            "status: 0 Open, 1 Replayed, 2 Discarded",
            "astray: 0 Conflict, 1 SetAside, 2 Foreign, 3 Poison, 4 Unsigned, 5 UnknownKey, 6 WrongMac, 7 TooLong, \
             8 Unreadable, 9 Misrouted",
            "timer: 0 Boot, 1 QuotaWindow, 2 BreakerReset, 3 ActionDeadline, 4 Idle, 5 Delivery",
            "verb: 0 Halt, 1 Resume, 2 Entitle, 3 Revoke, 4 Quota, 5 Discard",
            "severity: 0 Info, 1 Warning, 2 Critical",
            "assurance: 0 A, 1 B, 2 C, 3 D",
            "identified: 0 ById, 1 ByBody",
            "record: 0 Provenance, 1 Signal, 2 Outcome, 3 Timer, 4 Command, 5 Replay, 6 Rules, 7 Stray, 8 Position, \
             9 NamedOutcome, 10 Hold, 11 Adopt, 12 Shared, 13 Resend, 14 Reconfigured, 15 Alarm, 16 Manifest, 17 RulesMadeFrom, \
             18 FirstSend",
        ];
        assert_eq!(stored.each_ref().map(String::as_str), golden);
    }

    #[test]
    fn a_name_that_is_none_is_answered_with_those_that_are() {
        assert_eq!(named("target", &Cause::ALL), Ok(Cause::Target));
        assert_eq!(named("Open", &Status::ALL).unwrap_err(), "must be open, replayed or discarded");
    }
}
