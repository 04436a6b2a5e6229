//! What operators see of alerts and silences, and what they order of them.

use std::sync::Arc;

use super::resolved::{told_of, utc};
use crate::alert::{
    Alarm, AlertCause, AlertDigits, AlertFilter, AlertId, AlertLabels, AlertPage, CauseKind, Importance,
    Raise, SilenceOrder,
};
use crate::event::{Seq, UnixMillis, Words};
use crate::expression::Wrong;
use crate::jidoka::alerts::{AlertsAsked, AlertsSeen, NoticeLane};
use crate::limits::SILENCE_MINUTES_MAX;
use crate::operator::{AlertOrder, Refused, Resolved, Said};
use crate::printable::with_noun;
use crate::receipt::ReceiptId;
use crate::view::{AlertOrdered, AlertView};

/// What the line is asked for.
pub trait AlertLine {
    /// What is known of alerts, once the event `after` is.
    async fn ask_alerts(&self, after: Seq, asked: AlertsAsked) -> Result<AlertsSeen, Refused>;

    /// Brings an alarm into the journal; its number there.
    async fn alarm(&self, alarm: Arc<Alarm>) -> Result<Seq, Refused>;

    /// Where notifications come from; an edge has none.
    fn notices(&self) -> Result<NoticeLane, Refused>;

    /// The journal's time.
    fn journal_time(&self) -> UnixMillis;
}

const NO_ALERT: &str = "there is no alert of this id; one that ended is shown for a day";

/// The alert that is called so.
pub async fn alert(line: &impl AlertLine, called: AlertDigits, after: Seq) -> Result<AlertView, Refused> {
    one(line, called, after).await.map(|(alert, _)| alert)
}

/// The one alert that is called so, and what it is about.
async fn one(
    line: &impl AlertLine,
    called: AlertDigits,
    after: Seq,
) -> Result<(AlertView, Option<AlertCause>), Refused> {
    let asked = AlertsAsked { called: Some(called), ..AlertsAsked::default() };
    let AlertsSeen { list: AlertPage { alerts, count, .. }, cause, .. } =
        line.ask_alerts(after, asked).await?;
    if count > 1 {
        let alike: Vec<String> =
            alerts.iter().map(|alert| format!("{} ({})", alert.id, in_words(alert))).collect();
        let others = count - alike.len() as u64;
        let more = if others > 0 { format!(" and {others} more") } else { String::new() };
        return Err(Refused::Conflict(format!(
            "the ids of {count} alerts begin with {called}: {}{more}; write more digits",
            alike.join(", ")
        )));
    }
    let alert = alerts.into_iter().next().ok_or(Refused::Missing(NO_ALERT))?;
    Ok((alert, cause))
}

/// Severity, kind, name and whose.
fn in_words(alert: &AlertView) -> String {
    let AlertView { severity, kind, name, tenant, sku, .. } = alert;
    let name = if name.is_empty() { String::new() } else { format!(" {name}") };
    let whose = match (tenant, sku) {
        (Some(tenant), Some(sku)) => format!("{tenant}/{sku}"),
        (Some(tenant), None) => tenant.to_string(),
        (None, _) => "the node".to_owned(),
    };
    format!("{severity} {kind}{name} of {whose}")
}

/// An order of an operator on alerts and silences, if it concerns what was `seen`.
pub async fn order(
    line: &impl AlertLine,
    order: AlertOrder,
    said: Said,
    seen: Option<Resolved>,
) -> Result<AlertOrdered, Refused> {
    let concerned = concerned(line, &order).await?;
    concerned.resolved.is_as_seen(seen.as_ref())?;
    let Said { actor: by, reason } = said;
    let alarm = match order {
        AlertOrder::Acknowledge(_) => Alarm::Acknowledge { alert: concerned.alert()?, by, reason },
        AlertOrder::Resolve(_) => {
            Alarm::Resolve { alert: concerned.alert()?, by, reason, cause: concerned.cause.map(Box::new) }
        }
        AlertOrder::Test { importance, name } => {
            return test(line, importance, &name, &by, &reason).await;
        }
        AlertOrder::Silence { when, minutes } => {
            let until = UnixMillis(line.journal_time().0.saturating_add(minutes * 60_000));
            Alarm::Silence(Box::new(SilenceOrder { when: (&*when).into(), until, by, reason }))
        }
        AlertOrder::EndSilence(silence) => Alarm::EndSilence { silence, by, reason },
    };
    let is_silence = matches!(alarm, Alarm::Silence(_));
    let seq = line.alarm(Arc::new(alarm)).await?;
    // Answered when it holds.
    let seen = line.ask_alerts(seq, AlertsAsked::default()).await?;
    if is_silence && !seen.silences.iter().any(|silence| silence.id == seq.0) {
        return Err(Refused::Conflict("others took the last places for silences: end one".into()));
    }
    let alert = match concerned.id {
        Some(id) => Some(alert(line, id.into(), seq).await?),
        None => None,
    };
    Ok(AlertOrdered { seq: seq.0, receipt_id: receipt_id(seq), alert })
}

/// What an order would concern if it were carried out now.
///
/// # Errors
/// Why it cannot be.
pub async fn resolve(line: &impl AlertLine, order: &AlertOrder) -> Result<Resolved, Refused> {
    concerned(line, order).await.map(|concerned| concerned.resolved)
}

/// What an order concerns.
struct Concerned {
    resolved: Resolved,
    /// The alert, if it concerns one, and what that is about.
    id: Option<AlertId>,
    cause: Option<AlertCause>,
}

