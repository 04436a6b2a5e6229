//! What a node's process takes from its machine, and what it leaves there: users and modes, variables, secrets, processors.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::node::{Node, PATIENCE, READY, signal};
use crate::program::{PROGRAM, command, command_of};

/// Who a node runs as that is not root, and a group that is not its user's.
const USER: u32 = 54_321;
const GROUP: u32 = 54_322;

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A file with this content, for its owner alone.
fn write(path: &Path, content: &str) -> String {
    std::fs::write(path, content).unwrap();
    chmod(path, 0o600);
    path.display().to_string()
}

/// Everything below `dir`, and `dir`.
fn tree(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let below = entries.flat_map(|path| if path.is_dir() { tree(&path) } else { vec![path] });
    below.chain([dir.to_owned()]).collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs to its end, which must come by itself; how it ended, and what it said.
fn ended(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("it runs on: {:?}", child.wait_with_output().unwrap());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// A node that was started otherwise than in the other tests; it is killed when it is dropped.
struct Started(Child);

impl Started {
    /// Waits until it takes signals; panics with what it said where it ends before.
    fn new(command: &mut Command) -> Self {
        let mut started = Self(command.spawn().unwrap());
        let mut lines = BufReader::new(started.0.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = Vec::new();
        while let Some(line) = lines.next() {
            said.push(line);
            if said.last().unwrap().contains(READY) {
                std::thread::spawn(move || lines.for_each(drop));
                return started;
            }
        }
        panic!("it ended: {said:#?}");
    }

    fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.0.id()).into()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn nobody_else_reads_what_a_node_writes() {
    let dir = tempfile::tempdir().unwrap();
    let open = |dir: &Path| {
        let found = tree(&dir.join("data")).into_iter().filter(|path| mode(path) & 0o077 != 0);
        found.collect::<Vec<_>>()
    };
    let mut node = Node::start_in(dir.path(), &[]);
    assert_eq!(node.post("application/json", signal("acme", "vm", "s-1").as_bytes()).status, 202);
    node.decided("acme", "s-1");
    assert!(node.terminate().success());
    assert_eq!(open(dir.path()), Vec::<PathBuf>::new());
    // As an earlier version, or a volume's group, left it.
    for path in tree(&dir.path().join("data")) {
        let is_secret = path
            .extension()
            .is_some_and(|extension| ["secret", "key", "token"].iter().any(|secret| extension == *secret));
        chmod(&path, mode(&path) | if is_secret { 0o060 } else { 0o055 });
    }
    let mut node = Node::start_in(dir.path(), &[]);
    assert_eq!(open(dir.path()), Vec::<PathBuf>::new());
    assert!(node.terminate().success());
    let said = node.everything_said();
    assert!(
        said.contains("the data directory was open to others and is closed now") && said.contains("0755"),
        "{said}"
    );
    assert!(said.contains("files and directories were open to others and are closed now"), "{said}");
    // A secret that others could read is not made good by closing it.
    chmod(&dir.path().join("data/receipt.secret"), 0o604);
    let (code, said) = ended(command(dir.path()).arg("serve"));
    assert_eq!(code, Some(2));
    assert!(said.contains("everybody may read it (mode 0604"), "{said}");
}

#[test]
fn a_directory_with_other_files_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    chmod(dir.path(), 0o755);
    std::fs::write(dir.path().join("letter"), "x").unwrap();
    let (code, said) = ended(command(dir.path()).args(["serve", "--data-dir", "."]));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("holds files that are not Gemba's"), "{said}");
    assert_eq!((mode(dir.path()), tree(dir.path()).len()), (0o755, 2));
}

/// The program as a user that is not root.
fn as_user(dir: &Path) -> Command {
    let mut command = command(dir);
    command.uid(USER).gid(GROUP);
    command
}

#[test]
fn a_mounted_volume_of_root_is_used_by_a_user_of_its_group() {
    if !is_root() {
        println!("only root can mount a volume: the rule itself is tested beside its code");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    chmod(dir.path(), 0o755);
    let volume = dir.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::os::unix::fs::chown(&volume, Some(0), Some(GROUP)).unwrap();
    for (mode, data_dir, fits) in [
        (0o2770, "volume", true),
        (0o2775, "volume", true),
        (0o2777, "volume", false),
        (0o2777, "volume/gemba", true),
        (0o700, "volume", false),
    ] {
        chmod(&volume, mode);
        let mut node = as_user(dir.path());
        node.args(["serve", "--data-dir", data_dir]);
        if fits {
            let node = Started::new(&mut node);
            // Keys are in its memory: what the kernel shows of it belongs to root.
            assert_eq!(std::fs::metadata(node.proc("maps")).unwrap().uid(), 0);
        } else {
            let (code, said) = ended(&mut node);
            assert!(code == Some(2) || code == Some(3), "{code:?} {said}");
        }
    }
    chmod(&volume, 0o2770);
    let mut node = as_user(dir.path());
    node.args(["serve", "--data-dir", "volume"]).env("GEMBA_NODE__CORE_DUMPS", "true");
    let node = Started::new(&mut node);
    assert_eq!(std::fs::metadata(node.proc("maps")).unwrap().uid(), USER);
    // Somebody else's directory is nobody's data.
    let theirs = dir.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(USER), None).unwrap();
    let (code, said) = ended(command(dir.path()).args(["serve", "--data-dir", "theirs"]));
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains(&format!("theirs belongs to the user {USER}, and this process runs as 0")),
        "{said}"
    );
}

