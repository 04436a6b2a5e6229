//! Mail, by a server of others: TLS before anything is said, a login, and each recipient for himself.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gemba::alert::NoticeKind::{Firing, Resolved};
use gemba::andon::channel::{ChannelKind, Channels, Email, mail_address};
use gemba::net::smtp::{SmtpSecurity, SmtpServer};
use gemba::net::tls::client;
use serde_json::Value;

use crate::node::{PATIENCE, free_address};
use crate::program::{PROGRAM, Process};
use crate::tls::Authority;
use crate::tools::missing;
use crate::{channel, deliver, dispatcher, end, notice, on_runtime};

/// A mail server, and how it is reached.
struct Receiver {
    process: Process,
    server: SmtpServer,
    _dir: tempfile::TempDir,
}

/// `None` where it is not installed.
fn start(mode: &str, security: SmtpSecurity) -> Option<Receiver> {
    let python = Path::new(PROGRAM).ancestors().nth(2).unwrap().join("mail/bin/python");
    if !python.exists() {
        return missing("aiosmtpd", "tests/mail/install");
    }
    let (dir, authority, address) = (tempfile::tempdir().unwrap(), Authority::new(), free_address());
    authority.write(dir.path(), "server", &["127.0.0.1"]);
    let mut command = Command::new(python);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail/receiver.py");
    command.current_dir(dir.path()).arg(script).arg(address.port().to_string());
    command.args([mode, "server.crt", "server.key"]).stderr(Stdio::piped());
    let mut process = Process::spawn(command, PATIENCE);
    process.wait_for("ready").unwrap();
    let server = SmtpServer {
        host: "127.0.0.1".into(),
        port: address.port(),
        security,
        tls: client(Some(authority.pem().as_bytes()), &[]).unwrap(),
        allow_private: true,
        login: (mode != "plain").then(|| ("gemba".into(), "a password".into())),
    };
    Some(Receiver { process, server, _dir: dir })
}

fn email(server: SmtpServer, to: &[&str]) -> ChannelKind {
    let to = to.iter().map(|to| mail_address(to).unwrap()).collect();
    ChannelKind::Email(Email { server, from: mail_address("Gemba <gemba@example.com>").unwrap(), to })
}

impl Receiver {
    /// The next mail that came.
    fn mail(&mut self) -> Value {
        let line = self.process.wait_for("\"headers\"").unwrap();
        serde_json::from_str(line.get(line.find('{').unwrap()..).unwrap()).unwrap()
    }
}

#[test]
fn mails_come_encrypted_with_a_login_and_form_a_thread() {
    for (mode, security) in [("implicit", SmtpSecurity::Implicit), ("starttls", SmtpSecurity::StartTls)] {
        let Some(mut receiver) = start(mode, security) else { return };
        let kind = || email(receiver.server.clone(), &["sre@example.com"]);
        let mut ack = notice("a", "mail", Firing, 1);
        ack.summary = "Größe\r\nBcc: eve@example.com".into();
        let ends = deliver(kind(), vec![ack, notice("a", "mail", Resolved, 2)]);
        assert_eq!(ends, [(None, None, 1), (None, None, 1)], "{mode}");
        let (first, second) = (receiver.mail(), receiver.mail());
        assert_eq!((&first["from"], &first["login"]), (&"gemba@example.com".into(), &true.into()));
        let (subject, names) = (&first["headers"]["Subject"], first["names"].as_array().unwrap());
        assert_eq!(subject, "Critical on n-1: Größe  Bcc: eve@example.com");
        assert!(!names.contains(&"bcc".into()), "{names:?}");
        assert_ne!(first["headers"]["Message-ID"], second["headers"]["Message-ID"]);
        for name in ["References", "In-Reply-To"] {
            assert_eq!(first["headers"][name], second["headers"][name]);
        }
        assert_eq!(first["headers"]["Auto-Submitted"], "auto-generated");
        assert!(second["text"].as_str().unwrap().contains("failed <&> often"), "{second:#}");
        assert!(second["html"].as_str().unwrap().contains("failed &lt;&amp;&gt; often"), "{second:#}");
    }
}

#[test]
fn nothing_is_sent_without_tls_beyond_this_machine_and_no_password_on_it() {
    let Some(mut receiver) = start("plain", SmtpSecurity::StartTls) else { return };
    let plain = receiver.server.clone();
    let ends = deliver(email(plain.clone(), &["sre@example.com"]), vec![notice("a", "mail", Firing, 1)]);
    assert_eq!(ends, [(None, None, 1)]);
    assert_eq!(receiver.mail()["login"], false);
    let failed = |server: SmtpServer| {
        let ends = deliver(email(server, &["sre@example.com"]), vec![notice("a", "mail", Firing, 1)]);
        ends[0].0.clone().unwrap()
    };
    let login = Some(("gemba".into(), "a password".into()));
    assert_eq!(failed(SmtpServer { login, ..plain.clone() }), "a password is not sent without TLS");
    let private = failed(SmtpServer { allow_private: false, ..plain });
    assert!(private.contains("allow_private"), "{private}");
}

#[test]
fn a_wrong_password_ends_it_without_telling_the_secret() {
    let Some(receiver) = start("implicit", SmtpSecurity::Implicit) else { return };
    let wrong = Some(("gemba".into(), "not the secret".into()));
    let server = SmtpServer { login: wrong, ..receiver.server.clone() };
    let shown = format!("{server:?}");
    let ends = deliver(email(server, &["sre@example.com"]), vec![notice("a", "mail", Firing, 1)]);
    let failed = ends[0].0.clone().unwrap();
    assert!(
        failed.contains("answered 535") && !failed.contains("secret") && !shown.contains("secret"),
        "{failed}"
    );
}

#[test]
fn a_mail_waits_for_a_certificate_that_is_trusted() {
    let Some(mut receiver) = start("implicit", SmtpSecurity::Implicit) else { return };
    let strange = client(Some(Authority::new().pem().as_bytes()), &[]).unwrap();
    let server = SmtpServer { tls: Arc::clone(&strange), ..receiver.server.clone() };
    let told = on_runtime(async {
        let to = ["sre@example.com"];
        let mut dispatcher = dispatcher(vec![channel("mail", email(server, &to))]);
        dispatcher.submit(notice("a", "mail", Firing, 1));
        while dispatcher.watches()[0].breaker() != 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let channels = vec![channel("mail", email(receiver.server.clone(), &to))];
        dispatcher.equip(&Channels { channels, external_url: None, dead_letters_per_minute: 0 });
        end(&mut dispatcher).await
    });
    assert_eq!((told.0, told.2 > 1), (None, true));
    receiver.mail();
}

#[test]
fn a_recipient_who_is_refused_does_not_stop_the_others_and_nobody_gets_it_twice() {
    let Some(mut receiver) = start("implicit", SmtpSecurity::Implicit) else { return };
    let all = ["nobody@example.com", "sre@example.com", "later@example.com"];
    let ends = deliver(email(receiver.server.clone(), &all), vec![notice("a", "mail", Firing, 1)]);
    assert_eq!(ends, [(None, None, 2)]);
    assert_eq!(receiver.mail()["to"], serde_json::json!(["sre@example.com"]));
    assert_eq!(receiver.mail()["to"], serde_json::json!(["later@example.com"]));
    let ends = deliver(email(receiver.server.clone(), &all[..1]), vec![notice("b", "mail", Firing, 1)]);
    let failed = ends[0].0.clone().unwrap();
    assert!(failed.contains("550"), "{failed}");
}