impl Concerned {
    fn alert(&self) -> Result<AlertId, Refused> {
        self.id.ok_or(Refused::Missing(NO_ALERT))
    }
}

impl From<Resolved> for Concerned {
    fn from(resolved: Resolved) -> Self {
        Self { resolved, id: None, cause: None }
    }
}

async fn concerned(line: &impl AlertLine, order: &AlertOrder) -> Result<Concerned, Refused> {
    match order {
        AlertOrder::Acknowledge(called) | AlertOrder::Resolve(called) => {
            let (alert, cause) = one(line, *called, Seq(0)).await?;
            if alert.ended_ms.is_some() {
                return Err(Refused::Conflict("it is resolved already".into()));
            }
            let id = Some(alert.id.parse().map_err(|_| Refused::Unavailable)?);
            let since = utc(alert.since_ms);
            let what = format!("{} since {since}: {}", in_words(&alert), alert.message);
            // The id is of the cause, which may have come again.
            Ok(Concerned { resolved: told_of(&what, &(&alert.id, alert.since_ms)), id, cause })
        }
        AlertOrder::Test { importance, name } => {
            line.notices()?;
            no_open_test(line, name).await?;
            let what = format!("a test alert of severity {}", importance.into_str());
            Ok(told_of(&what, &(importance, name)).into())
        }
        AlertOrder::Silence { when, minutes } => {
            let held_back = would_hold_back(line, when, *minutes).await?;
            let held_back = with_noun(held_back, "open alert", "open alerts");
            let minutes = with_noun(*minutes, "minute", "minutes");
            let what = format!("{held_back} now, for {minutes} from its approval");
            Ok(told_of(&what, &(when, minutes)).into())
        }
        AlertOrder::EndSilence(silence) => {
            let seen = line.ask_alerts(Seq(0), AlertsAsked::default()).await?;
            let known = seen.silences.into_iter().find(|known| known.id == silence.0);
            let known = known.ok_or(Refused::Missing("no silence of this id holds"))?;
            let held_back = with_noun(known.alerts as u64, "open alert", "open alerts");
            let until = utc(known.until_ms);
            let what = format!("{} by {} until {until}, which holds back {held_back}", known.when, known.by);
            Ok(told_of(&what, silence).into())
        }
    }
}

fn receipt_id(seq: Seq) -> String {
    ReceiptId { seq, ordinal: 0 }.to_string()
}

fn test_cause(name: &str) -> AlertCause {
    AlertCause::of_node(CauseKind::Test, name)
}

async fn no_open_test(line: &impl AlertLine, name: &str) -> Result<(), Refused> {
    let asked = AlertsAsked { about: Some(test_cause(name)), ..AlertsAsked::default() };
    let seen = line.ask_alerts(Seq(0), asked).await?;
    let open = seen.list.alerts.first().filter(|alert| alert.ended_ms.is_none());
    open.map_or(Ok(()), |open| {
        Err(Refused::Conflict(format!(
            "a test alert of this name is open since {}: resolve {} first, or give another `name`",
            utc(open.since_ms),
            open.id
        )))
    })
}

/// Opens a test alert, and says so only where one is open.
async fn test(
    line: &impl AlertLine,
    importance: Importance,
    name: &str,
    by: &Words,
    reason: &Words,
) -> Result<AlertOrdered, Refused> {
    let (cause, about) = (test_cause(name), Some(test_cause(name)));
    let before = line.ask_alerts(Seq(0), AlertsAsked::default()).await?.refused;
    let message = Words::from(format!("a test by {by}: {reason}"));
    let labels = AlertLabels::default();
    let raise = Raise { cause, importance, message, member: None, labels, minutes: TEST_MINUTES };
    let seq = line.alarm(Arc::new(Alarm::Raise(Box::new(raise)))).await?;
    let receipt_id = receipt_id(seq);
    let seen = line.ask_alerts(seq, AlertsAsked { about, ..AlertsAsked::default() }).await?;
    match seen.list.alerts.into_iter().next().filter(|alert| *alert.receipt == *receipt_id) {
        Some(alert) => Ok(AlertOrdered { seq: seq.0, receipt_id, alert: Some(alert) }),
        None if seen.refused > before => Err(Refused::Conflict(format!(
            "no alert was opened, since others have all places: receipt {receipt_id} says how many; resolve some first"
        ))),
        None => Err(Refused::Conflict(
            "no alert was opened: alerts of the kind `test` are off (`alerts.severity`), or another order opened one of this name"
                .into(),
        )),
    }
}

/// How many open alerts a silence would hold back now.
async fn would_hold_back(line: &impl AlertLine, when: &str, minutes: u64) -> Result<u64, Refused> {
    let filter = AlertFilter::compile(when).map_err(|Wrong { line, column, what, hint }| {
        let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
        Refused::Wrong(format!("`when`:{line}:{column}: {what}{hint}"))
    })?;
    if !(1..=SILENCE_MINUTES_MAX).contains(&minutes) {
        return Err(Refused::Wrong(format!("`minutes` must be 1 to {SILENCE_MINUTES_MAX}: a silence ends")));
    }
    let asked = AlertsAsked { silence: Some(Arc::new(filter)), ..AlertsAsked::default() };
    let seen = line.ask_alerts(Seq(0), asked).await?;
    if !seen.takes_silences {
        return Err(Refused::Conflict("there are as many silences as may be: end one".into()));
    }
    Ok(seen.would_hold_back)
}

/// A test ends by itself.
const TEST_MINUTES: u32 = 10;
