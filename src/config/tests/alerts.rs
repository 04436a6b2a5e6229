//! `[alerts]`: lists, routes and severities, and what is refused.

use super::*;
use crate::alert::{CauseKind, GroupBy, Importance, QuietHours, RoutesSource};

const CHANNELS: &str = "[[channel]]\nname = \"oncall\"\nkind = \"pagerduty\"\nrouting_key_env = \"K\"\n\
                        [[channel]]\nname = \"notes\"\nkind = \"file\"\npath = \"/var/log/alerts.json\"\n";
const ROUTE: &str = "[[alerts.route]]\nwhen = \"alert.tenant == 'acme'\"\nchannels = [\"oncall\"]\n";

#[test]
fn without_alerts_everything_is_told_to_the_log() {
    let alerts = load_text(DEV, &[]).unwrap().alerts;
    let log = vec!["log".to_owned()];
    let usual = RoutesSource {
        channels: log.clone(),
        critical: log.clone(),
        warning: log.clone(),
        info: log,
        ..RoutesSource::default()
    };
    assert_eq!(alerts.routes, usual);
    assert_eq!((usual.group_wait_seconds, usual.group_interval_seconds, usual.repeat_minutes), (5, 60, 240));
    assert_eq!((alerts.external_url, alerts.dead_letters_per_minute), (None, 60));
}

