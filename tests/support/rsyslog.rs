//! rsyslog, as others run it.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::node::{PATIENCE, free_address};
use super::program::{PROGRAM, Process};
use super::tls::Authority;
use super::tools::missing;

/// rsyslog, listening in every way.
pub struct Rsyslog {
    pub udp: u16,
    pub tcp: u16,
    /// Senders must have a certificate of the authority.
    pub tls: u16,
    dir: tempfile::TempDir,
    _process: Process,
}

impl Rsyslog {
    /// `None` where it is not installed.
    pub fn start(authority: &Authority) -> Option<Self> {
        let home: PathBuf = Path::new(PROGRAM).ancestors().nth(2).unwrap().join("rsyslog");
        let rsyslogd = home.join("usr/sbin/rsyslogd");
        if !rsyslogd.exists() {
            return missing("rsyslog", "tests/rsyslog/install");
        }
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let [udp, tcp, tls] = [(); 3].map(|()| free_address().port());
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        authority.write(dir.path(), "server", &["127.0.0.1"]);
        let config = format!(
            r#"global(workDirectory="{at}" maxMessageSize="64k" DefaultNetstreamDriverCAFile="{at}/ca.pem"
  DefaultNetstreamDriverCertFile="{at}/server.crt" DefaultNetstreamDriverKeyFile="{at}/server.key")
module(load="imudp")
module(load="imptcp")
module(load="imuxsock" SysSock.Use="off")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
template(name="line" type="string" string="%inputname% %syslogfacility-text%.%syslogseverity-text% %app-name% %msgid% %msg%\n")
input(type="imudp" address="127.0.0.1" port="{udp}" name="udp")
input(type="imptcp" address="127.0.0.1" port="{tcp}" name="tcp")
input(type="imtcp" address="127.0.0.1" port="{tls}" name="tls")
input(type="imuxsock" socket="{at}/log" useSpecialParser="off" ruleset="all")
ruleset(name="all") {{ action(type="omfile" file="{at}/out" template="line") }}
action(type="omfile" file="{at}/out" template="line")
"#
        );
        std::fs::write(dir.path().join("rsyslog.conf"), config).unwrap();
        let mut command = Command::new(rsyslogd);
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
        let libraries: Vec<String> =
            libraries.iter().map(|path| home.join(path).display().to_string()).collect();
        command.env("LD_LIBRARY_PATH", libraries.join(":"));
        command
            .arg("-n")
            .arg("-f")
            .arg(dir.path().join("rsyslog.conf"))
            .arg("-i")
            .arg(dir.path().join("pid"));
        command.arg("-M").arg(home.join("usr/lib/x86_64-linux-gnu/rsyslog"));
        let process = Process::spawn(command, PATIENCE);
        let rsyslog = Self { udp, tcp, tls, dir, _process: process };
        let until = Instant::now() + PATIENCE;
        let listens = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
        while !(rsyslog.socket().exists() && listens(tcp) && listens(tls)) {
            assert!(Instant::now() < until, "rsyslog does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(rsyslog)
    }

    /// Where it listens as the system's own does.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// What it took: input, facility and severity, APP-NAME, MSGID, message.
    pub fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("out")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}
