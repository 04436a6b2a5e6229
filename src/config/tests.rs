use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;

use secrecy::ExposeSecret as _;

use super::secret::Kept;
use super::*;

/// Loads `text` as the file, under `variables`.
fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    std::fs::write(&file, text).unwrap();
    let variables: HashMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(Some(&file), variables.into_iter(), &Flags::default()).map_err(|error| {
        let shown = error.to_string();
        let shown = shown.rsplit_once("node.toml").map_or(shown.as_str(), |(_, rest)| rest);
        ConfigError { place: Place::named(""), what: shown.to_owned(), ..error }
    })
}

fn complaint(text: &str, variables: &[(&str, &str)]) -> (String, String) {
    let error = load_text(text, variables).unwrap_err();
    (error.what, error.hint.unwrap_or_default())
}

const DEV: &str = "[node]\nprofile = \"dev\"\n";

#[test]
fn the_built_in_configuration_is_good() {
    let config = load(None, std::iter::empty(), &Flags::default()).unwrap();
    assert_eq!((config.profile, config.sources.len()), (Profile::Dev, 2));
    assert_eq!(config.sources[0].keys[0].secret.kept, Kept::File("data/signals.secret".into()));
    assert_eq!(config.tokens[0].secret.kept, Kept::File("data/admin.token".into()));
}

#[test]
fn the_shipped_configurations_name_their_secrets() {
    for file in ["config/staging.toml", "config/prod.toml", "config/edge.toml", "config/processor.toml"] {
        let config = load(Some(Path::new(file)), std::iter::empty(), &Flags::default()).unwrap();
        assert_ne!(config.profile, Profile::Dev, "{file}");
    }
}

#[test]
fn flags_win_over_variables_over_file_over_defaults() {
    let text =
        format!("{DEV}data_dir = \"from-file\"\n[governor]\nquota = 7\n[rate_limit]\nper_second = 9\n");
    let variables = [("GEMBA_NODE__DATA_DIR", "from-variable"), ("GEMBA_GOVERNOR__QUOTA", "8")];
    let config = load_text(&text, &variables).unwrap();
    assert_eq!((config.data_dir.to_str(), config.governor.quota), (Some("from-variable"), 8));
    assert_eq!((config.rate_per_second.get(), config.rate_burst), (9, 9));
    assert_eq!(config.governor.mailbox, 1024);
    let flags = Flags { data_dir: Some("from-flag".into()), role: None };
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = load(None, variables.into_iter(), &flags).unwrap();
    assert_eq!(config.data_dir.to_str(), Some("from-flag"));
}

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
        ("[kanban]\nbackend = \"journl\"\n", ":2: `journl` is not a value of this key", "`journal`"),
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
        ("[ingress]\nlisten = \"8080\"\n", ":2: `8080` is not an address and port, such as 127.0.0.1:8080"),
        ("[rate_limit]\nper_second = 0\n", ":2: 0 would let nothing through; the least is 1"),
        ("[governor]\nquota = -1\n", ":2: invalid value: integer `-1`, expected u32"),
        ("[governor]\nbreaker_failures = 0\n", ":2: 0 is too small; the least is 1"),
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
            ":2: `No Name` is not a name: 1 to 64 of a-z, 0-9, dot, underscore and dash",
        ),
        (
            "[[source]]\nname = \"a\"\nscheme = \"slack\"\n",
            ":3: this version has no schemes but `hmac` and `standard-webhooks`",
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
    let error = load(None, one("GEMBA_INGRESS__THREAD", "2"), &Flags::default()).unwrap_err();
    assert_eq!(error.to_string(), "GEMBA_INGRESS__THREAD: unknown key `ingress.thread`");
    let error = load(None, one("GEMBA_INGRESS_THREADS", "2"), &Flags::default()).unwrap_err();
    assert_eq!(error.to_string(), "GEMBA_INGRESS_THREADS: this variable sets nothing");
    let error = load(None, one("GEMBA_GOVERNOR__QUOTA", "many"), &Flags::default()).unwrap_err();
    assert!(error.to_string().starts_with("GEMBA_GOVERNOR__QUOTA: invalid type"), "{error}");
}

fn one(name: &str, value: &str) -> std::vec::IntoIter<(String, String)> {
    vec![(name.to_owned(), value.to_owned())].into_iter()
}

#[test]
fn outside_dev_every_secret_must_be_named() {
    let (what, hint) = complaint("[node]\nname = \"p\"\n", &[]);
    assert_eq!(what, ": an operator's token is missing");
    assert!(hint.contains("admin.token.token_file"), "{hint}");
}

