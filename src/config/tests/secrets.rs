//! Secrets: what a file must be, who chooses them, and that each has one use.

use std::os::unix::fs::PermissionsExt as _;

use secrecy::ExposeSecret as _;

use super::super::secret::{Chooser, Kept, SecretRef, Written};
use super::*;

/// An action that needs the broker.
const PUBLISHES: &str = "[[action]]\nname = \"queue\"\nkind = \"amqp\"\nrouting_key = \"q\"\n";

fn secret_in(dir: &Path, content: &[u8], mode: u32, chosen_by: Chooser) -> Result<Vec<u8>, String> {
    let path = dir.join("a.secret");
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    read(Kept::File(path), chosen_by)
}

fn read(kept: Kept, chosen_by: Chooser) -> Result<Vec<u8>, String> {
    let secret = SecretRef {
        kept,
        what: "the secret".into(),
        key: "a.secret_file".into(),
        place: Place::named("test"),
        chosen_by,
    };
    secret.read().map(|secret| secret.expose_secret().to_vec()).map_err(|error| error.to_string())
}

#[test]
fn a_secret_is_long_private_and_not_the_published_one() {
    let dir = tempfile::tempdir().unwrap();
    let good = b"0123456789abcdef01234567";
    let ours = |content: &[u8], mode| secret_in(dir.path(), content, mode, Chooser::Us(Written::Hex));
    assert_eq!(ours(b"0123456789abcdef01234567\n", 0o600), Ok(good.to_vec()));
    let refusals: [(&[u8], u32, &str); 7] = [
        (good, 0o644, "everybody may read it (mode 0644"),
        (good, 0o660, "may write it (mode 0660"),
        (b"short", 0o600, "it has 5 bytes; at least 24 are needed"),
        (b"\n", 0o600, "it is empty"),
        (b"default_secret", 0o600, "published fallback"),
        (b"default\n", 0o600, "published fallback"),
        (&[b'x'; 5000], 0o600, "longer than 4096 bytes"),
    ];
    for (content, mode, why) in refusals {
        let told = ours(content, mode).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn what_a_peer_has_chosen_is_taken_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = |content: &[u8], mode| secret_in(dir.path(), content, mode, Chooser::Peer);
    for (written, read) in
        [(&b"guest\n"[..], &b"guest"[..]), (b"default\r\n", b"default"), (b" a b \n", b" a b "), (b"x", b"x")]
    {
        assert_eq!(theirs(written, 0o600), Ok(read.to_vec()));
    }
    for (content, mode, why) in
        [(&b"\n"[..], 0o600, "it is empty"), (b"guest", 0o604, "everybody may read it")]
    {
        let told = theirs(content, mode).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn a_secret_is_never_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    for path in [pipe, "/dev/zero".into(), dir.path().to_owned()] {
        let told = read(Kept::File(path), Chooser::Us(Written::Hex)).unwrap_err();
        assert!(told.contains("not a regular file"), "{told}");
    }
    // As Kubernetes mounts one: a link to a link to the file.
    std::fs::create_dir(dir.path().join("..one")).unwrap();
    std::fs::write(dir.path().join("..one/a"), "0123456789abcdef01234567").unwrap();
    std::fs::set_permissions(dir.path().join("..one/a"), std::fs::Permissions::from_mode(0o400)).unwrap();
    std::os::unix::fs::symlink("..one", dir.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a", dir.path().join("a")).unwrap();
    assert!(read(Kept::File(dir.path().join("a")), Chooser::Us(Written::Hex)).is_ok());
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

/// A configuration with these two secrets in files, one of the source `a`, and one elsewhere.
fn sharing(dir: &Path, one: &str, section: &str, other: &str) -> Result<Secrets, ConfigError> {
    let write = |name: &str, content: &str| {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let (one, other) = (write("one", one), write("other", other));
    let source = format!("[[source]]\nname = \"a\"\nscheme = \"hmac\"\nsecret_file = \"{one}\"\n");
    let data = dir.join("data").display().to_string();
    let section = section.replace("FILE", &other);
    load_text(&format!("{source}{section}{DEV}data_dir = \"{data}\"\n"), &[])
        .unwrap()
        .read_secrets(Missing::Assume)
}

#[test]
fn a_secret_has_one_use() {
    const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let coded = format!("whsec_{}", data_encoding::BASE64.encode(KEY.as_bytes()));
    let hook = format!("{HOOK}url = \"https://a.b/\"\nsecret_file = \"FILE\"\n");
    let broker = format!("{PUBLISHES}{BROKER}password_file = \"FILE\"\n");
    let messages = format!(
        "{PUBLISHES}{BROKER}password_env = \"PATH\"\n[[rabbitmq.key]]\nname = \"m\"\nsecret_file = \"FILE\"\n"
    );
    let sections = [
        (
            "[[source]]\nname = \"b\"\nscheme = \"hmac\"\nsecret_file = \"FILE\"\n",
            KEY,
            "the secret of source `b`",
        ),
        (
            "[[source]]\nname = \"b\"\nscheme = \"standard-webhooks\"\nsecret_file = \"FILE\"\n",
            coded.as_str(),
            "the secret of source `b`",
        ),
        ("[[source.key]]\nname = \"new\"\nsecret_file = \"FILE\"\n", KEY, "the key `new` of source `a`"),
        (&hook, &coded, "the secret of action `page`"),
        ("[[admin.token]]\nname = \"t\"\nrole = \"viewer\"\ntoken_file = \"FILE\"\n", KEY, "the token `t`"),
        ("[receipt]\nsecret_file = \"FILE\"\n", KEY, "the receipts' secret"),
        ("[log]\nkey_file = \"FILE\"\n", KEY, "the log's signing key"),
        (&broker, KEY, "the broker's password"),
        (&messages, KEY, "the key `m` of messages"),
    ];
    for (section, other, what) in sections {
        let dir = tempfile::tempdir().unwrap();
        let error = sharing(dir.path(), KEY, section, other).unwrap_err();
        assert_eq!(error.what, format!("{what}: it is the same as the secret of source `a`"));
        let different = other.replacen('0', "1", 1).replacen("MDEy", "MTEy", 1);
        sharing(dir.path(), KEY, section, &different).unwrap_or_else(|error| panic!("{section}: {error}"));
    }
    // One file under two names, and one that is not made yet.
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(dir.path().join("one"), dir.path().join("link")).unwrap();
    let link = hook.replace("FILE", &dir.path().join("link").display().to_string());
    let error = sharing(dir.path(), &coded, &link, "").unwrap_err();
    assert!(error.what.ends_with("it is the same as the secret of source `a`"), "{error}");
    let both = format!("{}url = \"https://a.b/\"\n", HOOK.replace("page", "signals"));
    let both = load_text(&format!("{both}{DEV}data_dir = \"{}\"\n", dir.path().display()), &[]).unwrap();
    let error = both.read_secrets(Missing::Assume).unwrap_err();
    assert_eq!(
        error.what,
        "the secret of action `signals`: it is the same as the secret of source `signals`"
    );
}

#[test]
fn an_empty_secret_names_its_file_or_variable_its_key_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.secret");
    std::fs::write(&path, b" \n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (what, key, place) = ("the secret".to_owned(), "a.secret_file".to_owned(), Place::named("test"));
    let kept = Kept::File(path.clone());
    let error =
        SecretRef { kept, what, key, place, chosen_by: Chooser::Us(Written::Hex) }.read().unwrap_err();
    let shown = path.display().to_string();
    assert!(error.what.contains(&format!("the file {shown} (`a.secret_file`): it is empty")), "{error}");
    assert!(error.hint.unwrap().contains(&shown));
}

/// A hint makes a secret in the form that its user takes.
#[test]
fn a_missing_secret_is_made_in_the_form_of_its_scheme() {
    let hint = |text: &str, variable: Option<(&str, &str)>| {
        let set: Vec<_> = variable.into_iter().collect();
        let config = load_text(&format!("[node]\nprofile = \"prod\"\ndata_dir = \"/nowhere\"\n{text}"), &set);
        config.unwrap().read_secrets(Missing::Refuse).unwrap_err().hint.unwrap()
    };
    let rest = "[receipt]\nsecret_file = \"/nowhere/r\"\n[log]\nkey_file = \"/nowhere/l\"\n\
                [[admin.token]]\nname = \"root\"\nrole = \"admin\"\ntoken_file = \"/nowhere/t\"\n";
    let source =
        |scheme: &str, kept: &str| format!("{rest}[[source]]\nname = \"a\"\nscheme = \"{scheme}\"\n{kept}");
    let (hex, whsec) = ("$(openssl rand -hex 32)", "whsec_$(openssl rand -base64 32)");
    for (scheme, made) in [("hmac", hex), ("standard-webhooks", whsec)] {
        let file = hint(&source(scheme, "secret_file = \"/nowhere/s\"\n"), None);
        assert_eq!(file, format!("make one: (umask 077; echo \"{made}\" > /nowhere/s)"));
        let variable = hint(&source(scheme, "secret_env = \"GEMBA_NO_SUCH\"\n"), None);
        assert_eq!(variable, format!("make one: export GEMBA_NO_SUCH=\"{made}\""));
        let key = "[[source.key]]\nname = \"k\"\nsecret_file = \"/nowhere/k\"\n";
        assert!(hint(&source(scheme, key), None).contains(made), "{scheme}");
    }
    // What another has chosen is not made, not even in dev.
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().display();
    let broker = format!(
        "{PUBLISHES}{DEV}data_dir = \"{data_dir}\"\n[rabbitmq]\nhosts = [\"a\"]\nusername = \"u\"\n\
         password_file = \"{data_dir}/p\"\n"
    );
    let config = load_text(&broker, &[]).unwrap();
    config.create_secrets().unwrap();
    assert!(!dir.path().join("p").exists());
    let error = config.read_secrets(Missing::Refuse).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("write what the other side has given this node"), "{error}");
}

/// The built-in configuration names a RabbitMQ as it is after its installation.
#[test]
fn in_development_the_password_of_a_fresh_broker_is_written_down_where_a_broker_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let flags = |role: &str| Flags { role: Some(role.into()), data_dir: Some(dir.path().into()) };
    let password = dir.path().join("rabbitmq.password");
    for (role, is_made) in [("all", false), ("edge", true), ("processor", true)] {
        let config = load(None, set(&[]), &flags(role)).unwrap();
        config.create_secrets().unwrap();
        config.read_secrets(Missing::Refuse).unwrap();
        assert_eq!(password.exists(), is_made, "{role}");
    }
    assert_eq!(std::fs::read_to_string(&password).unwrap(), "guest\n");
    // Of any other user, a password is known to nobody here.
    let (what, _) = complaint(&format!("{PUBLISHES}{BROKER}{DEV}"), &[]);
    assert!(what.ends_with("`rabbitmq.password_file` is missing"), "{what}");
}

/// One file serves every role: nobody needs a secret of what another role does.
#[test]
fn a_role_needs_its_own_secrets_alone() {
    let names = |file: &str, role: &str| {
        let flags = Flags { role: Some(role.into()), data_dir: None };
        let config = load(Some(Path::new(file)), set(&[]), &flags).unwrap();
        let mut names: Vec<String> = config
            .secrets()
            .map(|secret| secret.path().unwrap().file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names.join(" ")
    };
    for (role, expected) in [
        ("all", "admin.token log.key notify.secret receipt.secret signals.secret webhooks.secret"),
        ("edge", "admin.token messages.key rabbitmq.password signals.secret webhooks.secret"),
        ("processor", "admin.token log.key messages.key notify.secret rabbitmq.password receipt.secret"),
    ] {
        assert_eq!(names("config/staging.toml", role), expected);
        assert_eq!(names("config/prod.toml", role).replace(" dashboards.token", ""), expected);
    }
    let flags = Flags { role: Some("edge".into()), data_dir: None };
    let edge = load(Some(Path::new("config/prod.toml")), set(&[]), &flags).unwrap();
    assert!(edge.actions.is_empty() && edge.policy.packs.is_empty(), "an edge decides on nothing");
}

#[test]
fn one_key_in_two_spellings_is_one_secret() {
    let hex = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap();
    let whsec = format!("whsec_{}", data_encoding::BASE64.encode(&bytes));
    for other in [hex.to_lowercase(), hex.to_uppercase(), format!("  {hex}\n"), whsec] {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path.display().to_string()
        };
        let (key, secret) = (write("k", hex), write("s", &other));
        let text = format!("{DEV}[log]\nkey_file = \"{key}\"\n[receipt]\nsecret_file = \"{secret}\"\n");
        let error = load_text(&text, &[]).unwrap().read_secrets(Missing::Assume).unwrap_err();
        assert!(error.what.contains("it is the same as"), "{error}");
    }
}
