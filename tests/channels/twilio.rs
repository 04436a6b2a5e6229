//! Text messages: each number once, and none twice by guess.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gemba::alert::Importance;
use gemba::alert::NoticeKind::Firing;
use gemba::andon::channel::{Channel, ChannelKind, Sms};
use gemba::net::caller::CallTarget;

use crate::fake::Fake;
use crate::{channel, deliver, dispatcher, end, notice, on_runtime, target};

fn sms(to: CallTarget, recipients: &[&str]) -> ChannelKind {
    let recipients = recipients.iter().map(|to| (*to).to_owned()).collect();
    ChannelKind::Sms(Sms {
        to,
        user: "AC1".into(),
        token: "secret-token".into(),
        from: "+15005550006".into(),
        recipients,
    })
}

#[test]
fn a_wrong_number_does_not_keep_a_text_from_the_others_and_none_gets_it_twice() {
    let mut busy = true;
    let fake = Fake::start(move |asked| {
        assert_eq!(asked.header("authorization"), "Basic QUMxOnNlY3JldC10b2tlbg==");
        if asked.body.contains("wrong") {
            return (400, "", r#"{"code":21211,"message":"Invalid 'To' Phone Number"}"#.into());
        }
        if asked.body.contains("491702") && std::mem::take(&mut busy) {
            return (503, "", String::new());
        }
        (201, "", r#"{"status":"queued"}"#.into())
    });
    let ends = deliver(
        sms(target(&fake.url("/Messages.json")), &["+491701", "+1wrong", "+491702"]),
        vec![notice("a", "sms", Firing, 1)],
    );
    assert_eq!(ends, [(None, None, 2)]);
    let asked = fake.asked();
    let to = |number: &str| {
        asked.iter().filter(|asked| asked.body.starts_with(&format!("To=%2B{number}&"))).count()
    };
    assert_eq!([to("491701"), to("1wrong"), to("491702")], [1, 1, 2]);
}

#[test]
fn a_message_that_is_not_answered_leaves_time_for_the_others() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut socket in listener.incoming().map_while(Result::ok) {
            let mut bytes = [0; 4096];
            let length = socket.read(&mut bytes).unwrap_or(0);
            let is_stalled = String::from_utf8_lossy(&bytes[..length]).contains("491700");
            if length > 0 && !is_stalled {
                let answer = b"HTTP/1.1 201 .\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                socket.write_all(answer).unwrap();
            }
            count.fetch_add(1, Ordering::Relaxed);
            held.push(socket);
        }
    });
    let end = on_runtime(async {
        let kind = sms(target(&format!("http://{address}/")), &["+491700", "+491701", "+491702"]);
        let sms = Channel { timeout: Duration::from_secs(6), ..channel("sms", kind) };
        let mut dispatcher = dispatcher(vec![sms]);
        let warning =
            gemba::alert::Notice { importance: Importance::Warning, ..notice("a", "sms", Firing, 1) };
        dispatcher.submit(warning);
        end(&mut dispatcher).await
    });
    assert_eq!(end, (None, None, 1));
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[test]
fn no_secret_of_an_account_is_repeated() {
    let fake = Fake::start(|asked| {
        let message = format!("no such login: {}", asked.header("authorization"));
        (401, "", serde_json::json!({ "message": message }).to_string())
    });
    let kind = sms(target(&fake.url("/Messages.json")), &["+491701"]);
    let failed = deliver(kind, vec![notice("a", "sms", Firing, 1)]).remove(0).0.unwrap();
    assert!(failed.ends_with("no such login: Basic (secret)"), "{failed}");
}

#[test]
fn after_an_unknown_result_only_the_critical_is_sent_again() {
    for (importance, expected) in [(Importance::Warning, Some(1)), (Importance::Critical, None)] {
        // Takes the first request and hangs up.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for (number, socket) in listener.incoming().map_while(Result::ok).enumerate() {
                let mut socket = socket;
                let _read = socket.read(&mut [0; 4096]);
                if number > 0 {
                    let _written =
                        socket.write_all(b"HTTP/1.1 201 .\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                }
            }
        });
        let notice = gemba::alert::Notice { importance, ..notice("a", "sms", Firing, 1) };
        let (failed, _, tries) =
            deliver(sms(target(&format!("http://{address}/")), &["+491701"]), vec![notice]).remove(0);
        match expected {
            Some(expected) => {
                assert_eq!(tries, expected);
                assert!(failed.unwrap().contains("not sent again"));
            }
            None => assert_eq!((failed, tries), (None, 2)),
        }
    }
}
