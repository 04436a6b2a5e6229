//! What a service manager is told of the node: states by datagrams to `$NOTIFY_SOCKET`, as systemd's `sd_notify(3)` has them.
//! Without that variable nothing is told. A manager that does not listen costs a state, never the node.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// Where states are told; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    socket: Option<Arc<UnixDatagram>>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As the environment says.
    #[must_use]
    pub fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let socket = variable("NOTIFY_SOCKET").and_then(|name| connected(&name)).map(Arc::new);
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
        // It is for another process, where its number is given and not ours.
        let is_ours = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros =
            text("WATCHDOG_USEC").and_then(|micros| micros.parse().ok()).filter(|micros| *micros > 0);
        let watchdog = micros.filter(|_| is_ours && socket.is_some()).map(Duration::from_micros);
        Self { socket, watchdog }
    }

    /// Without a sign of life for so long, the manager ends the node.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    #[must_use]
    pub fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// Signals are taken.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// What goes on, for people.
    pub fn status(&self, status: &str) {
        self.tell(&format!("STATUS={status}"));
    }

    /// A start or an end goes on: it may take this much longer.
    pub fn takes_longer(&self, by: Duration, status: &str) {
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}\nSTATUS={status}", by.as_micros()));
    }

    /// The configuration is read anew; `ready` says that it was.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let micros = seconds * 1_000_000 + u64::try_from(now.tv_nsec / 1000).unwrap_or_default();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The node ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=drains");
    }

    /// A sign of life.
    pub fn lives(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket {
            // It waits a moment at most; what is not taken is not told.
            let _told = socket.send(state.as_bytes());
        }
    }
}

/// A manager that is busy is waited for this long.
const PATIENCE: Duration = Duration::from_millis(500);

/// `@` begins an abstract name; any other is a path.
fn connected(name: &OsString) -> Option<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_write_timeout(Some(PATIENCE)).ok()?;
    socket.connect_addr(&address.ok()?).ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_of_another_process_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _listener = UnixDatagram::bind(&path).unwrap();
        let own = std::process::id().to_string();
        let watchdog = |set: &[(&str, &str)]| {
            let variable = |name: &str| {
                let set = set.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value));
                set.or_else(|| (name == "NOTIFY_SOCKET").then(|| path.clone().into()))
            };
            ServiceManager::of(variable).watchdog()
        };
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(&[]), None);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "1000000")]), second);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", &own)]), second);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", "1")]), None);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "soon")]), None);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "1000000"), ("NOTIFY_SOCKET", "/nowhere")]), None);
        assert_eq!(watchdog(&[("WATCHDOG_USEC", "1000000"), ("NOTIFY_SOCKET", "relative")]), None);
    }
}