#[test]
fn no_core_is_dumped_unless_it_is_wanted() {
    for (wanted, limit) in [("false", "0"), ("true", "unlimited")] {
        let dir = tempfile::tempdir().unwrap();
        let program = command(dir.path());
        let mut shell = command(dir.path());
        let mut shelled = Command::new("sh");
        shelled.args(["-c", "ulimit -c unlimited && exec \"$0\" serve"]).arg(program.get_program());
        for (name, value) in shell.env("GEMBA_NODE__CORE_DUMPS", wanted).get_envs() {
            match value {
                Some(value) => shelled.env(name, value),
                None => shelled.env_remove(name),
            };
        }
        shelled.current_dir(dir.path()).stderr(Stdio::piped());
        let node = Started::new(&mut shelled);
        let limits = std::fs::read_to_string(node.proc("limits")).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
        assert_eq!(line.split_whitespace().next(), Some(limit), "{limits}");
    }
}

fn bytes(text: &[u8]) -> OsString {
    OsString::from_vec(text.to_vec())
}

#[test]
fn variables_of_others_neither_stop_nor_steer_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = command(dir.path());
    node.arg("serve").env(bytes(b"X\xff"), bytes(b"\xfe")).env("GEMBA_NOTE", bytes(b"\xff"));
    for (name, value) in [
        ("GEMBA_SERVICE_HOST", "10.0.0.1"),
        ("GEMBA_SERVICE_PORT_HTTP", "8080"),
        ("GEMBA_PORT", "tcp://10.0.0.1:8080"),
        ("GEMBA_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("GEMBA_RABBITMQ_SERVICE_HOST", "10.0.0.2"),
        ("GEMBA_RABBITMQ_PORT", "tcp://10.0.0.2:5672"),
        ("GEMBA_NODE_SERVICE_PORT", "1"),
    ] {
        node.env(name, value);
    }
    drop(Started::new(&mut node));
    let (code, said) = ended(command(dir.path()).arg("serve").env("GEMBA_NODE__NAME", bytes(b"\xff")));
    assert_eq!((code, said.contains("GEMBA_NODE__NAME: its value is not UTF-8")), (Some(2), true), "{said}");
    let file = write(&dir.path().join("node.toml"), "[node]\nprofile = \"dev\"\n");
    let mut check = command(dir.path());
    let (code, said) = ended(check.args(["config", "check", &file]).env("GEMBA_INGRESS_LISTEN", "x"));
    assert_eq!(code, Some(0), "{said}");
    let warning = "warning: GEMBA_INGRESS_LISTEN: this variable sets nothing; the nearest valid name is GEMBA_INGRESS__LISTEN";
    assert!(said.contains(warning), "{said}");
}

