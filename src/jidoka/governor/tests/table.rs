//! Every cell of the table, by what can be seen from outside; and the page in `docs/`.

use std::fmt::Write as _;

use super::super::table::{OnEntitlement, OnOrder, OnOutcome, OnSignal, OnTimer, row};
use super::*;
use crate::receipt::StateName;

/// A governor in each state. Where a state can hold a waiting signal one waits.
fn setups() -> Vec<(&'static str, Line)> {
    vec![
        ("boot", Line::booting().all(&[SEE])),
        ("stable", Line::new(rules()).all(&[SEE])),
        ("action_pending", Line::new(rules()).all(&[ACT, SEE])),
        ("quota_exhausted", Line::new(rules()).all(&[ACT, OK, ACT, OK, SEE])),
        ("degraded", Line::new(rules()).all(&[REVOKED])),
        ("halted by breaker", Line::new(rules()).all(&[ACT, ERROR, ACT, ERROR])),
        ("halted by operator", Line::new(rules()).all(&[ACT, Op::Order(Verb::Halt)])),
    ]
}

const INPUTS: [(&str, Op); 28] = [
    ("signal", SEE),
    ("warning", Op::Signal("see.this", Severity::Warning)),
    ("critical", Op::Signal("see.this", Severity::Critical)),
    ("acting", ACT),
    ("acting critical", Op::Signal("act.now", Severity::Critical)),
    ("denied", DENIED),
    ("unfit", UNFIT),
    ("replay", Op::Replay("see.this")),
    ("conflict", Op::Astray(Astray::Conflict)),
    ("set aside", Op::Astray(Astray::SetAside)),
    ("active", ACTIVE),
    ("revoked", REVOKED),
    ("boot timer", Op::Fire(TimerKind::Boot)),
    ("quota timer", Op::Fire(TimerKind::QuotaWindow)),
    ("reset timer", Op::Fire(TimerKind::BreakerReset)),
    ("deadline", Op::Fire(TimerKind::ActionDeadline)),
    ("idle", Op::Fire(TimerKind::Idle)),
    ("ok", OK),
    ("error", ERROR),
    ("withheld", Op::Withheld),
    ("stray", Op::Stray(Ok(()))),
    ("halt", Op::Order(Verb::Halt)),
    ("resume", Op::Order(Verb::Resume)),
    ("entitle", Op::Order(Verb::Entitle)),
    ("revoke", Op::Order(Verb::Revoke)),
    ("quota 0", Op::Order(Verb::Quota(0))),
    ("quota 7", Op::Order(Verb::Quota(7))),
    ("discard", Op::Order(Verb::Discard(CASE))),
];

