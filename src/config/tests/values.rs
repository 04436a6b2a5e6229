//! Keys and values that are wrong, in a file and in variables, and variables that are not ours.

use super::*;

#[test]
fn an_unknown_key_is_told_with_line_and_nearest_name() {
    let table = [
        ("[ingress]\nthread = 2\n", ":2: unknown key `ingress.thread`", "`ingress.threads`"),
        ("[ingres]\nthreads = 2\n", ":1: unknown key `ingres`", "`ingress`"),
        ("\n\nnode.nmae = \"x\"\n", ":3: unknown key `node.nmae`", "`node.name`"),
        (
            "[[source]]\nname = \"a\"\nscheme = \"hmac\"\nsecret_fil = \"x\"\n",
            ":4: unknown key `source.secret_fil`",
            "`source.secret_file`",
        ),
        ("[kanban]\nbackend = \"journl\"\n", ":2: `journl` is not a value of `kanban.backend`", "`journal`"),
        ("[logging]\nformat = \"jsn\"\n", ":2: `jsn` is not a value of `logging.format`", "`json`"),
        ("[logging]\nlevel = \"loud\"\n", ":2: `logging.level`: `loud` is not a level", "info"),
        (
            "[logging]\nstderr_level = \"info,gemba::line=warn\"\n",
            ":2: `logging.stderr_level`: `info,gemba::line=warn` is not a level",
            "one of off",
        ),
        ("[logging]\nlevels = \"info\"\n", ":2: unknown key `logging.levels`", "`logging.level`"),
        ("[governor]\nzzzzzzzzz = 1\n", ":2: unknown key `governor.zzzzzzzzz`", "`boot_timeout_seconds`"),
    ];
    for (text, what, hint) in table {
        let (told, hinted) = complaint(text, &[]);
        assert_eq!(told, what);
        assert!(hinted.contains(hint), "{hinted}");
    }
}

#[test]
fn an_impossible_value_is_told_with_its_line() {
    let table = [
        (
            "[ingress]\nlisten = \"8080\"\n",
            ":2: `ingress.listen`: `8080` is not an address and port, such as 127.0.0.1:8080",
        ),
        (
            "[rate_limit]\nper_second = 0\n",
            ":2: `rate_limit.per_second` must be a whole number from 1 to 4294967295, and this is 0",
        ),
        (
            "[governor]\nquota = -1\n",
            ":2: `governor.quota` must be a whole number from 0 to 4294967295, and this is -1",
        ),
        (
            "[governor]\nbreaker_failures = 0\n",
            ":2: `governor.breaker_failures` must be a whole number from 1 to 4294967295, and this is 0",
        ),
        ("[node]\nrole = \"edge\"\n", ":2: this role needs a broker"),
        (
            "[kanban]\nbackend = \"rabbitmq\"\n",
            ":2: a node with the role `all` has nothing to send to a broker",
        ),
        (
            "[kanban]\nbackend = \"journal\"\n[node]\nrole = \"edge\"\n",
            ":2: edges and processors have the backend `rabbitmq`",
        ),
        (
            "[node]\nname = \"No Name\"\n",
            ":2: `node.name`: `No Name` is not a name: 1 to 64 of a-z, 0-9, dot, underscore and dash",
        ),
        ("[[source]]\nname = \"a\"\nscheme = \"slack\"\n", ":3: `slack` is not a value of `source.scheme`"),
        (
            "[[source]]\nname = \"a\"\nscheme = \"hmac\"\nbinary = true\n",
            ":4: `binary` needs a fixed `tenant` beside it: in binary mode the tenant is in a header, \
             which no signature covers",
        ),
    ];
    for (text, what) in table {
        assert_eq!(complaint(&format!("{text}{}", rest(text)), &[]).0, what);
    }
}

/// What else a file needs to be complete.
fn rest(text: &str) -> &'static str {
    if text.contains("[node]") { "profile = \"dev\"\n" } else { DEV }
}

