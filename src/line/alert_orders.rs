//! What operators see of alerts and silences, and what they order of them.

use std::sync::Arc;

use crate::alert::{
    Alarm, AlertCause, AlertFilter, AlertId, AlertLabels, CauseKind, Importance, Raise, SilenceOrder,
};
use crate::event::{Seq, UnixMillis, Words};
use crate::expression::Wrong;
use crate::jidoka::alerts::{AlertsAsked, AlertsSeen, NoticeLane};
use crate::limits::{ALERTS_LISTED_MAX, SILENCE_MINUTES_MAX};
use crate::operator::{AlertOrder, Refused, Said};
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

/// Alerts, open ones first.
pub async fn alerts(
    line: &impl AlertLine,
    state: Option<&str>,
    importance: Option<&str>,
) -> Result<Vec<AlertView>, Refused> {
    let seen = line.ask_alerts(Seq(0), AlertsAsked { id: None, limit: ALERTS_LISTED_MAX }).await?;
    let fits = |alert: &AlertView| {
        state.is_none_or(|state| alert.state == state)
            && importance.is_none_or(|importance| alert.severity == importance)
    };
    Ok(seen.alerts.into_iter().filter(fits).collect())
}

pub async fn alert(line: &impl AlertLine, id: AlertId, after: Seq) -> Result<AlertView, Refused> {
    let seen = line.ask_alerts(after, AlertsAsked { id: Some(id), limit: 1 }).await?;
    seen.alerts.into_iter().next().ok_or(Refused::Missing(NO_ALERT))
}

/// An order of an operator on alerts and silences.
pub async fn order(line: &impl AlertLine, order: AlertOrder, said: Said) -> Result<AlertOrdered, Refused> {
    let Said { actor: by, reason } = said;
    let (alarm, of) = match order {
        AlertOrder::Acknowledge(alert) => {
            open_alert(line, alert).await?;
            (Alarm::Acknowledge { alert, by, reason }, Some(alert))
        }
        AlertOrder::Resolve(alert) => {
            let cause = open_alert(line, alert).await?.map(Box::new);
            (Alarm::Resolve { alert, by, reason, cause }, Some(alert))
        }
        AlertOrder::Test { importance, name } => (test(line, importance, &name, &by, &reason)?, None),
        AlertOrder::Silence { when, minutes } => (silence(line, &when, minutes, by, reason).await?, None),
        AlertOrder::EndSilence(silence) => {
            known_silence(line, silence).await?;
            (Alarm::EndSilence { silence, by, reason }, None)
        }
    };
    let is_silence = matches!(alarm, Alarm::Silence(_));
    let seq = line.alarm(Arc::new(alarm)).await?;
    // Answered when it holds.
    let seen = line.ask_alerts(seq, AlertsAsked::default()).await?;
    if is_silence && !seen.silences.iter().any(|silence| silence.id == seq.0) {
        return Err(Refused::Conflict("others took the last places for silences: end one".into()));
    }
    let alert = match of {
        Some(id) => Some(alert(line, id, seq).await?),
        None => None,
    };
    Ok(AlertOrdered { seq: seq.0, receipt_id: format!("r-{:016x}-00", seq.0), alert })
}

/// Whether an order could be carried out now.
pub async fn check(line: &impl AlertLine, order: &AlertOrder) -> Result<(), Refused> {
    match order {
        AlertOrder::Acknowledge(alert) | AlertOrder::Resolve(alert) => {
            open_alert(line, *alert).await.map(drop)
        }
        AlertOrder::Test { .. } => line.notices().map(drop),
        AlertOrder::Silence { when, minutes } => can_silence(line, when, *minutes).await,
        AlertOrder::EndSilence(silence) => known_silence(line, *silence).await,
    }
}

async fn known_silence(line: &impl AlertLine, silence: Seq) -> Result<(), Refused> {
    let seen = line.ask_alerts(Seq(0), AlertsAsked::default()).await?;
    let is_known = seen.silences.iter().any(|known| known.id == silence.0);
    if is_known { Ok(()) } else { Err(Refused::Missing("no silence of this id holds")) }
}

/// What an open alert is about.
async fn open_alert(line: &impl AlertLine, id: AlertId) -> Result<Option<AlertCause>, Refused> {
    let seen = line.ask_alerts(Seq(0), AlertsAsked { id: Some(id), limit: 1 }).await?;
    let alert = seen.alerts.into_iter().next().ok_or(Refused::Missing(NO_ALERT))?;
    if alert.ended_ms.is_some() {
        return Err(Refused::Conflict("it is resolved already".into()));
    }
    Ok(seen.cause)
}

fn test(
    line: &impl AlertLine,
    importance: Importance,
    name: &str,
    by: &Words,
    reason: &Words,
) -> Result<Alarm, Refused> {
    let _here = line.notices()?;
    let cause = AlertCause::of_node(CauseKind::Test, name);
    let message = Words::from(format!("a test by {by}: {reason}"));
    let labels = AlertLabels::default();
    Ok(Alarm::Raise(Box::new(Raise {
        cause,
        importance,
        message,
        member: None,
        labels,
        minutes: TEST_MINUTES,
    })))
}

async fn silence(
    line: &impl AlertLine,
    when: &str,
    minutes: u64,
    by: Words,
    reason: Words,
) -> Result<Alarm, Refused> {
    can_silence(line, when, minutes).await?;
    let until = UnixMillis(line.journal_time().0.saturating_add(minutes * 60_000));
    Ok(Alarm::Silence(Box::new(SilenceOrder { when: when.into(), until, by, reason })))
}

async fn can_silence(line: &impl AlertLine, when: &str, minutes: u64) -> Result<(), Refused> {
    AlertFilter::compile(when).map_err(|Wrong { line, column, what, hint }| {
        let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
        Refused::Wrong(format!("`when`:{line}:{column}: {what}{hint}"))
    })?;
    if !(1..=SILENCE_MINUTES_MAX).contains(&minutes) {
        return Err(Refused::Wrong(format!("`minutes` must be 1 to {SILENCE_MINUTES_MAX}: a silence ends")));
    }
    if !line.ask_alerts(Seq(0), AlertsAsked::default()).await?.takes_silences {
        return Err(Refused::Conflict("there are as many silences as may be: end one".into()));
    }
    Ok(())
}

/// A test ends by itself.
const TEST_MINUTES: u32 = 10;