#[test]
fn what_is_not_utf_8_is_a_path_like_others() {
    let dir = tempfile::tempdir().unwrap();
    let data = bytes(b"data-\xff");
    drop(Started::new(command(dir.path()).args([OsStr::new("serve"), OsStr::new("--data-dir"), &data])));
    assert!(dir.path().join(&data).join("journal").is_dir());
    let config = bytes(b"\xff.toml");
    write(&dir.path().join(&config), "[node]\nprofile = \"dev\"\n");
    let journal = |word: &str| [OsString::from("journal"), word.into(), data.clone(), "--json".into()];
    let commands = [
        (journal("inspect").to_vec(), Some(0)),
        (journal("repair").to_vec(), Some(0)),
        (vec!["config".into(), "check".into(), "--json".into(), config], Some(0)),
        (vec!["serve".into(), "--role".into(), bytes(b"\xff")], Some(2)),
        (vec![bytes(b"\xff")], Some(2)),
        (vec!["status".into(), "--admin".into(), bytes(b"\xff")], Some(2)),
    ];
    for (arguments, expected) in commands {
        let (code, said) = ended(command(dir.path()).args(&arguments));
        assert_eq!(code, expected, "{arguments:?}: {said}");
    }
    // Damage is told, too, where its path is not UTF-8.
    let segment = dir.path().join(&data).join("journal/0000000000000000.journal");
    let mut content = std::fs::read(&segment).unwrap();
    content[64 + 5] ^= 1;
    content[0] ^= 1;
    std::fs::write(&segment, content).unwrap();
    let (code, said) = ended(command(dir.path()).args(journal("repair")));
    assert!(code == Some(1) || code == Some(3), "{code:?} {said}");
}

/// What a start refuses, the repair that it advises does not call whole; afterwards the node starts, and starts again.
#[test]
fn a_damaged_header_is_mended_and_the_node_starts_again() {
    let mut node = Node::start();
    for number in 0..5 {
        let answer = node.post("application/json", signal("acme", "vm", &format!("s-{number}")).as_bytes());
        assert_eq!(answer.status, 202);
    }
    assert!(node.terminate().success());
    let dir = node.dir.clone();
    let segment = dir.join("data/journal/0000000000000000.journal");
    let mut content = std::fs::read(&segment).unwrap();
    let whole = content.clone();
    content[20] ^= 1;
    std::fs::write(&segment, &content).unwrap();
    let run = |words: &[&str]| ended(command(&dir).args(words).args(["data"]));
    // One header names the journal; without any there is nothing to go by.
    let (code, said) = run(&["journal", "repair"]);
    assert_eq!((code, said.contains("the journal is damaged")), (Some(1), true), "{said}");
    std::fs::write(segment.with_file_name("0000000000000001.journal"), &whole).unwrap();
    let (code, said) = run(&["journal", "repair", "--apply"]);
    assert_eq!(code, Some(0), "{said}");
    for _ in 0..2 {
        let mut again = Node::start_in(&dir, &[]);
        assert_eq!(again.ask("/v1/signals/acme/s-4").json()["status"], "decided");
        assert!(again.terminate().success());
    }
    assert_eq!(run(&["journal", "repair"]).0, Some(0));
}

/// A configuration for production with all of its secrets in files, which are root's and the group's.
fn production(dir: &Path, more: &str) -> (String, Vec<PathBuf>) {
    let mut files = Vec::new();
    let mut secret = |name: &str| {
        let path = dir.join(name);
        let digit = char::from_digit(u32::try_from(files.len()).unwrap(), 16).unwrap();
        let shown = write(&path, &digit.to_string().repeat(64));
        files.push(path);
        shown
    };
    let text = format!(
        "[node]\nprofile = \"prod\"\ndata_dir = \"{}\"\n[[admin.token]]\nname = \"root\"\nrole = \"admin\"\ntoken_file = \"{}\"\n\
         [receipt]\nsecret_file = \"{}\"\n[log]\nkey_file = \"{}\"\n[[source]]\nname = \"signals\"\nscheme = \"hmac\"\n\
         secret_file = \"{}\"\n{more}",
        dir.join("data").display(),
        secret("token"),
        secret("receipt"),
        secret("log"),
        secret("source"),
    );
    let config = dir.join("node.toml");
    write(&config, &text);
    chmod(&config, 0o644);
    (config.display().to_string(), files)
}