#[test]
fn the_blueprints_variables_name_the_secrets() {
    let variables = [("TAI2030_API_SECRET", "x"), ("TAI2030_SIGNING_KEY", "y")];
    let config = load_text(DEV, &variables).unwrap();
    assert_eq!(config.sources[0].keys[0].secret.kept, Kept::Variable("TAI2030_API_SECRET".into()));
    assert_eq!(config.proof.unwrap().receipt_secret.kept, Kept::Variable("TAI2030_SIGNING_KEY".into()));
}

#[test]
fn names_are_unique() {
    let twice = "[[source]]\nname = \"a\"\nscheme = \"hmac\"\n[[source]]\nname = \"a\"\nscheme = \"hmac\"\n";
    assert_eq!(complaint(&format!("{twice}{DEV}"), &[]).0, ":5: the name `a` is used twice");
}

fn secret_in(dir: &Path, content: &[u8], mode: u32) -> Result<Vec<u8>, String> {
    let path = dir.join("a.secret");
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    let secret = SecretRef { kept: Kept::File(path), what: "the secret".into(), place: Place::named("test") };
    secret.read().map(|secret| secret.expose_secret().to_vec()).map_err(|error| error.to_string())
}

#[test]
fn a_secret_is_long_private_and_not_the_published_one() {
    let dir = tempfile::tempdir().unwrap();
    let good = b"0123456789abcdef01234567";
    assert_eq!(secret_in(dir.path(), b"0123456789abcdef01234567\n", 0o600), Ok(good.to_vec()));
    let refusals: [(&[u8], u32, &str); 5] = [
        (good, 0o644, "may be read or written by others (mode 0644)"),
        (b"short", 0o600, "it has 5 bytes; at least 24 are needed"),
        (b"default_secret", 0o600, "published fallback"),
        (b"default\n", 0o600, "published fallback"),
        (&[b'x'; 5000], 0o600, "this is no secret"),
    ];
    for (content, mode, why) in refusals {
        let told = secret_in(dir.path(), content, mode).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn missing_secrets_are_made_once_and_only_for_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    let flags = Flags { data_dir: Some(dir.path().join("data")), role: None };
    let config = load(None, std::iter::empty(), &flags).unwrap();
    let made = config.create_secrets().unwrap();
    assert_eq!(made.len(), 5, "two sources, a token, the receipts' secret, the log's key");
    for (_, path) in &made {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(config.sources[1].keys[0].secret.read().unwrap().expose_secret().starts_with(b"whsec_"));
    let log_key = config.proof.as_ref().unwrap().log_key.clone();
    let before = log_key.read().unwrap();
    assert!(config.create_secrets().unwrap().is_empty());
    assert_eq!(log_key.read().unwrap().expose_secret(), before.expose_secret());
    assert!(!format!("{config:?}{before:?}").contains(std::str::from_utf8(before.expose_secret()).unwrap()));
}

const HOOK: &str = "[[action]]\nname = \"page\"\nkind = \"webhook\"\n";
const QUEUE: &str = "[[action]]\nname = \"queue\"\nkind = \"amqp\"\n";
const BROKER: &str = "[rabbitmq]\nhosts = [\"one\", \"two:5673\", \"[::1]:5674\"]\nusername = \"gemba\"\n";

#[test]
fn actions_of_all_kinds_are_read() {
    let hook = format!("{HOOK}url = \"https://example.com/h?t=1\"\ntimeout_seconds = 3\n");
    let queue = format!("{QUEUE}routing_key = \"q\"\n{BROKER}password_env = \"PASSWORD\"\n");
    let log = "[[action]]\nname = \"audit\"\nkind = \"log\"\n";
    let config = load_text(&format!("{DEV}data_dir = \"d\"\n{hook}{log}{queue}"), &[]).unwrap();
    let [page, audit, queue] = config.actions.as_slice() else { panic!("{:?}", config.actions) };
    assert_eq!((page.timeout.as_secs(), audit.timeout.as_secs()), (3, 10));
    let ActionKind::Webhook(webhook) = &page.kind else { panic!("{page:?}") };
    assert_eq!(
        (webhook.url.to_string().as_str(), webhook.allow_private),
        ("https://example.com/h?t=1", false)
    );
    assert_eq!(webhook.secret.kept, Kept::File("d/page.secret".into()));
    assert!(!format!("{config:?}").contains("example.com/h"), "a URL may be a secret");
    assert!(
        matches!(&queue.kind, ActionKind::Amqp { exchange, routing_key } if exchange.is_empty() && routing_key == "q")
    );
    let broker = config.broker.unwrap();
    let hosts = [("one".to_owned(), 5672), ("two".to_owned(), 5673), ("::1".to_owned(), 5674)];
    assert_eq!((broker.hosts.as_slice(), broker.vhost.as_str()), (hosts.as_slice(), "/"));
}

#[test]
fn an_action_that_cannot_be_meant_is_told_with_its_line() {
    let table = [
        (HOOK.to_owned(), ":1: action `page` has no `url`", ""),
        (format!("{HOOK}url = \"example.com\"\n"), ":4: this is no URL of the form https://host/path", ""),
        (
            format!("{HOOK}url = \"ftp://example.com/\"\n"),
            ":4: this is no URL of the form https://host/path",
            "",
        ),
        (
            format!("{HOOK}url = \"https://me:secret@example.com/\"\n"),
            ":4: a URL with a user and a password is not called; the signature says who calls",
            "",
        ),
        (
            format!("{HOOK}url = \"http://127.0.0.1/\"\n"),
            ":4: action `page` would be sent without TLS",
            "`allow_private = true`",
        ),
        (
            format!("{HOOK}url = \"https://a.b/\"\ntimeout_seconds = 61\n"),
            ":5: 61 is no time for a try: 1 to 60, which is all that an action has",
            "",
        ),
        (
            format!("{HOOK}url = \"http://a.b/\"\nallow_private = true\nca_file = \"c\"\n"),
            ":6: `ca_file` means nothing to a URL without TLS",
            "",
        ),
        (
            format!("{HOOK}routing_key = \"x\"\n"),
            ":4: `routing_key` means nothing to an action of kind `webhook`",
            "kind `amqp`",
        ),
        (
            "[[action]]\nname = \"audit\"\nkind = \"log\"\nallow_private = false\n".to_owned(),
            ":4: `allow_private` means nothing to an action of kind `log`",
            "kind `webhook`",
        ),
        (
            format!("{}url = \"https://a.b/\"\n", HOOK.replace("page", "signals")),
            ":1: action `signals` has the secret of source `signals`",
            "of its own",
        ),
        (
            format!("{QUEUE}{BROKER}password_env = \"P\"\n"),
            ":1: action `queue` has no `routing_key`",
            "the queue's name",
        ),
        (format!("{QUEUE}routing_key = \"q\"\n"), ":1: action `queue` has no broker", "[rabbitmq]"),
        (
            format!("{QUEUE}routing_key = \"{}\"\n", "q".repeat(256)),
            ":4: it has 256 bytes; AMQP takes 255 at most",
            "",
        ),
        (BROKER.to_owned(), ":2: `rabbitmq.password_file` is missing", "`rabbitmq.password_env`"),
        ("[rabbitmq]\nvhost = \"x\"\n".to_owned(), ":2: `rabbitmq.hosts` is missing", ""),
        (
            "[rabbitmq]\nhosts = [\"amqp://one\"]\n".to_owned(),
            ":2: `amqp://one` is no host and port, such as rabbit-1.example.com:5672",
            "",
        ),
        ("[rabbitmq]\nhost = \"x\"\n".to_owned(), ":2: unknown key `rabbitmq.host`", "`rabbitmq.hosts`"),
    ];
    for (text, what, hint) in table {
        let (told, hinted) = complaint(&format!("{text}{DEV}"), &[]);
        assert_eq!(told, what);
        assert!(hinted.contains(hint), "{hinted}");
    }
}

#[test]
fn edges_and_processors_are_told_their_queues() {
    let password = "password_env = \"PASSWORD\"\n";
    let plain = load_text(&format!("{BROKER}{password}{DEV}role = \"edge\"\n"), &[]).unwrap();
    let queues = plain.broker.unwrap().queues;
    assert_eq!((plain.role, queues.name.as_str(), queues.partitions), (NodeRole::Edge, "tai2030.signals", 1));
    assert_eq!((queues.kind, queues.durable, queues.prefetch), (QueueType::Quorum, true, 10));
    let keys = "tls = true\nqueue = \"q\"\npartitions = 4\nconsume = [3, 1, 3]\nprefetch = 7\ngroup_size = 5\nadopt = true\n";
    let state = "[state]\nstore = \"embedded\"\nproject = \"tai2030\"\n[kanban]\nbackend = \"rabbitmq\"\nbacklog_mib = 64\n";
    let text = format!("{BROKER}{password}{keys}{state}{DEV}role = \"processor\"\n");
    let full = load_text(&text, &[]).unwrap();
    let broker = full.broker.unwrap();
    assert_eq!(broker.hosts[0], ("one".to_owned(), 5671));
    assert_eq!((broker.queues.consumed, broker.queues.prefetch), (vec![1, 3], 7));
    assert_eq!((broker.queues.group_size, broker.queues.adopt), (Some(5), true));
    assert_eq!((full.role, full.backlog_bytes), (NodeRole::Processor, Some(64 << 20)));
    // In production an edge has no log to sign, and a processor nobody to verify.
    let prod = |role: &str, secrets: &str| {
        let node = format!("[node]\nprofile = \"prod\"\nrole = \"{role}\"\n{secrets}");
        let token = "[[admin.token]]\nname = \"root\"\nrole = \"admin\"\ntoken_env = \"TOKEN\"\n";
        load_text(&format!("{BROKER}{password}{node}{token}"), &[])
            .map(|config| (config.proof.is_some(), config.sources.len()))
    };
    let source = "[[source]]\nname = \"signals\"\nscheme = \"hmac\"\nsecret_env = \"S\"\n";
    let proof = "[receipt]\nsecret_env = \"R\"\n[log]\nkey_env = \"L\"\n";
    assert_eq!(prod("edge", source).unwrap(), (false, 1));
    assert_eq!(prod("processor", proof).unwrap(), (true, 0));
    assert!(prod("edge", "").is_err() && prod("processor", "").is_err());
    let dev = load_text(&format!("{BROKER}{password}durable = false\n{DEV}"), &[]).unwrap();
    assert_eq!(dev.broker.unwrap().queues.kind, QueueType::Classic);
    let wrong = [
        ("partitions = 0\n", ":5: 0 is not between 1 and 256"),
        (
            "partitions = 2\nconsume = [2]\n",
            ":6: there is no partition 2: `rabbitmq.partitions` is 2, the first is 0",
        ),
        ("consume = []\n", ":5: a processor that takes from no partition has nothing to do"),
        ("durable = false\nqueue_type = \"quorum\"\n", ":5: a quorum queue is durable"),
        ("queue_type = \"classic\"\ngroup_size = 3\n", ":6: a classic queue has no group of replicas"),
        ("ca_file = \"ca.pem\"\n", ":5: `ca_file` means nothing without `rabbitmq.tls = true`"),
        (
            "queue = \"amq.x\"\n",
            ":5: `amq.x` is no queue of ours: 1 to 200 printable characters, not `amq.…`",
        ),
        ("prefetch = 10001\n", ":5: 10001 is not between 1 and 10000"),
    ];
    for (keys, what) in wrong {
        assert_eq!(complaint(&format!("{BROKER}{password}{keys}{DEV}"), &[]).0, what);
    }
}

#[test]
fn processors_may_share_their_state() {
    let broker = format!("{BROKER}password_env = \"PASSWORD\"\n");
    let shares =
        |state: &str| format!("{broker}[state]\nstore = \"firestore\"\n{state}{DEV}role = \"processor\"\n");
    let of = |state: &str, variables: &[(&str, &str)]| load_text(&shares(state), variables).unwrap();
    let usual = of("", &[]);
    let firestore = usual.firestore.unwrap();
    assert_eq!((firestore.project.as_str(), firestore.database.as_str()), ("tai2030", "(default)"));
    assert_eq!((firestore.credentials, usual.broker.unwrap().queues.prefetch), (Credentials::Machine, 1000));
    let key =
        |variables: &[(&str, &str)], state: &str| match of(state, variables).firestore.unwrap().credentials {
            Credentials::KeyFile(key) => key.kept,
            other => panic!("{other:?}"),
        };
    let named = ("GOOGLE_APPLICATION_CREDENTIALS", "/a.json");
    assert_eq!(key(&[named], ""), Kept::File("/a.json".into()));
    assert_eq!(key(&[named], "credentials_file = \"/b.json\"\n"), Kept::File("/b.json".into()));
    let emulator =
        of("project = \"p\"\n", &[named, ("FIRESTORE_EMULATOR_HOST", "127.0.0.1:8080")]).firestore.unwrap();
    assert_eq!(emulator.credentials, Credentials::Emulator("127.0.0.1:8080".to_owned()));
    assert!(load_text(&format!("[state]\nproject = \"p\"\n{DEV}"), &[]).unwrap().firestore.is_none());
    let (told, hint) = complaint(&format!("[state]\nstore = \"firestore\"\n{DEV}"), &[]);
    assert_eq!(told, ":2: only processors share their state: a node with another role keeps it on its disk");
    assert!(hint.contains("`embedded`"), "{hint}");
    let (told, _) = complaint(&shares("project = \"a/b\"\n"), &[]);
    assert_eq!(told, ":7: `a/b` is no name of a project of Firestore");
}

#[test]
fn a_webhooks_secret_is_made_in_dev_in_its_form() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let text = format!("{DEV}data_dir = \"{}\"\n{HOOK}url = \"https://a.b/\"\n", data_dir.display());
    let config = load_text(&text, &[]).unwrap();
    config.create_secrets().unwrap();
    let made = std::fs::read(data_dir.join("page.secret")).unwrap();
    assert!(made.starts_with(b"whsec_"));
}