#[test]
fn a_wrong_variable_is_told_by_its_name() {
    let error = load(None, set(&[("GEMBA_INGRESS__THREAD", "2")]), &Flags::default()).unwrap_err();
    assert_eq!(error.to_string(), "GEMBA_INGRESS__THREAD: unknown key `ingress.thread`");
    let error = load(None, set(&[("GEMBA_GOVERNOR__QUOTA", "many")]), &Flags::default()).unwrap_err();
    let whole = "must be a whole number from 0 to 4294967295";
    let told = format!("GEMBA_GOVERNOR__QUOTA: `governor.quota` {whole}, and this is text");
    assert_eq!(error.to_string(), told);
}

#[test]
fn a_value_of_a_wrong_type_is_told_with_its_key() {
    let whole = |most: u32| format!("a whole number from 0 to {most}");
    let (u16s, u32s) = (whole(u16::MAX.into()), whole(u32::MAX));
    let source = "[[source]]\nname = \"a\"\nscheme = \"hmac\"\n";
    let cases = [
        ("[ingress]\nthreads = \"two\"\n".to_owned(), 2, "ingress.threads", u16s.as_str(), "text"),
        ("[ingress]\nthreads = 1.5\n".to_owned(), 2, "ingress.threads", &u16s, "1.5"),
        ("[ingress]\nthreads = 65536\n".to_owned(), 2, "ingress.threads", &u16s, "65536"),
        ("[governor]\nquota = true\n".to_owned(), 2, "governor.quota", &u32s, "true"),
        ("[governor]\nquota = [1]\n".to_owned(), 2, "governor.quota", &u32s, "a list"),
        ("[governor]\nquota = { a = 1 }\n".to_owned(), 2, "governor.quota", &u32s, "a table"),
        ("[governor]\nquota = 1979-05-27\n".to_owned(), 2, "governor.quota", &u32s, "a time"),
        (
            "[governor]\nquota = 99999999999999999999\n".to_owned(),
            2,
            "governor.quota",
            &u32s,
            "99999999999999999999",
        ),
        ("governor.quota = \"x\"\n".to_owned(), 1, "governor.quota", &u32s, "text"),
        ("[node]\nname = 3\n".to_owned(), 2, "node.name", "text", "3"),
        ("[node]\nname = [\"a\"]\n".to_owned(), 2, "node.name", "text", "a list"),
        ("[node]\nprofile = 3\n".to_owned(), 2, "node.profile", "text", "3"),
        ("[node]\ndata_dir = false\n".to_owned(), 2, "node.data_dir", "text", "false"),
        ("[node]\ncore_dumps = \"no\"\n".to_owned(), 2, "node.core_dumps", "true or false", "text"),
        ("ingress = 5\n".to_owned(), 1, "ingress", "a table, written [ingress]", "5"),
        ("[[ingress]]\n".to_owned(), 1, "ingress", "a table, written [ingress]", "a list"),
        ("ingress = []\n".to_owned(), 1, "ingress", "a table, written [ingress]", "a list"),
        ("node = [\"x\"]\n".to_owned(), 1, "node", "a table, written [node]", "a list"),
        ("[source]\n".to_owned(), 1, "source", "a list of tables, written [[source]]", "a table"),
        ("source = [1]\n".to_owned(), 1, "source", "a list of tables, written [[source]]", "1"),
        ("source = [[]]\n".to_owned(), 1, "source", "a list of tables, written [[source]]", "a list"),
        (
            "[admin]\ntoken = \"s3cret\"\n".to_owned(),
            2,
            "admin.token",
            "a list of tables, written [[admin.token]]",
            "text",
        ),
        (format!("{source}tolerance_seconds = \"5m\"\n"), 4, "source.tolerance_seconds", &u32s, "text"),
        (format!("{source}control = 1\n"), 4, "source.control", "true or false", "1"),
        (format!("{source}key = 1\n"), 4, "source.key", "a list of tables, written [[source.key]]", "1"),
        (format!("{source}[[source.key]]\nname = 1\n"), 5, "source.key.name", "text", "1"),
        (format!("{HOOK}url = 1\n"), 4, "action.url", "text", "1"),
        (format!("{HOOK}allow_private = \"yes\"\n"), 4, "action.allow_private", "true or false", "text"),
        ("[policy]\npacks = \"a.toml\"\n".to_owned(), 2, "policy.packs", "a list", "text"),
        ("[policy]\npacks = [1]\n".to_owned(), 2, "policy.packs", "text", "1"),
        (
            "[rabbitmq]\nconsume = [0, -1]\n".to_owned(),
            2,
            "rabbitmq.consume",
            "a whole number from 0 to 255",
            "-1",
        ),
        ("[rabbitmq]\nhosts = \"one\"\n".to_owned(), 2, "rabbitmq.hosts", "a list", "text"),
    ];
    for (text, line, key, expected, found) in cases {
        let told = complaint(&text, &[]).0;
        assert_eq!(told, format!(":{line}: `{key}` must be {expected}, and this is {found}"), "{text}");
    }
    let both = complaint("[ingress]\nlisten = \"127.0.0.1:9090\"\n[node]\nprofile = \"dev\"\n", &[]).0;
    assert_eq!(both, ":2: `ingress.listen` and `admin.listen` are both 127.0.0.1:9090");
    let unclosed = complaint("[policy\npacks = []\n[[action]]\nname = \"a\"\n", &[]).0;
    assert!(unclosed.contains("unclosed table"), "{unclosed}");
    let cut = complaint("[kanban]\nwaiting = 1\n", &[]).1;
    assert_eq!(cut, "the nearest valid name is `kanban.waiting_mib`");
    let missing = complaint("[[source]]\nname = \"a\"\n", &[]).0;
    assert_eq!(missing, ":1: `source.scheme` is missing");
    for (name, value, told) in [
        ("GEMBA_INGRESS__THREADS", "1.5", format!("`ingress.threads` must be {u16s}, and this is 1.5")),
        ("GEMBA_INGRESS__THREADS", "-1", format!("`ingress.threads` must be {u16s}, and this is -1")),
        ("GEMBA_NODE__CORE_DUMPS", "no", "`node.core_dumps` must be true or false, and this is text".into()),
        ("GEMBA_RABBITMQ__HOSTS", "one", "`rabbitmq.hosts` must be a list, and this is text".into()),
        (
            "GEMBA_ADMIN__TOKEN",
            "s3cret",
            "`admin.token` must be a list of tables, written [[admin.token]], and this is text".into(),
        ),
        ("GEMBA_INGRES__THREADS", "1", "unknown key `ingres`".into()),
        ("GEMBA_NODE__NAME]\nROLE=", "1", "unknown key `node.name]\nrole=`".into()),
    ] {
        let error = load(None, set(&[(name, value)]), &Flags::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("{name}: {told}"));
    }
    let flags = Flags { role: Some("king".into()), data_dir: None };
    let error = load(None, set(&[]), &flags).unwrap_err();
    assert_eq!(error.to_string(), "--role: `king` is not a value of `node.role`");
}

