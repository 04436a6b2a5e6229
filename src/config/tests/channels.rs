//! `[[channel]]`: each kind with its keys, and what is refused.

use super::super::layer;
use super::*;

/// A channel of this kind.
fn of(kind: &str, keys: &str) -> String {
    format!("[[channel]]\nname = \"a\"\nkind = \"{kind}\"\n{keys}")
}

const PAGER: &str = "routing_key_env = \"K\"\n";
const BOT: &str = "token_env = \"T\"\nchannel = \"#ops\"\n";
const MAIL: &str = "smtp = \"smtps://gemba%40example.com@mail.example.com\"\npassword_env = \"P\"\n\
                    from = \"gemba@example.com\"\nto = [\"sre@example.com\"]\n";
const SMS: &str = "account = \"AC1\"\ntoken_env = \"T\"\nfrom = \"+14155550123\"\nto = [\"+4930123456\"]\n";

fn numbers(range: std::ops::Range<u32>, each: impl Fn(u32) -> String) -> String {
    range.map(each).collect()
}

/// The only configured one.
fn only(text: &str) -> Channel {
    let config = load_text(&format!("{text}{DEV}"), &[]).unwrap();
    assert_eq!(config.channels.len(), 2, "{:?}", config.channels);
    assert_eq!(config.channels[1].name, "log", "it is always there");
    config.channels[0].clone()
}

#[test]
fn without_channels_there_is_the_log() {
    let config = load_text(DEV, &[]).unwrap();
    let [log] = config.channels.as_slice() else { panic!("{:?}", config.channels) };
    assert!(matches!(log.kind, ChannelKind::Log) && log.name == "log");
    let own = load_text(&format!("[[channel]]\nname = \"log\"\nkind = \"log\"\n{DEV}"), &[]).unwrap();
    assert_eq!(own.channels.len(), 1, "it is the same");
    let edge = format!("{}{BROKER}password_env = \"P\"\n{DEV}role = \"edge\"\n", of("pagerduty", PAGER));
    let edge = load_text(&edge, &[]).unwrap();
    assert!(edge.channels.is_empty() && edge.alerts.routes.channels.is_empty(), "an edge decides nothing");
    assert!(!edge.secrets().any(|secret| secret.what.contains("channel")), "and needs no secret of one");
}