/// `state | input | receipts > state after`; `w` is the signal that waited, `e` what the event itself brought.
const EXPECTED: &str = "\
boot | signal | > boot
boot | warning | > boot
boot | critical | > boot
boot | acting | > boot
boot | acting critical | > boot
boot | denied | > boot
boot | unfit | > boot
boot | replay | e operator > boot
boot | conflict | e deadletter_signal > boot
boot | set aside | e deadletter_signal > boot
boot | active | e entitlement, w observed > stable
boot | revoked | e entitlement, w deferred_dropped > degraded
boot | boot timer | e bootstrap_timeout, w deferred_dropped > degraded
boot | quota timer | > boot
boot | reset timer | > boot
boot | deadline | > boot
boot | idle | > boot
boot | ok | e action_successful > boot
boot | error | e action_failed > boot
boot | withheld | e action_failed > boot
boot | stray | e action_successful > boot
boot | halt | e jidoka_halt, w deadletter_signal > halted
boot | resume | e operator > boot
boot | entitle | e operator, w observed > stable
boot | revoke | e operator, w deferred_dropped > degraded
boot | quota 0 | e operator > boot
boot | quota 7 | e operator > boot
boot | discard | e operator > boot
stable | signal | e observed > stable
stable | warning | e observed > stable
stable | critical | e observed > stable
stable | acting | e action_generated > action_pending
stable | acting critical | e action_generated > action_pending
stable | denied | e policy_denied > stable
stable | unfit | e deadletter_signal > stable
stable | replay | e operator, e observed > stable
stable | conflict | e deadletter_signal > stable
stable | set aside | e deadletter_signal > stable
stable | active | e entitlement > stable
stable | revoked | e entitlement > degraded
stable | boot timer | > stable
stable | quota timer | > stable
stable | reset timer | > stable
stable | deadline | > stable
stable | idle | > stable
stable | ok | e action_successful > stable
stable | error | e action_failed > stable
stable | withheld | e action_failed > stable
stable | stray | e action_successful > stable
stable | halt | e jidoka_halt > halted
stable | resume | e operator > stable
stable | entitle | e operator > stable
stable | revoke | e operator > degraded
stable | quota 0 | e operator > stable
stable | quota 7 | e operator > stable
stable | discard | e operator > stable
action_pending | signal | > action_pending
action_pending | warning | > action_pending
action_pending | critical | > action_pending
action_pending | acting | > action_pending
action_pending | acting critical | > action_pending
action_pending | denied | > action_pending
action_pending | unfit | > action_pending
action_pending | replay | e operator > action_pending
action_pending | conflict | e deadletter_signal > action_pending
action_pending | set aside | e deadletter_signal > action_pending
action_pending | active | e entitlement > action_pending
action_pending | revoked | e entitlement > action_pending
action_pending | boot timer | > action_pending
action_pending | quota timer | > action_pending
action_pending | reset timer | > action_pending
action_pending | deadline | e action_failed, w observed > stable
action_pending | idle | > action_pending
action_pending | ok | e action_successful, w observed > stable
action_pending | error | e action_failed, w observed > stable
action_pending | withheld | e action_failed, w observed > stable
action_pending | stray | e action_successful > action_pending
action_pending | halt | e jidoka_halt, w deadletter_signal > halted
action_pending | resume | e operator > action_pending
action_pending | entitle | e operator > action_pending
action_pending | revoke | e operator > action_pending
action_pending | quota 0 | e operator > action_pending
action_pending | quota 7 | e operator > action_pending
action_pending | discard | e operator > action_pending
quota_exhausted | signal | e quota_exceeded > quota_exhausted
quota_exhausted | warning | e quota_exceeded > quota_exhausted
quota_exhausted | critical | e quota_exceeded > quota_exhausted
quota_exhausted | acting | e quota_exceeded > quota_exhausted
quota_exhausted | acting critical | e quota_exceeded > quota_exhausted
quota_exhausted | denied | e quota_exceeded > quota_exhausted
quota_exhausted | unfit | e quota_exceeded > quota_exhausted
quota_exhausted | replay | e operator, e quota_exceeded > quota_exhausted
quota_exhausted | conflict | e deadletter_signal > quota_exhausted
quota_exhausted | set aside | e deadletter_signal > quota_exhausted
quota_exhausted | active | e entitlement > quota_exhausted
quota_exhausted | revoked | e entitlement > degraded
quota_exhausted | boot timer | > quota_exhausted
quota_exhausted | quota timer | e quota_restored > stable
quota_exhausted | reset timer | > quota_exhausted
quota_exhausted | deadline | > quota_exhausted
quota_exhausted | idle | > quota_exhausted
quota_exhausted | ok | e action_successful > quota_exhausted
quota_exhausted | error | e action_failed > quota_exhausted
quota_exhausted | withheld | e action_failed > quota_exhausted
quota_exhausted | stray | e action_successful > quota_exhausted
quota_exhausted | halt | e jidoka_halt > halted
quota_exhausted | resume | e operator > quota_exhausted
quota_exhausted | entitle | e operator > quota_exhausted
quota_exhausted | revoke | e operator > degraded
quota_exhausted | quota 0 | e operator > quota_exhausted
quota_exhausted | quota 7 | e operator > stable
quota_exhausted | discard | e operator > quota_exhausted
degraded | signal | e deferred_dropped > degraded
degraded | warning | e deferred_dropped > degraded
degraded | critical | e observed > degraded
degraded | acting | e deferred_dropped > degraded
degraded | acting critical | e action_generated > action_pending
degraded | denied | e deferred_dropped > degraded
degraded | unfit | e deferred_dropped > degraded
degraded | replay | e operator, e deferred_dropped > degraded
degraded | conflict | e deadletter_signal > degraded
degraded | set aside | e deadletter_signal > degraded
degraded | active | e entitlement > stable
degraded | revoked | e entitlement > degraded
degraded | boot timer | > degraded
degraded | quota timer | > degraded
degraded | reset timer | > degraded
degraded | deadline | > degraded
degraded | idle | > degraded
degraded | ok | e action_successful > degraded
degraded | error | e action_failed > degraded
degraded | withheld | e action_failed > degraded
degraded | stray | e action_successful > degraded
degraded | halt | e jidoka_halt > halted
degraded | resume | e operator > degraded
degraded | entitle | e operator > stable
degraded | revoke | e operator > degraded
degraded | quota 0 | e operator > degraded
degraded | quota 7 | e operator > degraded
degraded | discard | e operator > degraded
halted by breaker | signal | e deadletter_signal > halted
halted by breaker | warning | e deadletter_signal > halted
halted by breaker | critical | e deadletter_signal > halted
halted by breaker | acting | e deadletter_signal > halted
halted by breaker | acting critical | e deadletter_signal > halted
halted by breaker | denied | e deadletter_signal > halted
halted by breaker | unfit | e deadletter_signal > halted
halted by breaker | replay | e operator, e deadletter_signal > halted
halted by breaker | conflict | e deadletter_signal > halted
halted by breaker | set aside | e deadletter_signal > halted
halted by breaker | active | e entitlement > halted
halted by breaker | revoked | e entitlement > halted
halted by breaker | boot timer | > halted
halted by breaker | quota timer | > halted
halted by breaker | reset timer | e breaker_testing > stable
halted by breaker | deadline | > halted
halted by breaker | idle | > halted
halted by breaker | ok | e action_successful > halted
halted by breaker | error | e action_failed > halted
halted by breaker | withheld | e action_failed > halted
halted by breaker | stray | e action_successful > halted
halted by breaker | halt | e jidoka_halt > halted
halted by breaker | resume | e operator > stable
halted by breaker | entitle | e operator > halted
halted by breaker | revoke | e operator > halted
halted by breaker | quota 0 | e operator > halted
halted by breaker | quota 7 | e operator > halted
halted by breaker | discard | e operator > halted
halted by operator | signal | e deadletter_signal > halted
halted by operator | warning | e deadletter_signal > halted
halted by operator | critical | e deadletter_signal > halted
halted by operator | acting | e deadletter_signal > halted
halted by operator | acting critical | e deadletter_signal > halted
halted by operator | denied | e deadletter_signal > halted
halted by operator | unfit | e deadletter_signal > halted
halted by operator | replay | e operator, e deadletter_signal > halted
halted by operator | conflict | e deadletter_signal > halted
halted by operator | set aside | e deadletter_signal > halted
halted by operator | active | e entitlement > halted
halted by operator | revoked | e entitlement > halted
halted by operator | boot timer | > halted
halted by operator | quota timer | > halted
halted by operator | reset timer | > halted
halted by operator | deadline | e action_failed > halted
halted by operator | idle | > halted
halted by operator | ok | e action_successful > halted
halted by operator | error | e action_failed > halted
halted by operator | withheld | e action_failed > halted
halted by operator | stray | e action_successful > halted
halted by operator | halt | e jidoka_halt > halted
halted by operator | resume | e operator > action_pending
halted by operator | entitle | e operator > halted
halted by operator | revoke | e operator > halted
halted by operator | quota 0 | e operator > halted
halted by operator | quota 7 | e operator > halted
halted by operator | discard | e operator > halted
";

