//! Text messages: each number once, and none twice by guess.

use std::io::Read as _;
use std::net::TcpListener;

use gemba::alert::Importance;
use gemba::alert::NoticeKind::Firing;
use gemba::andon::channel::{ChannelKind, Sms};
use gemba::net::caller::CallTarget;

use crate::fake::Fake;
use crate::{deliver, notice, target};

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
                    use std::io::Write as _;
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
