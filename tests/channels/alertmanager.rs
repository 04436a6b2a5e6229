//! Alertmanager, as others run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gemba::alert::NoticeKind::{Firing, Resolved};
use gemba::andon::channel::{Alertmanager, ChannelKind};

use crate::node::{PATIENCE, free_address};
use crate::program::{PROGRAM, Process};
use crate::tools::missing;
use crate::{deliver, notice, target};

fn installed() -> Option<PathBuf> {
    let home = Path::new(PROGRAM).ancestors().nth(2).unwrap();
    let path = home.join("alertmanager/usr/bin/prometheus-alertmanager");
    if path.exists() { Some(path) } else { missing("alertmanager", "tests/alertmanager/install") }
}

#[test]
fn an_alert_fires_in_every_member_until_it_is_resolved() {
    let Some(program) = installed() else { return };
    let mut members = Vec::new();
    for _ in 0..2 {
        let (dir, address) = (tempfile::tempdir().unwrap(), free_address());
        let config = "route: { receiver: none }\nreceivers: [ { name: none } ]\n";
        std::fs::write(dir.path().join("am.yml"), config).unwrap();
        // What the installer made it read from where it runs.
        let templates = program.ancestors().nth(2).unwrap().join("share/prometheus/alertmanager");
        for name in ["default.tmpl", "email.tmpl"] {
            std::fs::copy(templates.join(name), dir.path().join(name)).unwrap();
        }
        let mut command = Command::new(&program);
        command.current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command.args(["--config.file=am.yml", "--storage.path=data", "--cluster.listen-address="]);
        command.arg(format!("--web.listen-address={address}"));
        members.push((Process::spawn(command, PATIENCE), dir, address));
    }
    let kind = || {
        // One by its address alone, as it is usually configured, and one by the whole URL.
        let urls = members.iter().zip(["", "/api/v2/alerts"]);
        let targets = urls.map(|((.., address), path)| target(&format!("http://{address}{path}")));
        let repeat = Duration::from_hours(4);
        ChannelKind::Alertmanager(Alertmanager { members: targets.collect(), authorization: None, repeat })
    };
    let alerts = |address: &dyn std::fmt::Display| {
        let url = format!("http://{address}/api/v2/alerts");
        let output = Command::new("curl").args(["-sS", &url]).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default()
    };
    // A member that still starts is asked again.
    assert_eq!(deliver(kind(), vec![notice("billing", "am", Firing, 1)])[0].0, None);
    for (.., address) in &members {
        let found = alerts(address);
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{found:#}");
        assert_eq!(found[0]["labels"]["alertname"], "target_breaker");
        assert_eq!(found[0]["status"]["state"], "active");
        assert!(
            found[0]["generatorURL"].as_str().unwrap().starts_with("https://gemba.example.com/board#alert=")
        );
    }
    // A large group begins and ends in every alert, told in parts.
    let many = |tells, step, count: u8| {
        let mut notice = notice("storm", "am", tells, step);
        let one = notice.alerts.remove(0);
        notice.alerts = (0..count)
            .map(|number| {
                let mut alert = one.clone();
                alert.id.0[15] = number;
                alert.name = format!("storm-{number}").into();
                alert.since.0 -= 60_000;
                alert
            })
            .collect();
        notice
    };
    for count in [60, 230] {
        assert_eq!(deliver(kind(), vec![many(Firing, 1, count)])[0].0, None);
        for (.., address) in &members {
            assert_eq!(alerts(address).as_array().map(Vec::len), Some(usize::from(count) + 1));
        }
    }
    let mut ended = notice("billing", "am", Resolved, 2);
    ended.alerts[0].since.0 -= 60_000;
    assert_eq!(deliver(kind(), vec![ended, many(Resolved, 2, 230)])[1].0, None);
    let until = Instant::now() + PATIENCE;
    while members.iter().any(|(.., address)| alerts(address).as_array().is_none_or(|found| !found.is_empty()))
    {
        assert!(Instant::now() < until, "it is still there");
        std::thread::sleep(Duration::from_millis(100));
    }
}