/// How a check and a start judge the same configuration; they must agree.
fn judged(mut make: impl FnMut() -> Command, config: &str) -> (Option<i32>, String) {
    let (checked, said) = ended(make().args(["config", "check", config]));
    if checked == Some(0) {
        drop(Started::new(make().args(["serve", "--config", config])));
    } else {
        let (started, told) = ended(make().args(["serve", "--config", config]));
        // In development it has made secrets before. What a start says stands in its log, once the log's settings are known.
        let last = told.lines().last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let told = last.map_or(told, |event| {
            let hint = event["hint"].as_str().map_or(String::new(), |hint| format!("\n\nhint: {hint}"));
            format!("error: {}{hint}\n", event["error"].as_str().unwrap())
        });
        assert!(started == checked && told.ends_with(&said), "{started:?} {told} instead of {said}");
    }
    (checked, said)
}

#[test]
fn a_secret_of_roots_is_read_by_its_group_alone() {
    if !is_root() {
        println!("only root can mount a secret: the rule itself is tested beside its code");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    chmod(dir.path(), 0o777);
    let (config, files) = production(dir.path(), "");
    let own = |mode: u32, group: u32| {
        for file in &files {
            std::os::unix::fs::chown(file, Some(0), Some(group)).unwrap();
            chmod(file, mode);
        }
    };
    for (mode, group, expected) in [
        (0o440, GROUP, ""),
        (0o640, GROUP, ""),
        (0o444, GROUP, "everybody may read it"),
        (0o460, GROUP, "the group 54322 may write it"),
        (0o404, 0, "everybody may read it"),
    ] {
        own(mode, group);
        let (code, said) = judged(|| as_user(dir.path()), &config);
        assert_eq!(code, Some(if expected.is_empty() { 0 } else { 2 }), "{mode:04o} {said}");
        assert!(said.contains(expected), "{said}");
    }
    own(0o600, 0);
    std::os::unix::fs::chown(&files[0], Some(USER + 1), None).unwrap();
    chmod(&files[0], 0o400);
    let (code, said) = ended(command(dir.path()).args(["config", "check", &config]));
    assert_eq!(code, Some(0), "root reads everybody's files: {said}");
    own(0o440, GROUP);
    std::os::unix::fs::chown(&files[0], Some(USER + 2), None).unwrap();
    let (code, said) = ended(as_user(dir.path()).args(["config", "check", &config]));
    assert_eq!((code, said.contains("it belongs to the user 54323")), (Some(2), true), "{said}");
}

#[test]
fn a_secret_that_is_a_pipe_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (config, files) = production(dir.path(), "");
    std::fs::remove_file(&files[1]).unwrap();
    let all = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &files[1], rustix::fs::FileType::Fifo, all, 0).unwrap();
    let (code, said) = judged(|| command(dir.path()), &config);
    assert_eq!((code, said.contains("it is not a regular file")), (Some(2), true), "{said}");
}

/// A pack that names an action which nobody configured.
const GHOST: &str = "name = \"p\"\n[[rule]]\nid = \"r\"\ntypes = [\"cost.usage\"]\nwhen = \"true\"\ndecide = \"act\"\n\
                     action = \"ghost\"\nreason = \"x\"\n";

