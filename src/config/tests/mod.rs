//! The configuration as a whole; its parts in the files beside this one.

mod alerts;
mod channels;
mod secrets;
mod values;

use super::layer::Profile;
use super::secret::Kept;
use super::*;

/// Loads `text` as the file, under `variables`.
fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    std::fs::write(&file, text).unwrap();
    load(Some(&file), set(variables), &Flags::default()).map_err(|error| {
        let shown = error.to_string();
        let shown = shown.rsplit_once("node.toml").map_or(shown.as_str(), |(_, rest)| rest);
        ConfigError { place: Place::named(""), what: shown.to_owned(), ..error }
    })
}

/// These variables, as the system hands them over.
fn set(variables: &[(&str, &str)]) -> std::vec::IntoIter<(OsString, OsString)> {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    variables.collect::<Vec<_>>().into_iter()
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
    let config = load(None, set(&variables), &flags).unwrap();
    assert_eq!(config.data_dir.to_str(), Some("from-flag"));
}

#[test]
fn outside_dev_every_secret_must_be_named() {
    let (what, hint) = complaint("[node]\nname = \"p\"\n", &[]);
    assert_eq!(what, ": an operator's token is missing");
    assert!(hint.contains("[[admin.token]]") && hint.contains("token_file"), "{hint}");
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
        (
            format!("{HOOK}url = \"example.com\"\n"),
            ":4: `action.url`: this is no URL of the form https://host/path",
            "",
        ),
        (
            format!("{HOOK}url = \"ftp://example.com/\"\n"),
            ":4: `action.url`: this is no URL of the form https://host/path",
            "",
        ),
        (
            format!("{HOOK}url = \"https://me:secret@example.com/\"\n"),
            ":4: `action.url`: a URL with a user and a password is not called; the signature says who calls",
            "",
        ),
        (
            format!("{HOOK}url = \"http://127.0.0.1/\"\n"),
            ":4: action `page` would be sent without TLS",
            "`allow_private = true`",
        ),
        (
            format!("{HOOK}url = \"https://a.b/\"\ntimeout_seconds = 61\n"),
            ":5: `action.timeout_seconds` must be a whole number from 1 to 60, and this is 61",
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
            format!("{QUEUE}{BROKER}password_env = \"P\"\n"),
            ":1: action `queue` has no `routing_key`",
            "the queue's name",
        ),
        (format!("{QUEUE}routing_key = \"q\"\n"), ":1: action `queue` has no broker", "[rabbitmq]"),
        (
            format!("{QUEUE}routing_key = \"{}\"\n", "q".repeat(256)),
            ":4: `action.routing_key`: it has 256 bytes; AMQP takes 255 at most",
            "",
        ),
        (BROKER.to_owned(), ":2: `rabbitmq.password_file` is missing", "`rabbitmq.password_env`"),
        ("[rabbitmq]\nvhost = \"x\"\n".to_owned(), ":2: `rabbitmq.hosts` is missing", ""),
        (
            "[rabbitmq]\nhosts = [\"amqp://one\"]\n".to_owned(),
            ":2: `rabbitmq.hosts`: `amqp://one` is no host and port, such as rabbit-1.example.com:5672",
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
    let key = "[[rabbitmq.key]]\nname = \"k1\"\nsecret_env = \"M\"\n";
    // In production an edge has no log to sign, and a processor nobody to verify.
    let prod = |role: &str, secrets: &str| {
        let node = format!("[node]\nprofile = \"prod\"\nrole = \"{role}\"\n{secrets}");
        let token = "[[admin.token]]\nname = \"root\"\nrole = \"admin\"\ntoken_env = \"TOKEN\"\n";
        load_text(&format!("{BROKER}{password}{key}{node}{token}"), &[])
            .map(|config| (config.proof.is_some(), config.sources.len()))
    };
    let source = "[[source]]\nname = \"signals\"\nscheme = \"hmac\"\nsecret_env = \"S\"\n";
    let proof = "[receipt]\nsecret_env = \"R\"\n[log]\nkey_env = \"L\"\n";
    assert_eq!(prod("edge", source).unwrap(), (false, 1));
    assert_eq!(prod("processor", proof).unwrap(), (true, 0));
    // Who decides looks for what is silent, wherever that sends to.
    let expected = |role: &str, secrets: &str| {
        let node = format!(
            "[node]\nprofile = \"prod\"\nrole = \"{role}\"\n{secrets}{source}heartbeat_seconds = 60\n"
        );
        let token = "[[admin.token]]\nname = \"root\"\nrole = \"admin\"\ntoken_env = \"TOKEN\"\n";
        load_text(&format!("{BROKER}{password}{key}{node}{token}"), &[]).unwrap().expected_sources
    };
    let signals = ExpectedSource { name: "signals".into(), every: std::time::Duration::from_mins(1) };
    assert_eq!((expected("processor", proof), expected("edge", "")), (vec![signals], Vec::new()));
    assert!(prod("edge", "").is_err() && prod("processor", "").is_err());
    let dev = load_text(&format!("{BROKER}{password}durable = false\n{DEV}"), &[]).unwrap();
    assert_eq!(dev.broker.unwrap().queues.kind, QueueType::Classic);
    let wrong = [
        ("partitions = 0\n", ":5: `rabbitmq.partitions` must be a whole number from 1 to 256, and this is 0"),
        (
            "partitions = 2\nconsume = [2]\n",
            ":6: `rabbitmq.consume`: there is no partition 2: `rabbitmq.partitions` is 2, the first is 0",
        ),
        (
            "consume = []\n",
            ":5: `rabbitmq.consume`: a processor that takes from no partition has nothing to do",
        ),
        ("durable = false\nqueue_type = \"quorum\"\n", ":5: a quorum queue is durable"),
        ("queue_type = \"classic\"\ngroup_size = 3\n", ":6: a classic queue has no group of replicas"),
        ("ca_file = \"ca.pem\"\n", ":5: `ca_file` means nothing without `rabbitmq.tls = true`"),
        (
            "queue = \"amq.x\"\n",
            ":5: `rabbitmq.queue`: `amq.x` is no queue of ours: 1 to 200 printable characters, not `amq.…`",
        ),
        (
            "prefetch = 10001\n",
            ":5: `rabbitmq.prefetch` must be a whole number from 1 to 10000, and this is 10001",
        ),
    ];
    for (keys, what) in wrong {
        assert_eq!(complaint(&format!("{BROKER}{password}{keys}{DEV}"), &[]).0, what);
    }
}

#[test]
fn messages_are_vouched_for_with_keys_that_are_named() {
    let key = |name: &str| format!("[[rabbitmq.key]]\nname = \"{name}\"\nsecret_env = \"K_{name}\"\n");
    let token = "[[admin.token]]\nname = \"root\"\nrole = \"admin\"\ntoken_env = \"TOKEN\"\n";
    let source = "[[source]]\nname = \"signals\"\nscheme = \"hmac\"\nsecret_env = \"S\"\n";
    let load = |profile: &str, role: &str, keys: &str| {
        let node = format!("[node]\nprofile = \"{profile}\"\nrole = \"{role}\"\n");
        let secrets = "[receipt]\nsecret_env = \"R\"\n[log]\nkey_env = \"L\"\n";
        load_text(&format!("{BROKER}password_env = \"P\"\n{keys}{node}{token}{source}{secrets}"), &[])
    };
    for (profile, role) in
        [("prod", "edge"), ("prod", "processor"), ("staging", "edge"), ("staging", "processor")]
    {
        let error = load(profile, role, "").unwrap_err();
        assert!(error.what.contains("`rabbitmq.key` is missing"), "{error}");
        assert!(error.hint.unwrap().contains("openssl rand"));
        let both = load(profile, role, &format!("{}{}", key("b"), key("a"))).unwrap().broker.unwrap();
        let names: Vec<&str> = both.keys.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(names, ["b", "a"], "the first one signs");
    }
    // One node sends itself nothing, and in development the key may be derived.
    assert!(load("prod", "all", "").unwrap().broker.unwrap().keys.is_empty());
    assert!(load("dev", "edge", "").unwrap().broker.unwrap().keys.is_empty());
    let error = load("prod", "edge", &format!("{}{}", key("a"), key("a"))).unwrap_err();
    assert!(error.what.contains("the name `a` is used twice"), "{error}");
    let many: String = (0..9).map(|number| key(&format!("k{number}"))).collect();
    assert!(load("prod", "edge", &many).unwrap_err().what.contains("there are at most 8"));
    let bare = "[[rabbitmq.key]]\nname = \"a\"\n";
    assert!(load("prod", "edge", bare).unwrap_err().what.contains("the key `a` of messages is missing"));
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
    assert_eq!(told, ":7: `state.project`: `a/b` is no name of a project of Firestore");
}

#[test]
fn an_emulator_is_for_development_alone() {
    let state = "[state]\nstore = \"firestore\"\n";
    let token = "[[admin.token]]\nname = \"root\"\nrole = \"admin\"\ntoken_env = \"TOKEN\"\n";
    let secrets = "[receipt]\nsecret_env = \"R\"\n[log]\nkey_env = \"L\"\n";
    let key = "[[rabbitmq.key]]\nname = \"k1\"\nsecret_env = \"M\"\n";
    let load = |profile: &str, variables: &[(&str, &str)]| {
        let node = format!("[node]\nrole = \"processor\"\nprofile = \"{profile}\"\n");
        load_text(&format!("{BROKER}password_env = \"P\"\n{key}{state}{node}{token}{secrets}"), variables)
    };
    let emulator = [("FIRESTORE_EMULATOR_HOST", "127.0.0.1:8080")];
    for profile in ["prod", "staging"] {
        let error = load(profile, &emulator).unwrap_err();
        assert!(error.what.contains("FIRESTORE_EMULATOR_HOST: an emulator is asked without TLS"), "{error}");
        assert_eq!(load(profile, &[]).unwrap().firestore.unwrap().credentials, Credentials::Machine);
    }
    let credentials = load("dev", &emulator).unwrap().firestore.unwrap().credentials;
    assert_eq!(credentials, Credentials::Emulator("127.0.0.1:8080".into()));
}