#[test]
fn every_event_has_its_defined_result_in_every_state() {
    let mut found = String::new();
    for (input, op) in &INPUTS {
        for (name, mut line) in setups() {
            let waits = line.governor.oldest_waiting();
            let before = line.governor.state();
            let drafts = line.feed(op);
            let receipts: Vec<String> = drafts
                .iter()
                .map(|draft| {
                    let whose = if Some(draft.gist.id.seq) == waits { "w" } else { "e" };
                    assert!(whose == "w" || draft.gist.id.seq == line.seq);
                    format!("{whose} {}", draft.gist.kind.into_str())
                })
                .collect();
            assert_eq!(drafts.first().map_or(before, |draft| draft.gist.before), before);
            let after = line.governor.state().into_str();
            let space = if receipts.is_empty() { "" } else { " " };
            writeln!(found, "{name} | {input} | {}{space}> {after}", receipts.join(", ")).unwrap();
        }
    }
    for (name, _) in setups() {
        let of = |text: &str| -> Vec<String> {
            let prefix = format!("{name} |");
            text.lines().filter(|line| line.starts_with(&prefix)).map(Into::into).collect()
        };
        assert_eq!(of(&found), of(EXPECTED));
    }
    assert_eq!(found.lines().count(), EXPECTED.lines().count());
}

fn on_signal(cell: OnSignal) -> &'static str {
    match cell {
        OnSignal::Decide => "decide",
        OnSignal::Wait => "wait",
        OnSignal::Drop => "`deferred_dropped`",
        OnSignal::Exceed => "`quota_exceeded`",
        OnSignal::DeadLetter => "`deadletter_signal`",
    }
}

fn on_entitlement(cell: OnEntitlement) -> &'static str {
    match cell {
        OnEntitlement::Remember => "remember",
        OnEntitlement::Admit => "→ stable",
        OnEntitlement::Degrade => "→ degraded",
    }
}

fn on_timer(cell: OnTimer) -> &'static str {
    match cell {
        OnTimer::Ignore => "—",
        OnTimer::GiveUp => "`bootstrap_timeout` → degraded",
        OnTimer::Refill => "quota full",
        OnTimer::Reopen => "quota full, `quota_restored` → stable",
        OnTimer::Test => "by breaker: `breaker_testing` → rest",
        OnTimer::Fail => "as an error",
        OnTimer::Note => "`action_failed`",
        OnTimer::Forget => "if as a new one: forgotten",
    }
}