#[test]
fn a_check_and_a_start_refuse_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let broker = |password: &str| {
        let password = write(&dir.path().join(format!("password-{}", password.len())), password);
        format!(
            "[[action]]\nname = \"queue\"\nkind = \"amqp\"\nrouting_key = \"q\"\n\
             [rabbitmq]\nhosts = [\"127.0.0.1:1\"]\nusername = \"guest\"\npassword_file = \"{password}\"\n"
        )
    };
    let same = format!(
        "[[action]]\nname = \"page\"\nkind = \"webhook\"\nurl = \"https://a.b/\"\nsecret_file = \"{}\"\n",
        dir.path().join("source").display()
    );
    let wrong = "[governor]\nquota = \"many\"\n";
    let shaped = |shape: &str| {
        let secret = write(&dir.path().join("page"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
        format!(
            "[[action]]\nname = \"page\"\nkind = \"webhook\"\nurl = \"https://a.b/\"\nsecret_file = \"{secret}\"\n{shape}\n"
        )
    };
    for (more, code, expected) in [
        (shaped("body = \"{'text': action.reason}\""), 0, "good"),
        (shaped("body = \"{'text': action.raison}\""), 2, "node.toml:21:18: `body` of action `page`: "),
        (
            shaped("headers = { x-seq = \"action.seq\" }"),
            2,
            "node.toml:21:28: `headers.x-seq` of action `page`: the result is an int, wanted is a string",
        ),
        (broker("guest\n"), 0, "warning: "),
        (broker("guest\n"), 0, "the broker's password: it can be guessed"),
        (broker("\n"), 2, "(`rabbitmq.password_file`): it is empty"),
        (same, 2, "the secret of action `page`: it is the same as the secret of source `signals`"),
        (wrong.to_owned(), 2, "node.toml:17: `governor.quota` must be a whole number from 0 to 4294967295"),
    ] {
        let (config, _) = production(dir.path(), &more);
        let (found, said) = judged(|| command(dir.path()), &config);
        assert_eq!(found, Some(code), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    // In development secrets are made by the start: a check thinks them there.
    let dev = |more: &str| {
        let path = dir.path().join("dev.toml");
        write(&path, &format!("[node]\nprofile = \"dev\"\ndata_dir = \"dev\"\n{more}"))
    };
    let pack = write(&dir.path().join("pack.toml"), GHOST);
    for (packs, expected) in [
        ("nowhere.toml".to_owned(), "the policy pack cannot be read: nowhere.toml"),
        (pack, "no [[action]] is named `ghost`"),
    ] {
        let (code, said) =
            judged(|| command(dir.path()), &dev(&format!("[policy]\npacks = [\"{packs}\"]\n")));
        assert_eq!((code, said.contains(expected)), (Some(2), true), "{said}");
        let _left = std::fs::remove_dir_all(dir.path().join("dev"));
    }
    let hook = "[[action]]\nname = \"signals\"\nkind = \"webhook\"\nurl = \"https://a.b/\"\n";
    let (code, said) = judged(|| command(dir.path()), &dev(&broker("guest\n")));
    assert_eq!((code, said.contains("warning")), (Some(0), false), "{said}");
    let _left = std::fs::remove_dir_all(dir.path().join("dev"));
    let (code, said) = judged(|| command(dir.path()), &dev(hook));
    assert_eq!((code, said.contains("it is the same as the secret of source")), (Some(2), true), "{said}");
}

/// The cores that each ingress thread of a process may use, once every thread has run: then it has given itself its name.
fn cores(process: u32) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    while !have_names(process) || cores_now(process).is_empty() {
        assert!(Instant::now() < until, "it has no ingress thread, or one that never ran");
        std::thread::sleep(Duration::from_millis(20));
    }
    cores_now(process)
}

fn threads(process: u32) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(format!("/proc/{process}/task")).unwrap().map(|task| task.unwrap().path())
}

/// Whether each thread but the first has a name of its own.
fn have_names(process: u32) -> bool {
    let mut others = threads(process).filter(|task| *task.file_name().unwrap() != *process.to_string());
    others.all(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() != "gemba"))
}

fn cores_now(process: u32) -> Vec<String> {
    let ingress = threads(process).filter(|task| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("ingress-"))
    });
    let allowed = ingress.map(|task| {
        let status = std::fs::read_to_string(task.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.unwrap().trim().to_owned()
    });
    let mut allowed: Vec<String> = allowed.collect();
    allowed.sort();
    allowed
}

#[test]
fn nodes_with_fewer_threads_than_cores_share_the_machine() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let all =
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned();
    let nodes = [(); 2].map(|()| Node::start_with(&[("GEMBA_INGRESS__THREADS", "1")]));
    for node in &nodes {
        assert_eq!(cores(node.pid()), std::slice::from_ref(&all));
    }
}