#[test]
fn channels_of_all_kinds_are_read() {
    let pager = only(&of("pagerduty", &format!("{PAGER}timeout_seconds = 3\ngive_up_after_hours = 168\n")));
    assert_eq!((pager.timeout.as_secs(), pager.give_up_after.as_secs()), (3, 168 * 3600));
    let ChannelKind::PagerDuty { url, routing_key } = &pager.kind else { panic!("{pager:?}") };
    assert_eq!(url.0.to_string(), "https://events.pagerduty.com/v2/enqueue");
    assert_eq!(routing_key.kept, Kept::Variable("K".into()));

    let bot = only(&of("slack", BOT));
    assert_eq!((bot.timeout.as_secs(), bot.give_up_after.as_secs()), (10, 24 * 3600));
    let ChannelKind::Slack(SlackLogin::Bot { api, channel, .. }) = &bot.kind else { panic!("{bot:?}") };
    assert_eq!((api.0.to_string().as_str(), channel.as_str()), ("https://slack.com/api/", "#ops"));
    let hook = only(&of("slack", "webhook_url_file = \"/u\"\n"));
    assert!(
        matches!(&hook.kind, ChannelKind::Slack(SlackLogin::Webhook { url }) if url.kept == Kept::File("/u".into()))
    );

    let mail = only(&of("email", MAIL));
    let ChannelKind::Email(Mail { server, from, to }) = &mail.kind else { panic!("{mail:?}") };
    assert_eq!((server.host.as_str(), server.port, server.implicit_tls), ("mail.example.com", 465, true));
    assert_eq!(server.login.as_ref().unwrap().0, "gemba@example.com");
    assert_eq!(
        (from.as_str(), to.as_slice()),
        ("gemba@example.com", ["sre@example.com".to_owned()].as_slice())
    );
    let relay = "smtp = \"smtp://[::1]:2525\"\nfrom = \"a@b\"\nto = [\"c@d\", \"e@f\"]\nallow_private = true\nca_file = \"/c\"\n";
    let relay = only(&of("email", relay));
    let ChannelKind::Email(Mail { server, .. }) = &relay.kind else { panic!("{relay:?}") };
    assert_eq!((server.host.as_str(), server.port, server.implicit_tls), ("::1", 2525, false));
    assert!(server.login.is_none() && relay.allow_private && relay.ca_file.is_some());

    let sms = only(&of("sms", SMS));
    let ChannelKind::Sms(sms) = &sms.kind else { panic!("{sms:?}") };
    assert_eq!((sms.account.as_str(), sms.monthly_max, sms.to.len()), ("AC1", 200, 1));

    let hook =
        only(&of("webhook", "url = \"http://10.0.0.1/h\"\nallow_private = true\nsecret_env = \"S\"\n"));
    assert!(matches!(hook.kind, ChannelKind::Webhook { .. }));
    let urls = "urls = [\"https://a.example.com\", \"https://b.example.com\"]\n";
    let both = only(&of("alertmanager", urls));
    assert!(matches!(&both.kind, ChannelKind::Alertmanager { urls, bearer_token: None } if urls.len() == 2));
    let both = only(&of("alertmanager", &format!("{urls}bearer_token_env = \"B\"\n")));
    assert!(matches!(&both.kind, ChannelKind::Alertmanager { bearer_token: Some(_), .. }));
    let file = only(&of("file", "path = \"/var/log/alerts.json\"\n"));
    assert!(matches!(&file.kind, ChannelKind::File { path } if path == Path::new("/var/log/alerts.json")));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_channel_that_cannot_be_meant_is_told_with_its_line() {
    let many_mails = format!("\"{}@b\"", (0..21).map(|n| n.to_string()).collect::<Vec<_>>().join("@b\", \""));
    let table = [
        (of("pager", ""), ":3: `pager` is not a value of `channel.kind`", "`pagerduty`"),
        (of("pagerduty", ""), ":1: channel `a` has no `routing_key_file`", "`routing_key_env`"),
        (
            of("pagerduty", "routing_key = \"secret\"\n"),
            ":4: unknown key `channel.routing_key`",
            "`channel.routing_key_",
        ),
        (
            of("pagerduty", "routing_key_env = \"K\"\nrouting_key_file = \"/k\"\n"),
            ":5: the routing key of channel `a` is in a file and in a variable",
            "keep one",
        ),
        (
            of("pagerduty", &format!("{PAGER}url = \"http://a.b/\"\n")),
            ":5: channel `a` would be called without TLS",
            "`allow_private = true`",
        ),
        (
            of("pagerduty", &format!("{PAGER}url = \"https://k3y@a.b/\"\n")),
            ":5: `channel.url`: a URL with a user and a password is not called",
            "",
        ),
        (
            of("pagerduty", &format!("{PAGER}timeout_seconds = 61\n")),
            ":5: `channel.timeout_seconds` must be a whole number from 1 to 60, and this is 61",
            "",
        ),
        (
            of("pagerduty", &format!("{PAGER}give_up_after_hours = 169\n")),
            ":5: `channel.give_up_after_hours` must be a whole number from 1 to 168, and this is 169",
            "",
        ),
        (
            of("pagerduty", &format!("{PAGER}channel = \"#ops\"\n")),
            ":5: `channel` means nothing to a channel of kind `pagerduty`",
            "kind `slack`",
        ),
        (of("slack", ""), ":1: channel `a` has no `webhook_url_file`", "`token_file` and `channel`"),
        (
            of("slack", &format!("{BOT}webhook_url_env = \"U\"\n")),
            ":1: channel `a` has an incoming webhook and a bot",
            "keep",
        ),
        (of("slack", "token_env = \"T\"\n"), ":1: channel `a` has no `channel`", ""),
        (
            of("slack", "token_env = \"T\"\nchannel = \"the ops\"\n"),
            ":5: `channel.channel`: this is not a channel such as #ops or C0123456789",
            "",
        ),
        (
            of("slack", "webhook_url_env = \"U\"\nchannel = \"#ops\"\n"),
            ":5: `channel` means nothing beside the URL of an incoming webhook",
            "a bot",
        ),
        (of("email", ""), ":1: channel `a` has no `smtp`", ""),
        (
            of("email", &MAIL.replace("smtps:", "https:")),
            ":4: `channel.smtp`: this is not a mail server of the form smtps://user@mail.example.com or smtp://…",
            "",
        ),
        (
            of("email", &MAIL.replace("com@mail", "com:pw@mail")),
            ":4: `channel.smtp`: the password belongs into `password_file`, not into the URL",
            "",
        ),
        (
            of("email", &MAIL.replace("gemba%40example.com@mail", "mail")),
            ":4: the password of channel `a` has no user",
            "into `smtp`",
        ),
        (
            of("email", &MAIL.replace("password_env = \"P\"\n", "")),
            ":1: channel `a` has no `password_file`",
            "`password_env`",
        ),
        (
            of("email", &MAIL.replace("\"sre@example.com\"", "\"SRE <sre@example.com>\"")),
            ":7: `channel.to`: this is not an address such as sre@example.com, without a name beside it",
            "",
        ),
        (
            of("email", &MAIL.replace("\"gemba@example.com\"", "\"gemba\\r\\nBcc: x@y\"")),
            ":6: `channel.from`: this is not an address such as sre@example.com, without a name beside it",
            "",
        ),
        (
            of("email", &MAIL.replace("[\"sre@example.com\"]", "[]")),
            ":7: `channel.to`: it has 0 recipients; 1 to 20 are written to",
            "",
        ),
        (
            of("email", &MAIL.replace("\"sre@example.com\"", &many_mails)),
            ":7: `channel.to`: it has 21 recipients; 1 to 20 are written to",
            "",
        ),
        (
            of("email", &MAIL.replace("\"sre@example.com\"", "\"a@b\", \"a@b\"")),
            ":7: `channel.to`: `a@b` is there twice",
            "",
        ),
        (
            of("sms", &SMS.replace("+4930", "030")),
            ":7: `channel.to`: this is not a number of the form +14155550123 (E.164), with its country and without spaces",
            "",
        ),
        (
            of("sms", &SMS.replace("AC1", "AC/1")),
            ":4: `channel.account`: an account has letters and digits, 64 at most",
            "",
        ),
        (
            of("sms", &SMS.replace("token_env = \"T\"\n", "")),
            ":1: channel `a` has no `token_file`",
            "`token_env`",
        ),
        (of("webhook", "url = \"https://a.b/\"\n"), ":1: channel `a` has no `secret_file`", "`secret_env`"),
        (
            of(
                "webhook",
                "url = \"http://a.b/\"\nsecret_env = \"S\"\nallow_private = true\nca_file = \"c\"\n",
            ),
            ":7: `ca_file` means nothing to a URL without TLS",
            "",
        ),
        (
            of("webhook", "url = \"a.b\"\nsecret_env = \"S\"\n"),
            ":4: `channel.url`: this is not a URL of the form https://host/path",
            "",
        ),
        (of("alertmanager", ""), ":1: channel `a` has no `urls`", ""),
        (
            of("alertmanager", "urls = []\n"),
            ":4: `channel.urls`: a cluster has 1 to 5 members",
            "every member",
        ),
        (
            of("alertmanager", "urls = [\"https://a.b\", \"http://a.b\"]\n"),
            ":4: channel `a` would be called without TLS",
            "",
        ),
        (of("file", ""), ":1: channel `a` has no `path`", ""),
        (
            of("file", "path = \"/a\"\ntimeout_seconds = 1\n"),
            ":5: `timeout_seconds` means nothing to a channel of kind `file`",
            "`pagerduty`, `slack`, `email`, `sms`, `webhook`, `alertmanager`",
        ),
        (of("log", "path = \"/a\"\n"), ":4: `path` means nothing to a channel of kind `log`", "kind `file`"),
        (of("log", "").repeat(2), ":5: the name `a` is used twice", ""),
        (
            of("pagerduty", PAGER).replace("\"a\"", "\"log\""),
            ":2: the name `log` belongs to a channel of kind `log`, which is built in",
            "another name",
        ),
        (
            numbers(0..33, |n| of("log", "").replace("\"a\"", &format!("\"c{n}\""))),
            ":97: there are more than 32 channels",
            "",
        ),
        (
            "[channel]\n".into(),
            ":1: `channel` must be a list of tables, written [[channel]], and this is a table",
            "",
        ),
    ];
    for (text, what, hint) in table {
        let (told, hinted) = complaint(&format!("{text}{DEV}"), &[]);
        assert_eq!(told, what, "{text}");
        assert!(hinted.contains(hint), "{hinted}");
        assert!(!told.contains("k3y") && !told.contains("pw"), "{told}");
    }
}

#[test]
fn a_channel_shows_no_url() {
    let mail = MAIL.replace("gemba%40example.com", "u5er");
    let all = [
        of("webhook", "url = \"https://a.example.com/t0ken?k3y=1\"\nsecret_env = \"S\"\n"),
        of("alertmanager", "urls = [\"https://a.example.com/t0ken\"]\n").replace("\"a\"", "\"b\""),
        of("email", &mail).replace("\"a\"", "\"c\""),
        of("pagerduty", &format!("{PAGER}url = \"https://a.example.com/t0ken\"\n")).replace("\"a\"", "\"d\""),
    ];
    let config = load_text(&format!("{}{DEV}", all.concat()), &[]).unwrap();
    let shown: Vec<_> =
        config.effective.entries().map(|(key, entry)| format!("{key} = {}", entry.shown)).collect();
    for text in [shown.join("\n"), format!("{:?}", config.effective)] {
        for secret in ["t0ken", "k3y", "u5er"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    assert!(shown.contains(&"channel[c].smtp = \"smtps://mail.example.com\"".to_owned()), "{shown:?}");
    let debug = format!("{:?}", config.channels);
    assert!(!debug.contains("t0ken") && !debug.contains("k3y"), "{debug}");
}

#[test]
fn a_start_in_dev_makes_the_secret_of_a_webhook_and_two_channels_may_share_one() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let secret = data_dir.join("a.secret");
    let hook = format!("url = \"https://a.b/\"\nsecret_file = \"{}\"\n", secret.display());
    let text = format!("{}{DEV}data_dir = {data_dir:?}\n", of("webhook", &hook));
    let config = load_text(&text, &[]).unwrap();
    assert!(config.read_secrets(Missing::Assume).is_ok(), "as the start would make it");
    std::fs::create_dir(&data_dir).unwrap();
    let made = config.create_secrets().unwrap();
    assert!(made.contains(&("the secret of channel `a`".to_owned(), secret.clone())), "{made:?}");
    assert!(std::fs::read_to_string(&secret).unwrap().starts_with("whsec_"));
    assert!(!config.create_secrets().unwrap().iter().any(|(what, _)| what.contains("channel")));
    // One bot writes into two channels of Slack; another service does not get its token.
    let bot = of("slack", BOT);
    let both = format!("{bot}{}", bot.replace("\"a\"", "\"b\""));
    let secrets = |text: &str| {
        let config = load_text(&format!("{text}{DEV}"), &[]).unwrap();
        config.secrets().filter(|secret| secret.what.contains("channel")).count()
    };
    assert_eq!(secrets(&both), 1);
    assert_eq!(secrets(&format!("{bot}{}", of("sms", SMS).replace("\"a\"", "\"b\""))), 2);
}

#[test]
fn callbacks_have_a_secret_of_their_own_where_alerts_and_requests_are_on_one_node() {
    let secrets = |config: &Config| -> Vec<String> {
        config
            .secrets()
            .filter(|secret| secret.what.contains("channel"))
            .map(|secret| secret.what.clone())
            .collect()
    };
    let calls = "callback_secret_env = \"C\"\n";
    let pager = of("pagerduty", &format!("{PAGER}{calls}"));
    let both = format!("{pager}{}", pager.replace("\"a\"", "\"b\"").replace("\"K\"", "\"L\""));
    let config = load_text(&format!("{both}{DEV}"), &[]).unwrap();
    let kept = |channel: &Channel| channel.callback_secret.as_ref().map(|secret| secret.kept.clone());
    let expected = Some(Kept::Variable("C".into()));
    assert_eq!(config.channels.iter().map(kept).collect::<Vec<_>>(), [expected.clone(), expected, None]);
    let what = ["routing key of channel `a`", "callback secret of channel `a`", "routing key of channel `b`"];
    assert_eq!(secrets(&config), what.map(|what| format!("the {what}")), "one subscription has one secret");
    assert_eq!(config.warnings, Vec::new());
    let file = only(&of("slack", &format!("{BOT}callback_secret_file = \"/s\"\n")));
    assert_eq!(kept(&file), Some(Kept::File("/s".into())));

    for (role, why) in
        [("edge", "an edge has no alerts"), ("processor", "a processor takes nothing over HTTP")]
    {
        let text = format!("{pager}{BROKER}password_env = \"P\"\n{DEV}role = \"{role}\"\n");
        let config = load_text(&text, &[]).unwrap();
        assert!(config.channels.iter().all(|channel| channel.callback_secret.is_none()));
        assert!(!secrets(&config).iter().any(|what| what.contains("callback")), "nobody asks for it");
        let [warning] = config.warnings.as_slice() else { panic!("{:?}", config.warnings) };
        assert!(warning.what.contains(why) && warning.place.to_string().ends_with(":5"), "{warning}");
    }
    for (text, what) in [
        (of("email", &format!("{MAIL}{calls}")), "means nothing to a channel of kind `email`"),
        (
            of("pagerduty", &format!("{PAGER}{calls}callback_secret_file = \"/s\"\n")),
            "in a file and in a variable",
        ),
    ] {
        let (told, _) = complaint(&format!("{text}{DEV}"), &[]);
        assert!(told.contains(what), "{told}");
    }
}

#[test]
fn every_kind_is_written_as_it_is_read() {
    for name in ["pagerduty", "slack", "email", "sms", "webhook", "alertmanager", "log", "file"] {
        #[derive(serde::Deserialize)]
        struct One {
            kind: layer::ChannelKind,
        }
        let one: One = toml::from_str(&format!("kind = \"{name}\"")).unwrap();
        assert_eq!(channel_keys::kind_name(one.kind), name);
    }
}

#[test]
fn a_file_of_alerts_is_a_file_of_its_own() {
    let file = |path: &str| of("file", &format!("path = \"{path}\"\n"));
    let both = format!("{}{}", file("/x/a"), file("/x/a").replace("\"a\"", "\"b\""));
    let log = format!("{}[[logging.file]]\npath = \"/x/a\"\n", file("/x/a"));
    let key = format!(
        "{}{}",
        of("pagerduty", "routing_key_file = \"/x/k\"\n"),
        file("/x/k").replace("\"a\"", "\"b\"")
    );
    for (text, why) in [
        (file("/x/data/a"), "it is in `node.data_dir`"),
        (both, "another channel writes it"),
        (log, "it is a file of the log"),
        (key, "the node reads this file"),
    ] {
        let (told, _) = complaint(&format!("{text}{DEV}data_dir = \"/x/data\"\n"), &[]);
        assert!(told.contains("the file of channel `") && told.contains(why), "{told}");
    }
}
