//! A notice for tests of this module.

use crate::alert::{AlertId, CauseKind, Importance, ListedAlert, Notice, NoticeId, NoticeKind, NoticeReason};
use crate::event::UnixMillis;

/// The first example in JSON that the documentation shows behind these words.
pub fn documented(words: &str) -> serde_json::Value {
    let text = include_str!("../../../docs/operations.md");
    let (_, after) = text.split_once(words).unwrap();
    let example = after.split("```").nth(1).unwrap().strip_prefix("json").unwrap();
    serde_json::from_str(example).unwrap()
}

fn id(name: &str, number: u8) -> AlertId {
    let mut id = [number; 16];
    for (byte, of) in id.iter_mut().skip(1).zip(name.bytes()) {
        *byte = of;
    }
    AlertId(id)
}

/// A first notice of a group with so many alerts.
pub fn notice(name: &str, alerts: u8) -> Notice {
    let alerts = (0..alerts).map(|number| ListedAlert {
        id: id(name, number),
        importance: Importance::Critical,
        kind: CauseKind::GovernorBreaker,
        name: name.into(),
        tenant: Some("acme".into()),
        sku: Some("vm".into()),
        message: format!("the breaker of {name} is open").into(),
        since: UnixMillis(1_800_000_000_000),
        ended: None,
        members: 0,
        signal: Some("s-1".into()),
        source: Some("billing".into()),
        assurance: Some("A".into()),
        owner: None,
        target: None,
        receipt: "r-1".into(),
    });
    let alerts: Vec<ListedAlert> = alerts.collect();
    let channel = "chat".into();
    Notice {
        id: NoticeId { group: id(name, 255), since: 1_800_000_000_000, step: 1, channel },
        tells: NoticeKind::Firing,
        reason: NoticeReason::First,
        importance: Importance::Critical,
        kind: CauseKind::GovernorBreaker,
        name: name.into(),
        summary: format!("the breaker of {name} is open").into(),
        firing: u32::try_from(alerts.len()).unwrap(),
        resolved: 0,
        alerts,
        acknowledged: None,
        reference: None,
        closes: Vec::new(),
        node: "n-1".into(),
        time: UnixMillis(1_800_000_005_000),
        maybe_twice: false,
    }
}