/// A control group for one test that limits processors, where the machine lets this process make one.
struct Group(PathBuf);

impl Group {
    fn new(quota_micros: u32) -> Option<Self> {
        let name = format!("gemba-test-{}-{quota_micros}", std::process::id());
        let period = 100_000;
        for (top, files) in [
            (
                "/sys/fs/cgroup/cpu",
                vec![
                    ("cpu.cfs_period_us", period.to_string()),
                    ("cpu.cfs_quota_us", quota_micros.to_string()),
                ],
            ),
            ("/sys/fs/cgroup", vec![("cpu.max", format!("{quota_micros} {period}"))]),
        ] {
            let group = Self(Path::new(top).join(&name));
            let made = std::fs::create_dir(&group.0).is_ok();
            if made && files.iter().all(|(file, text)| std::fs::write(group.0.join(file), text).is_ok()) {
                return Some(group);
            }
        }
        None
    }

    /// The program, in this group from its first moment.
    fn command(&self, dir: &Path) -> Command {
        let program = command(dir);
        let mut inside = command(dir);
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo $$ > \"$1\" && exec \"$0\" serve"]).arg(program.get_program());
        shell.arg(self.0.join("cgroup.procs"));
        for (name, value) in inside.env("GEMBA_INGRESS__THREADS", "0").get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.current_dir(dir).stderr(Stdio::piped());
        shell
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_quota_of_processors_is_seen() {
    let cores_here = std::thread::available_parallelism().unwrap().get();
    for (quota_micros, processors) in [(50_000, 1), (150_000, 2)] {
        let Some(group) = Group::new(quota_micros) else {
            println!("no control group can be made here: how one is read is tested beside its code");
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let node = Started::new(&mut group.command(dir.path()));
        assert_eq!(cores(node.0.id()).len(), processors.min(cores_here), "{quota_micros}");
        drop(node);
        drop(group);
    }
}

#[test]
fn a_log_that_is_gone_is_not_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start_in(dir.path(), &[]);
    assert_eq!(node.post("application/json", signal("acme", "vm", "s-1").as_bytes()).status, 202);
    node.decided("acme", "s-1");
    assert!(node.terminate().success());
    let log = dir.path().join("data/log");
    std::fs::rename(&log, dir.path().join("log")).unwrap();
    let (code, said) = ended(command(dir.path()).arg("serve"));
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("data/log: the transparency log has 1 entries, but had ")
            && said.contains("restore log/"),
        "{said}"
    );
    // Restored, it goes on.
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::rename(dir.path().join("log"), &log).unwrap();
    let node = Node::start_in(dir.path(), &[]);
    assert_eq!(node.decided("acme", "s-1")["status"], "decided");
}

#[test]
fn a_log_key_that_is_lost_is_not_made_anew_and_a_different_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Node::start_in(dir.path(), &[]).terminate().success());
    let (key, away) = (dir.path().join("data/log.key"), dir.path().join("log.key"));
    std::fs::rename(&key, &away).unwrap();
    let (code, said) = ended(command(dir.path()).arg("serve"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("data/log.key is missing, and data/log was signed with it"), "{said}");
    assert!(said.contains("restore the log's signing key") && !key.exists(), "{said}");
    write(&key, &"5a".repeat(32));
    let (code, said) = ended(command(dir.path()).arg("serve"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("was signed with a different key than the configured one"), "{said}");
    std::fs::rename(&away, &key).unwrap();
    assert!(Node::start_in(dir.path(), &[]).terminate().success());
}

#[test]
fn a_key_that_is_added_in_development_takes_no_other_away() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Node::start_in(dir.path(), &[]).terminate().success());
    write(
        &dir.path().join("gemba.toml"),
        "[node]\nprofile = \"dev\"\n[[source]]\nname = \"signals\"\nscheme = \"hmac\"\n\
         [[source.key]]\nname = \"next\"\nsecret_env = \"NEXT\"\n",
    );
    let next = "a second secret of the source signals";
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml"), ("NEXT", next)]);
    let answer = node.post("application/json", signal("acme", "vm", "s-1").as_bytes());
    assert_eq!(answer.status, 202, "{}", answer.text());
    let body = signal("acme", "vm", "s-2");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, next.as_bytes());
    let signature = faster_hex::hex_string(aws_lc_rs::hmac::sign(&key, body.as_bytes()).as_ref());
    let headers = [("content-type", "application/json"), ("x-signature", signature.as_str())];
    assert_eq!(node.request("POST", "/v1/signals", &headers, body.as_bytes()).status, 202);
}