fn on_outcome(cell: OnOutcome) -> &'static str {
    match cell {
        OnOutcome::Succeed => "`action_successful`, breaker closes → rest",
        OnOutcome::Fail => "`action_failed` → rest; breaker opens: `jidoka_halt` → halted",
        OnOutcome::Note => "receipt only",
        OnOutcome::Late => "receipt only, reason `late`",
    }
}

fn on_order(cell: OnOrder) -> &'static str {
    match cell {
        OnOrder::Halt => "`jidoka_halt` → halted",
        OnOrder::Resume => "breaker closes → action_pending or rest",
        OnOrder::Quota => "quota as ordered",
        OnOrder::Reopen => "quota as ordered; above 0 → stable",
        OnOrder::Note => "receipt only",
    }
}

/// The page as it should be.
fn page() -> String {
    let rows = StateName::ALL.map(row);
    let lines: [(&str, [&str; 6]); 14] = [
        ("signal, info or warning", rows.map(|row| on_signal(row.signal))),
        ("signal, critical", rows.map(|row| on_signal(row.critical))),
        ("entitled (signal, operator)", rows.map(|row| on_entitlement(row.active))),
        ("revoked (signal, operator)", rows.map(|row| on_entitlement(row.revoked))),
        ("timer: boot", rows.map(|row| on_timer(row.boot))),
        ("timer: quota window", rows.map(|row| on_timer(row.quota_window))),
        ("timer: breaker reset", rows.map(|row| on_timer(row.breaker_reset))),
        ("timer: action deadline", rows.map(|row| on_timer(row.action_deadline))),
        ("outcome: ok", rows.map(|row| on_outcome(row.ok))),
        ("outcome: error", rows.map(|row| on_outcome(row.error))),
        ("outcome: another action's", rows.map(|row| on_outcome(row.other))),
        ("operator: halt", rows.map(|row| on_order(row.halt))),
        ("operator: resume", rows.map(|row| on_order(row.resume))),
        ("operator: quota", rows.map(|row| on_order(row.quota))),
    ];
    let mut page = String::from(
        "# What each event means in each state\n\n\
         One governor per tenant and SKU. This page is held against `src/jidoka/governor/table.rs` by a test.\n\n\
         | event |",
    );
    for state in StateName::ALL {
        write!(page, " {} |", state.into_str()).unwrap();
    }
    page.push_str("\n|---|---|---|---|---|---|---|\n");
    for (event, cells) in lines {
        writeln!(page, "| {event} | {} |", cells.join(" | ")).unwrap();
    }
    page.push_str(NOTES);
    page
}

const NOTES: &str = "
- **decide**: by the rules `observed`, `policy_denied`, or `action_generated` → action_pending; `deadletter_signal` when a
  rule or a memory cannot be evaluated. With no action left in the quota's window `quota_exceeded`, and from stable →
  quota_exhausted; then no rule is tried, but memories count the signal.
- **wait**: in the mailbox, in order, until the state is left; then each is answered as the new state answers, until
  one makes an action pending again. `deadletter_signal` when the mailbox is full.
- **rest**: stable when entitled, else degraded.
- **remember**: the entitlement counts when the state is left.
- **as an error**: an action whose target was not asked, because the target's own breaker stood open, is an error that
  the governor's breaker does not count.
- A replay is the signal once more: `operator` as `r-<its seq>-01`, then what the signal brings in this state. An
  operator's discard leaves `operator` and changes nothing here.
- A signal that came over the broker and cannot be decided on, because two edges accepted its id with different bodies,
  because the broker set it aside, or because no edge wrote it, is a `deadletter_signal` in every state.
- A signal's own receipt is always `r-<its seq>-00`. Entitlement signals leave `entitlement`, operators' orders
  `operator` (a halt: `jidoka_halt`), everything else the receipts named above; what names none leaves none.
- A timer counts only if it is the one that runs, and an outcome only if its action is the one in flight.
- An action out when an operator halts stays known: its outcome leaves a receipt, and resume goes back to waiting
  for it. The breaker does not count it while halted.
- Where a halt of its tenant or of the line holds, a signal is a `deadletter_signal` in every state when it comes or its
  turn comes; entitlement signals count. Where a halt of the action's target holds, a signal for which a rule asks for that
  action is a `deadletter_signal` that keeps the action.
- A breaker's halt ends by its timer or by resume; an operator's halt ends by resume only.
- Without an action left a degraded governor answers critical signals with `quota_exceeded` and stays degraded.
";

#[test]
fn the_page_says_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/governor-table.md");
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == page(), "docs/governor-table.md should be:\n{}", page());
}