#[test]
fn variables_of_others_set_nothing() {
    let kubernetes = [
        ("GEMBA_SERVICE_HOST", "10.0.0.1"),
        ("GEMBA_SERVICE_PORT", "8080"),
        ("GEMBA_SERVICE_PORT_HTTP", "8080"),
        ("GEMBA_PORT", "tcp://10.0.0.1:8080"),
        ("GEMBA_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("GEMBA_PORT_8080_TCP_PROTO", "tcp"),
        ("GEMBA_PORT_8080_TCP_PORT", "8080"),
        ("GEMBA_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("GEMBA_RABBITMQ_SERVICE_HOST", "10.0.0.2"),
        ("GEMBA_RABBITMQ_PORT", "tcp://10.0.0.2:5672"),
        ("GEMBA_INGRESS_PORT_8080_SCTP_ADDR", "10.0.0.3"),
        ("GEMBA_ADMIN_SERVICE_PORT_WEB_UI", "9090"),
        // Of services `gemba-node--name` and `gemba--node`.
        ("GEMBA_NODE__NAME_SERVICE_HOST", "10.0.0.4"),
        ("GEMBA_NODE__NAME_PORT", "tcp://10.0.0.4:1"),
        ("GEMBA_NODE__NAME_PORT_1_UDP_ADDR", "10.0.0.4"),
        ("GEMBA__NODE_SERVICE_PORT_A__B", "1"),
        // Of a link of Docker, and of whoever likes the prefix.
        ("GEMBA_NAME", "/web/gemba"),
        ("GEMBA_VERSION", "1"),
        ("GEMBA_", ""),
        ("GEMBAX__Y", "1"),
    ];
    let config = load(None, set(&kubernetes), &Flags::default()).unwrap();
    assert_eq!((config.name.as_str(), config.warnings), ("dev", Vec::new()));
    // One that only looks like it is still ours.
    let error = load(None, set(&[("GEMBA_INGRESS__PORT", "8080")]), &Flags::default()).unwrap_err();
    assert_eq!(error.to_string(), "GEMBA_INGRESS__PORT: unknown key `ingress.port`");
}

#[test]
fn a_name_that_sets_nothing_and_was_meant_to_is_told() {
    for (name, nearest) in [
        ("GEMBA_INGRESS_LISTEN", "GEMBA_INGRESS__LISTEN"),
        ("GEMBA_INGRES_LISTEN", "GEMBA_INGRESS__LISTEN"),
        ("GEMBA_RATE_LIMIT_PER_SECOND", "GEMBA_RATE_LIMIT__PER_SECOND"),
        ("GEMBA_NODE_CORE_DUMPS", "GEMBA_NODE__CORE_DUMPS"),
        ("GEMBA_CONFG", "GEMBA_CONFIG"),
    ] {
        let config = load(None, set(&[(name, "x")]), &Flags::default()).unwrap();
        let [warning] = config.warnings.as_slice() else { panic!("{name}: {:?}", config.warnings) };
        assert_eq!(warning.to_string(), format!("{name}: this variable sets nothing"));
        assert_eq!(warning.hint.as_deref(), Some(format!("the nearest valid name is {nearest}").as_str()));
    }
    // A secret may be kept in a variable of any name.
    let text = format!("{DEV}[receipt]\nsecret_env = \"GEMBA_RECEIPT_SECRET_ENV\"\n");
    let config = load_text(&text, &[("GEMBA_RECEIPT_SECRET_ENV", "x"), ("GEMBA_CONFIG", "c")]).unwrap();
    assert_eq!(config.warnings, Vec::new());
}

/// Whatever a warning advises works: a name that it calls valid is one that sets something.
#[test]
fn no_hint_names_a_variable_that_fails() {
    for (name, list, secret) in [
        ("GEMBA_ADMIN_TOKEN", "[[admin.token]]", Some("`token_env`")),
        ("GEMBA_ADMIN_TOKENS", "[[admin.token]]", Some("`token_env`")),
        ("GEMBA_SOURCE", "[[source]]", Some("`secret_env`")),
        ("GEMBA_SOURCE_KEY", "[[source.key]]", Some("`secret_env`")),
        ("GEMBA_ACTIONS", "[[action]]", Some("`secret_env`")),
        ("GEMBA_POLICY_TENANT", "[[policy.tenant]]", None),
        ("GEMBA_CHANNELS", "[[channel]]", None),
    ] {
        let config = load(None, set(&[(name, "x")]), &Flags::default()).unwrap();
        let [warning] = config.warnings.as_slice() else { panic!("{name}: {:?}", config.warnings) };
        let hint = warning.hint.as_deref().unwrap();
        assert!(hint.contains(list) && !hint.contains("GEMBA_"), "{name}: {hint}");
        assert_eq!(
            hint.contains("_env"),
            secret.is_some_and(|secret| hint.contains(secret)),
            "{name}: {hint}"
        );
    }
    for name in ["GEMBA_ADMIN__TOKEN", "GEMBA_POLICY__TENANT"] {
        let hint = load(None, set(&[(name, "x")]), &Flags::default()).unwrap_err().hint.unwrap();
        assert!(hint.contains("into a file"), "{name}: {hint}");
    }
    // What the hint says, done.
    let text = format!(
        "{DEV}[[admin.token]]\nname = \"root\"\nrole = \"admin\"\ntoken_env = \"GEMBA_ADMIN_TOKEN\"\n"
    );
    let config = load_text(&text, &[("GEMBA_ADMIN_TOKEN", "0123456789abcdef01234567")]).unwrap();
    assert_eq!(config.warnings, Vec::new());
    assert_eq!(config.tokens[0].secret.kept, Kept::Variable("GEMBA_ADMIN_TOKEN".into()));
    // Every name that is called valid sets a key: its own complaint is about its value.
    for name in environment::valid().iter().filter(|name| *name != "GEMBA_CONFIG") {
        let told = match load(None, set(&[(name, "[{}]")]), &Flags::default()) {
            Ok(_) => continue,
            Err(error) => error.what,
        };
        assert!(!told.contains("unknown key") && !told.contains("a list of tables"), "{name}: {told}");
    }
}

/// The ends of every number's range are taken, and what is beyond them is told with the range.
#[test]
fn the_range_that_an_error_tells_is_the_range_that_is_taken() {
    let edge = "[rabbitmq]\nhosts = [\"a\"]\nusername = \"u\"\npassword_env = \"P\"\n";
    let source = "[[source]]\nname = \"a\"\nscheme = \"hmac\"\n";
    let hook = format!("{HOOK}url = \"https://a.b/\"\n");
    let most = u32::MAX;
    for (section, key, least, most) in [
        ("[ingress]\n", "threads", 0, 65_535),
        ("[ingress]\n", "idle_seconds", 1, most),
        ("[ingress]\n", "connection_seconds", 1, most),
        ("[kanban]\n", "segment_mib", 4, 1024),
        ("[kanban]\n", "low_water_mib", 1, most),
        ("[kanban]\n", "waiting_mib", 1, most),
        ("[kanban]\n", "governors", 1, most),
        ("[kanban]\n", "backlog_mib", 1, most),
        ("[dedup]\n", "signals", 2000, most),
        ("[dedup]\n", "hours", 1, most),
        ("[dead_letters]\n", "retention_days", 1, most),
        ("[dead_letters]\n", "retention_count", 1, most),
        ("[rate_limit]\n", "per_second", 1, most),
        ("[rate_limit]\n", "burst", 1, most),
        ("[governor]\n", "boot_timeout_seconds", 1, most),
        ("[governor]\n", "quota", 0, most),
        ("[governor]\n", "quota_window_seconds", 1, most),
        ("[governor]\n", "mailbox", 0, most),
        ("[governor]\n", "breaker_failures", 1, most),
        ("[governor]\n", "breaker_reset_seconds", 1, most),
        (edge, "partitions", 1, 256),
        (edge, "prefetch", 1, 10_000),
        (edge, "group_size", 1, 99),
        (source, "tolerance_seconds", 0, most),
        (source, "heartbeat_seconds", 5, 604_800),
        ("[alerts]\n", "group_wait_seconds", 0, 3600),
        ("[alerts]\n", "group_interval_seconds", 1, 86_400),
        ("[alerts]\n", "repeat_hours", 1, 720),
        ("[alerts]\n", "dead_letters_per_minute", 0, most),
        (hook.as_str(), "timeout_seconds", 1, 60),
    ] {
        let text = |value: &str| format!("{DEV}{section}{key} = {value}\n");
        for end in [least, most] {
            let taken = load_text(&text(&end.to_string()), &[]);
            assert!(taken.is_ok(), "{key} = {end}: {taken:?}");
        }
        let below = i64::from(least) - 1;
        let above = i64::from(most) + 1;
        for wrong in [below.to_string(), above.to_string(), "\"many\"".into(), "1.5".into(), "true".into()] {
            let told = complaint(&text(&wrong), &[]).0;
            let range = format!("must be a whole number from {least} to {most}, and this is ");
            assert!(told.contains(&range), "{key} = {wrong}: {told}");
        }
    }
}

#[test]
fn no_plane_listens_where_the_other_does() {
    let text = |listen: &str, admin: &str| {
        format!("{DEV}[ingress]\nlisten = \"{listen}\"\n[admin]\nlisten = \"{admin}\"\n")
    };
    for (listen, admin) in [
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        ("127.0.0.1:8080", "0.0.0.0:8080"),
        ("[::]:8080", "[::1]:8080"),
        ("[::]:8080", "127.0.0.1:8080"),
        ("[::ffff:127.0.0.1]:8080", "127.0.0.1:8080"),
    ] {
        let (what, hint) = complaint(&text(listen, admin), &[]);
        let told = format!("`ingress.listen` is {listen} and `admin.listen` {admin}: one holds the other");
        assert!(what.ends_with(&told), "{what}");
        assert_eq!(hint, "give each plane an address of its own");
    }
    for (listen, admin) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("127.0.0.1:8080", "127.0.0.2:8080"),
        ("0.0.0.0:8080", "127.0.0.1:9090"),
    ] {
        assert!(load_text(&text(listen, admin), &[]).is_ok(), "{listen} {admin}");
    }
}

#[test]
fn what_is_not_utf_8_is_a_path_or_a_secret_or_told() {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = |text: &[u8]| OsString::from_vec(text.to_vec());
    let foreign = [
        (bytes(b"X\xff"), bytes(b"\xff")),
        (bytes(b"GEMBA_\xff__A"), bytes(b"a")),
        (bytes(b"Y"), bytes(b"\xff")),
    ];
    load(None, foreign.into_iter(), &Flags::default()).unwrap();
    let ours = [(bytes(b"GEMBA_NODE__NAME"), bytes(b"\xff"))];
    let error = load(None, ours.into_iter(), &Flags::default()).unwrap_err();
    assert_eq!(error.to_string(), "GEMBA_NODE__NAME: its value is not UTF-8");
    let flags = Flags { data_dir: Some(bytes(b"d\xff").into()), role: None };
    assert_eq!(load(None, set(&[]), &flags).unwrap().data_dir.as_os_str(), bytes(b"d\xff"));
}

#[test]
fn every_path_is_refused_that_is_empty() {
    let action = |key: &str| format!("[[action]]\nname = \"a\"\nkind = \"webhook\"\n{key} = \"\"\n");
    let source = "[[source]]\nname = \"a\"\nscheme = \"hmac\"\n";
    let tables = [
        ("node.data_dir", "[node]\ndata_dir = \"\"\n".to_owned()),
        ("receipt.secret_file", "[receipt]\nsecret_file = \" \"\n".to_owned()),
        ("log.key_file", "[log]\nkey_file = \"\"\n".to_owned()),
        ("state.credentials_file", "[state]\ncredentials_file = \"\"\n".to_owned()),
        ("policy.packs", "[policy]\npacks = [\"\"]\n".to_owned()),
        ("policy.tenant.packs", "[[policy.tenant]]\ntenants = [\"a\"]\npacks = [\"\"]\n".to_owned()),
        (
            "admin.token.token_file",
            "[[admin.token]]\nname = \"a\"\nrole = \"admin\"\ntoken_file = \"\"\n".to_owned(),
        ),
        ("source.secret_file", format!("{source}secret_file = \"\"\n")),
        ("source.key.secret_file", format!("{source}[[source.key]]\nname = \"b\"\nsecret_file = \"\"\n")),
        ("action.secret_file", action("secret_file")),
        ("action.ca_file", action("ca_file")),
        ("rabbitmq.password_file", "[rabbitmq]\npassword_file = \"\"\n".to_owned()),
        ("rabbitmq.ca_file", "[rabbitmq]\nca_file = \"\"\n".to_owned()),
    ];
    for (key, text) in tables {
        let (what, _) = complaint(&text, &[]);
        assert!(what.contains(&format!("`{key}` must be a path that is not empty")), "{what}");
    }
    for (variable, value, key) in [
        ("GEMBA_NODE__DATA_DIR", "", "node.data_dir"),
        ("GEMBA_RECEIPT__SECRET_FILE", " ", "receipt.secret_file"),
        ("GEMBA_LOG__KEY_FILE", "", "log.key_file"),
        ("GEMBA_POLICY__PACKS", "[\"\"]", "policy.packs"),
    ] {
        let (what, _) = complaint(DEV, &[(variable, value)]);
        assert!(what.contains(&format!("`{key}` must be a path that is not empty")), "{variable}: {what}");
    }
}