#[test]
fn what_cannot_be_written_or_opened_at_the_start_says_which_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    // A file where the directory belongs.
    std::fs::write(&data_dir, b"").unwrap();
    let (code, said) = ended(command(dir.path()).arg("serve"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`node.data_dir` is not a directory"), "{said}");
    // A pipe where the lock belongs.
    std::fs::remove_file(&data_dir).unwrap();
    std::fs::create_dir(&data_dir).unwrap();
    chmod(&data_dir, 0o700);
    assert!(Command::new("mkfifo").arg(data_dir.join("lock")).status().unwrap().success());
    let (code, said) = ended(command(dir.path()).arg("serve"));
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("data/lock"), "{said}");
    // A limit on the size of files.
    std::fs::remove_file(data_dir.join("lock")).unwrap();
    let mut limited = command_of("bash", dir.path());
    limited.args(["-c", "ulimit -f 1000; exec \"$0\" serve", PROGRAM]);
    let (code, said) = ended(&mut limited);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("File too large"), "{said}");
}

fn copied(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// What a node leaves that took one more signal.
fn one_more(dir: &Path, id: &str) {
    let mut node = Node::start_in(dir, &[]);
    assert_eq!(node.post("application/json", signal("acme", "vm", id).as_bytes()).status, 202);
    node.decided("acme", id);
    assert!(node.terminate().success());
}

#[test]
fn an_older_copy_of_log_or_journal_is_refused_and_of_the_state_is_not() {
    let owned = tempfile::tempdir().unwrap();
    let dir = owned.path();
    one_more(dir, "s-1");
    let (data, old, new) = (dir.join("data"), dir.join("old"), dir.join("new"));
    copied(&data, &old);
    one_more(dir, "s-2");
    copied(&data, &new);
    let with_old = |part: &str| {
        std::fs::remove_dir_all(&data).unwrap();
        copied(&new, &data);
        std::fs::remove_dir_all(data.join(part)).unwrap();
        copied(&old.join(part), &data.join(part));
    };
    for (part, expected, hint) in [
        ("log", "data/log: the transparency log has ", "restore log/"),
        ("journal", "data/journal: the journal ends at event ", ""),
    ] {
        with_old(part);
        let (code, said) = ended(command(dir).arg("serve"));
        assert_eq!(code, Some(3), "{part}: {said}");
        assert!(said.contains(expected) && said.contains(hint), "{said}");
    }
    with_old("state");
    let node = Node::start_in(dir, &[]);
    for id in ["s-1", "s-2"] {
        assert_eq!(node.decided("acme", id)["status"], "decided");
    }
}

#[test]
fn what_stands_where_a_directory_belongs_is_named() {
    let owned = tempfile::tempdir().unwrap();
    let dir = owned.path();
    let (data, elsewhere) = (dir.join("data"), dir.join("elsewhere"));
    std::fs::create_dir(&data).unwrap();
    std::fs::create_dir(&elsewhere).unwrap();
    chmod(&data, 0o700);
    for name in ["journal", "log", "state", "dedup"] {
        let path = data.join(name);
        let refused = |what: &str| {
            let (code, said) = ended(command(dir).arg("serve"));
            assert_eq!(code, Some(2), "{said}");
            assert!(said.contains(&format!("data/{name} is {what}")), "{said}");
            assert!(said.contains("move it away"), "{said}");
            std::fs::remove_file(&path).unwrap();
        };
        std::fs::write(&path, b"").unwrap();
        refused("a file,");
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        refused("a symbolic link to nowhere, where nothing can be found");
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        refused("a symbolic link to ");
        assert!(std::fs::read_dir(&elsewhere).unwrap().next().is_none(), "nothing was written there");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        refused("a pipe, socket or device");
    }
}