#[test]
fn alerts_and_their_routes_are_read() {
    let keys = "[alerts]\ncritical = [\"oncall\", \"log\"]\nwarning = []\ngroup_by = [\"tenant\", \"kind\"]\n\
                group_wait_seconds = 0\nrepeat_hours = 720\nexternal_url = \"https://gemba.example.com/g/\"\n\
                dead_letters_per_minute = 0\n[alerts.severity]\ndisk_low = \"off\"\nrestart = \"critical\"\n";
    let more = "group_wait_seconds = 1\ngroup_interval_seconds = 86400\nrepeat_hours = 1\n\
                escalate_after_minutes = 15\nescalate_to = [\"notes\"]\nquiet_hours = \"22:00-07:00\"\n";
    let bare = "[[alerts.route]]\nwhen = '''\nalert.kind == \"disk_low\"\n'''\nchannels = []\n";
    let alerts = load_text(&format!("{CHANNELS}{keys}{ROUTE}{more}{bare}{DEV}"), &[]).unwrap().alerts;
    let routes = alerts.routes;
    assert_eq!(routes.channels, ["oncall", "notes", "log"]);
    assert_eq!(
        (routes.critical.as_slice(), routes.warning.len()),
        (["oncall".into(), "log".into()].as_slice(), 0)
    );
    assert_eq!(routes.info, ["log"], "what is left out");
    assert_eq!(routes.group_by, [GroupBy::Tenant, GroupBy::Kind]);
    assert_eq!(
        (routes.group_wait_seconds, routes.group_interval_seconds, routes.repeat_minutes),
        (0, 60, 43_200)
    );
    let severities = [(CauseKind::Restart, Some(Importance::Critical)), (CauseKind::DiskLow, None)];
    assert_eq!(routes.importance, severities.into());
    let [first, second] = routes.routes.as_slice() else { panic!("{:?}", routes.routes) };
    assert_eq!(
        (first.when.as_str(), first.channels.as_slice()),
        ("alert.tenant == 'acme'", ["oncall".to_owned()].as_slice())
    );
    assert_eq!(
        (first.group_wait_seconds, first.group_interval_seconds, first.repeat_minutes),
        (Some(1), Some(86_400), Some(60))
    );
    assert_eq!(
        (first.escalate_after_minutes, first.escalate_to.as_slice()),
        (15, ["notes".to_owned()].as_slice())
    );
    assert_eq!(first.quiet_hours, QuietHours::read("22:00-07:00"));
    assert_eq!((second.channels.len(), second.repeat_minutes, second.escalate_after_minutes), (0, None, 0));
    assert_eq!(alerts.external_url.as_deref(), Some("https://gemba.example.com/g"));
    assert_eq!(alerts.dead_letters_per_minute, 0);
    let variable =
        load_text(&format!("{CHANNELS}{DEV}"), &[("GEMBA_ALERTS__CRITICAL", "[\"notes\"]")]).unwrap();
    assert_eq!(variable.alerts.routes.critical, ["notes"]);
    let file = format!("[alerts.severity]\nrestart = \"info\"\ndisk_low = \"info\"\n{DEV}");
    let both = load_text(&file, &[("GEMBA_ALERTS__SEVERITY__DISK_LOW", "off")]).unwrap();
    let severities = [(CauseKind::Restart, Some(Importance::Info)), (CauseKind::DiskLow, None)];
    assert_eq!(both.alerts.routes.importance, severities.into(), "each kind is a key of its own");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn alerts_that_cannot_be_meant_are_told_with_their_line() {
    let table = [
        (
            "[alerts]\ncritical = [\"log\", \"oncal\"]\n".to_owned(),
            ":2: `alerts.critical`: no [[channel]] is named `oncal`",
            "the nearest configured one is `oncall`",
        ),
        (
            "[alerts]\ninfo = [\"satellite\"]\n".to_owned(),
            ":2: `alerts.info`: no [[channel]] is named `satellite`",
            "configure it",
        ),
        ("[alerts]\ninfo = [\"log\", \"log\"]\n".to_owned(), ":2: `alerts.info` names `log` twice", ""),
        (
            "[alerts]\ninfo = \"log\"\n".to_owned(),
            ":2: `alerts.info` must be a list, and this is text",
            "put it in brackets, also a single one: `[\"…\"]`",
        ),
        (
            "[alerts]\ngroup_by = [\"tenants\"]\n".to_owned(),
            ":2: `tenants` is not a value of `alerts.group_by`",
            "`tenant`",
        ),
        (
            "[alerts]\ngroup_by = [\"kind\", \"kind\"]\n".to_owned(),
            ":2: `alerts.group_by` says the same twice",
            "",
        ),
        (
            "[alerts]\ngroup_wait_seconds = 3601\n".to_owned(),
            ":2: `alerts.group_wait_seconds` must be a whole number from 0 to 3600, and this is 3601",
            "",
        ),
        (
            "[alerts]\ngroup_interval_seconds = 0\n".to_owned(),
            ":2: `alerts.group_interval_seconds` must be a whole number from 1 to 86400, and this is 0",
            "",
        ),
        (
            "[alerts]\nrepeat_hours = 721\n".to_owned(),
            ":2: `alerts.repeat_hours` must be a whole number from 1 to 720, and this is 721",
            "",
        ),
        (
            "[alerts]\nexternal_url = \"gemba.example.com\"\n".to_owned(),
            ":2: `alerts.external_url`: this is not a URL of the form https://host/path",
            "",
        ),
        (
            "[alerts]\nexternal_url = \"https://a.b/?q\"\n".to_owned(),
            ":2: `alerts.external_url`: what is linked to is put behind it, so it ends with its path",
            "",
        ),
        (
            "[alerts.severity]\ndisk = \"info\"\n".to_owned(),
            ":2: `alerts.severity.disk` is not a kind of alert",
            "`alerts.severity.disk_low`",
        ),
        (
            "[alerts.severity]\nweather = \"info\"\n".to_owned(),
            ":2: `alerts.severity.weather` is not a kind of alert",
            "kinds are rule, governor_breaker, halt",
        ),
        (
            "[alerts.severity]\ndisk_low = \"error\"\n".to_owned(),
            ":2: `error` is not a value of `alerts.severity.disk_low`",
            "`info`, `warning`, `critical`, `off`",
        ),
        ("[[alerts.route]]\nwhen = \"true\"\n".to_owned(), ":1: `alerts.route.channels` is missing", ""),
        ("[[alerts.route]]\nchannels = []\n".to_owned(), ":1: `alerts.route.when` is missing", ""),
        (
            ROUTE.replace("oncall", "mail"),
            ":3: `alerts.route.channels`: no [[channel]] is named `mail`",
            "configure it",
        ),
        (
            format!("{ROUTE}escalate_after_minutes = 15\n"),
            ":4: `escalate_after_minutes` needs `escalate_to`",
            "name the channels",
        ),
        (
            format!("{ROUTE}escalate_to = [\"log\"]\n"),
            ":4: `escalate_to` needs `escalate_after_minutes`",
            "how long",
        ),
        (
            format!("{ROUTE}escalate_after_minutes = 15\nescalate_to = []\n"),
            ":5: `alerts.route.escalate_to` names nobody",
            "",
        ),
        (
            format!("{ROUTE}escalate_after_minutes = 15\nescalate_to = [\"nots\"]\n"),
            ":5: `alerts.route.escalate_to`: no [[channel]] is named `nots`",
            "`notes`",
        ),
        (
            format!("{ROUTE}quiet_hours = \"10pm\"\n"),
            ":4: `alerts.route.quiet_hours`: this is not a time of the day and a later one, in UTC, of the form 22:00-07:00",
            "",
        ),
        (
            format!("{ROUTE}escalate_after_minutes = 0\nescalate_to = [\"log\"]\n"),
            ":4: `alerts.route.escalate_after_minutes` must be a whole number from 1 to 10080, and this is 0",
            "",
        ),
        (ROUTE.repeat(65), ":193: there are more than 64 routes", ""),
        ("[alerts]\ncritcal = []\n".to_owned(), ":2: unknown key `alerts.critcal`", "`alerts.critical`"),
        (
            "[alerts]\nroute = 1\n".to_owned(),
            ":2: `alerts.route` must be a list of tables, written [[alerts.route]], and this is 1",
            "",
        ),
    ];
    for (text, what, hint) in table {
        let (told, hinted) = complaint(&format!("{text}{DEV}{CHANNELS}"), &[]);
        assert_eq!(told, what, "{text}");
        assert!(hinted.contains(hint), "{hinted}");
    }
    // Of an expression also the column.
    for (text, place) in [
        (ROUTE.replace("alert.tenant", "alert.tenants"), ":2:9: "),
        (ROUTE.replace("\"alert.tenant == 'acme'\"", "'''\nalert.kind == 'x' &&\n  1'''"), ":4:3: "),
        (ROUTE.replace("alert.tenant == 'acme'", "alert.tenant"), ":2:"),
    ] {
        let (told, _) = complaint(&format!("{text}{DEV}{CHANNELS}"), &[]);
        assert!(told.starts_with(place), "{told}");
    }
}

#[test]
fn in_production_somebody_must_be_called() {
    let warns = |profile: &str, alerts: &str| {
        let secrets = "[receipt]\nsecret_env = \"R\"\n[log]\nkey_env = \"L\"\n\
                       [[admin.token]]\nname = \"root\"\nrole = \"admin\"\ntoken_env = \"TOKEN\"\n\
                       [[source]]\nname = \"signals\"\nscheme = \"hmac\"\nsecret_env = \"S\"\n";
        let text = format!("{alerts}[node]\nprofile = \"{profile}\"\n{secrets}{CHANNELS}");
        load_text(&text, &[])
            .unwrap()
            .warnings
            .into_iter()
            .map(|warning| warning.to_string())
            .collect::<Vec<_>>()
    };
    let told = warns("prod", "");
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("alerts.critical: nobody is called for critical alerts"), "{told:?}");
    let told = warns("prod", "[alerts]\ncritical = [\"notes\", \"log\"]\n");
    assert!(told[0].contains("node.toml:2: nobody is called"), "{told:?}");
    assert_eq!(warns("prod", "[alerts]\ncritical = [\"log\", \"oncall\"]\n"), Vec::<String>::new());
    assert_eq!(warns("staging", ""), Vec::<String>::new());
}

/// A shipped configuration with the examples that stand in it as comments.
fn with_examples(file: &str) -> Config {
    let is_set = |line: &str| {
        let key = line.split_once(" = ").map(|(key, _)| key);
        let is_key = |key: &str| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        line.starts_with('[') || key.is_some_and(is_key)
    };
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| line.strip_prefix("# ").filter(|rest| is_set(rest)).unwrap_or(line));
    load_text(&lines.collect::<Vec<_>>().join("\n"), &[]).unwrap()
}

#[test]
fn the_examples_in_the_shipped_configurations_are_right() {
    let prod = with_examples("config/prod.toml");
    let kinds: Vec<String> = prod.channels.iter().map(|channel| channel.kind.name()).collect();
    assert_eq!(kinds, ["pagerduty", "slack", "email", "sms", "log"]);
    assert_eq!(prod.alerts.routes.critical, ["oncall", "chat", "mail", "sms"]);
    assert_eq!(prod.alerts.routes.warning, ["chat", "mail", "log"]);
    assert_eq!(prod.warnings, Vec::new());
    let staging = with_examples("config/staging.toml");
    assert_eq!((staging.channels.len(), staging.alerts.routes.critical.len()), (2, 2));
}
