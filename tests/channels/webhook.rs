//! A signed webhook, a file, and a receiver that hangs beside them.

use std::net::TcpListener;
use std::sync::Arc;

use gemba::alert::NoticeKind::{Firing, Resolved};
use gemba::andon::channel::{AlertFile, AlertWebhook, ChannelKind};
use gemba::signature::{Keyring, Scheme, Signer};
use hyper::HeaderMap;

use crate::fake::Fake;
use crate::{channel, deliver, dispatcher, end, notice, on_runtime, target};

const SECRET: &[u8] = b"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

#[test]
fn a_webhook_is_signed_and_keeps_its_id_through_tries_and_restarts() {
    let mut first = true;
    let fake = Fake::start(move |_| (if std::mem::take(&mut first) { 503 } else { 200 }, "", String::new()));
    let kind = || {
        let signer = Arc::new(Signer::new(SECRET).unwrap());
        ChannelKind::Webhook(AlertWebhook { to: target(&fake.url("/hook")), signer })
    };
    assert_eq!(deliver(kind(), vec![notice("a", "hook", Firing, 1)]), [(None, None, 2)]);
    deliver(kind(), vec![notice("a", "hook", Firing, 1), notice("a", "hook", Resolved, 2)]);
    let keyring = Keyring::new("hook", Scheme::StandardWebhooks, &[("k1", SECRET)], 300).unwrap();
    let mut ids = Vec::new();
    for asked in fake.asked() {
        let mut headers = HeaderMap::new();
        for (name, value) in &asked.headers {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        let now: u64 = asked.header("webhook-timestamp").parse().unwrap();
        keyring.verify(&headers, asked.body.clone().into(), now).unwrap();
        ids.push(asked.header("webhook-id").to_owned());
    }
    assert_eq!(ids.len(), 4);
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
}

#[test]
fn a_receiver_that_hangs_keeps_no_other_channel_waiting() {
    // Takes connections and says nothing.
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", hangs.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    on_runtime(async {
        let signer = Arc::new(Signer::new(SECRET).unwrap());
        let webhook = ChannelKind::Webhook(AlertWebhook { to: target(&url), signer });
        let file = ChannelKind::File(AlertFile { path: path.clone() });
        let mut dispatcher = dispatcher(vec![
            channel("hangs", webhook),
            channel("file", file),
            channel("log", ChannelKind::Log),
        ]);
        for number in 0..5 {
            dispatcher.submit(notice(&format!("g{number}"), "hangs", Firing, 1));
            for other in ["file", "log"] {
                dispatcher.submit(notice(&format!("g{number}"), other, Firing, 1));
                assert_eq!(end(&mut dispatcher).await, (None, None, 1));
            }
            if number == 2 {
                std::fs::rename(&path, dir.path().join("old.jsonl")).unwrap();
            }
        }
        assert_eq!(dispatcher.under_way(), 5);
    });
    let lines = |name: &str| {
        let text = std::fs::read_to_string(dir.path().join(name)).unwrap();
        text.lines()
            .filter(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].is_string())
            .count()
    };
    assert_eq!((lines("old.jsonl"), lines("alerts.jsonl")), (3, 2));
}
