//! Prometheus, as others run it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::node::{PATIENCE, free_address};
use super::program::{PROGRAM, Process};
use super::tls::Authority;
use super::tools::missing;

/// A program of Debian's package `prometheus`; `None` where it is not there.
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = Path::new(PROGRAM).ancestors().nth(2).unwrap().join("prometheus/usr/bin").join(program);
    if path.exists() { Some(path) } else { missing(program, "tests/prometheus/install") }
}

/// One that takes samples by remote write.
pub struct Prometheus {
    pub address: SocketAddr,
    dir: tempfile::TempDir,
    is_secure: bool,
    _process: Process,
}

impl Prometheus {
    /// `None` where it is not installed. With an authority it speaks TLS, and takes only clients that this one vouches for.
    pub fn start(authority: Option<&Authority>) -> Option<Self> {
        let (dir, address) = (tempfile::tempdir().unwrap(), free_address());
        let mut command = Command::new(installed("prometheus")?);
        std::fs::write(dir.path().join("prometheus.yml"), "global: {}\n").unwrap();
        command.current_dir(dir.path()).args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.enable-remote-write-receiver",
            &format!("--web.listen-address={address}"),
        ]);
        if let Some(authority) = authority {
            std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
            authority.write(dir.path(), "server", &["127.0.0.1"]);
            authority.write(dir.path(), "reader", &["reader"]);
            let web = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: ca.pem\n  \
                       client_auth_type: RequireAndVerifyClientCert\n";
            std::fs::write(dir.path().join("web.yml"), web).unwrap();
            command.arg("--web.config.file=web.yml");
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::spawn(command, PATIENCE);
        Some(Self { address, dir, is_secure: authority.is_some(), _process: process })
    }

    /// The value of the first series that it has.
    pub fn asked(&self, query: &str) -> Option<String> {
        let scheme = if self.is_secure { "https" } else { "http" };
        let mut curl = Command::new("curl");
        curl.current_dir(self.dir.path()).args(["-sS", "-G", "--data-urlencode", &format!("query={query}")]);
        if self.is_secure {
            curl.args(["--cacert", "ca.pem", "--cert", "reader.crt", "--key", "reader.key"]);
        }
        let output = curl.arg(format!("{scheme}://{}/api/v1/query", self.address)).output().unwrap();
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        found["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    }
}
