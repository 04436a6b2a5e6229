//! Channels of notifications against what they talk to: a mail server and an Alertmanager of others, and fakes of PagerDuty, Slack
//! and Twilio that keep to the contracts of these.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it wants")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod alertmanager;
mod fake;
mod mail;
mod pagerduty;
mod slack;
#[path = "../support/mod.rs"]
mod support;
mod twilio;
mod webhook;

use std::rc::Rc;
use std::time::Duration;

use gemba::alert::{
    Alarm, AlertId, CauseKind, Importance, ListedAlert, Notice, NoticeId, NoticeKind, NoticeReason,
};
use gemba::andon::channel::{Around, Channel, ChannelKind, Channels, Dispatcher, RateLimit};
use gemba::clock;
use gemba::net::caller::CallTarget;
use support::node::PATIENCE;
use support::{node, program, tls, tools};

/// A target on this machine.
fn target(url: &str) -> CallTarget {
    CallTarget { url: url.parse().unwrap(), tls: None, allow_private: true }
}

fn channel(name: &str, kind: ChannelKind) -> Channel {
    let (rate, timeout) = (RateLimit::default(), Duration::from_secs(10));
    Channel { name: name.into(), kind, rate, timeout, give_up: Duration::from_hours(24), calls_back: true }
}

/// A group's name.
fn group(name: &str) -> AlertId {
    let mut id = [0; 16];
    for (byte, of) in id.iter_mut().zip(name.bytes()) {
        *byte = of;
    }
    AlertId(id)
}

/// A notice of now with one alert.
fn notice(name: &str, channel: &str, tells: NoticeKind, step: u32) -> Notice {
    let time = clock::wall();
    let alert = ListedAlert {
        id: group(name),
        importance: Importance::Critical,
        kind: CauseKind::TargetBreaker,
        name: name.into(),
        tenant: None,
        sku: None,
        message: format!("calls of {name} failed <&> often").into(),
        since: time,
        ended: (tells == NoticeKind::Resolved).then_some(time),
        members: 3,
        signal: None,
        source: None,
        assurance: None,
        owner: None,
        target: Some(name.into()),
        receipt: "r-1".into(),
    };
    Notice {
        id: NoticeId { group: group(name), since: 1, step, channel: channel.into() },
        tells,
        reason: NoticeReason::First,
        importance: Importance::Critical,
        kind: CauseKind::TargetBreaker,
        name: name.into(),
        summary: format!("the target {name} <&> is halted").into(),
        firing: u32::from(tells != NoticeKind::Resolved),
        resolved: u32::from(tells == NoticeKind::Resolved),
        alerts: vec![alert],
        acknowledged: (tells == NoticeKind::Acknowledged).then(|| ("ann".into(), "on it".into())),
        reference: None,
        closes: Vec::new(),
        node: "n-1".into(),
        time,
        maybe_twice: false,
    }
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default());
    runtime.unwrap().block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("it never ended") })
}

fn dispatcher(channels: Vec<Channel>) -> Dispatcher {
    let mut dispatcher = Dispatcher::new(Around { random: || 0, time: Rc::new(clock::wall), sent: None });
    let external_url = Some("https://gemba.example.com".into());
    dispatcher.equip(&Channels { channels, external_url, dead_letters_per_minute: 0 });
    dispatcher
}

/// What became of a notice: why it failed, its reference, and its tries.
type End = (Option<String>, Option<String>, u32);

async fn end(dispatcher: &mut Dispatcher) -> End {
    let Alarm::Notified { failed, reference, tries, .. } = dispatcher.next().await else { panic!() };
    (failed.map(|text| text.to_string()), reference.map(|text| text.to_string()), tries)
}

/// Submits notices one after the other.
fn deliver(kind: ChannelKind, notices: Vec<Notice>) -> Vec<End> {
    on_runtime(async {
        let name = notices[0].id.channel.clone();
        let mut dispatcher = dispatcher(vec![channel(&name, kind)]);
        let mut ends = Vec::new();
        for notice in notices {
            dispatcher.submit(notice);
            ends.push(end(&mut dispatcher).await);
        }
        ends
    })
}
