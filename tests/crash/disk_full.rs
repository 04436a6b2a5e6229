//! A disk that fills up: below the low-water mark signals are refused and what was accepted is finished; where even
//! that finds no room the node stops, and nothing that was answered is lost.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};

use crate::home::{Home, PATIENCE};
use crate::node::Node;
use crate::rng::Rng;
use crate::traffic::{Clients, Sending};
use crate::verify;

/// A small file system of its own.
struct Volume {
    at: PathBuf,
    _owned: tempfile::TempDir,
}

const MIB: u64 = 64;

impl Volume {
    /// A loop-mounted ext4, or a tmpfs; `None` where neither can be mounted.
    fn mount() -> Option<Self> {
        let owned = tempfile::tempdir().unwrap();
        let (at, image) = (owned.path().join("volume"), owned.path().join("image"));
        std::fs::create_dir(&at).unwrap();
        File::create(&image).unwrap().set_len(MIB << 20).unwrap();
        let worked = |program: &str, arguments: &[&str], paths: &[&Path]| {
            let output = Command::new(program).args(arguments).args(paths).output();
            output.is_ok_and(|output| output.status.success())
        };
        let ext4 = worked("mkfs.ext4", &["-q", "-F", "-m", "0"], &[&image])
            && worked("mount", &["-o", "loop"], &[&image, &at]);
        let tmpfs = || worked("mount", &["-t", "tmpfs", "-o", &format!("size={MIB}m"), "tmpfs"], &[&at]);
        let kind = if ext4 {
            "ext4 on a loop device"
        } else if tmpfs() {
            "tmpfs"
        } else {
            println!("skipped: no file system can be mounted here, so no disk can be filled");
            return None;
        };
        println!("disk full: {MIB} MiB of {kind}");
        Some(Self { at, _owned: owned })
    }

    fn free_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.at).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Writes until only about `free_bytes` are left; down to 0, until nothing more fits.
    fn fill(&self, free_bytes: u64) {
        let mut filler = File::create(self.filler()).unwrap();
        // Nearly all of it at once, so that a node that looks once a second does not see it coming.
        let most = self.free_bytes().saturating_sub(free_bytes + (1 << 20));
        if most > 0 && fallocate(&filler, FallocateFlags::empty(), 0, most).is_ok() {
            filler.seek(SeekFrom::Start(most)).unwrap();
        }
        let piece = vec![7; 64 * 1024];
        while self.free_bytes() > free_bytes {
            if filler.write_all(&piece).and_then(|()| filler.sync_data()).is_err() {
                return;
            }
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // A test that failed may have left a node behind it; the mount then goes when that ends.
        let _lazily = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// Sends new units until one is treated as `wanted`.
fn send_until(clients: &Clients, node: &Node, rng: &mut Rng, wanted: Sending) {
    let until = Instant::now() + PATIENCE;
    while clients.send_new(node.ingress, rng) != wanted {
        assert!(Instant::now() < until, "no signal was {wanted:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn all_decided(home: &Home, clients: &Clients, node: &Node) {
    clients.ledger.look_again();
    let token = home.secret("admin.token");
    assert!(verify::decided(clients, node, &token, u64::MAX).is_ok(), "the node went away");
    assert_eq!(clients.ledger.violations(), Vec::<String>::new());
}

#[test]
fn below_the_mark_signals_are_refused_and_room_lets_them_in_again() {
    let Some(volume) = Volume::mount() else { return };
    let owned = tempfile::tempdir().unwrap();
    let mut home = Home::new(owned.path(), "low_water_mib = 24\n").with_data(&volume.at.join("data"));
    let mut rng = Rng::new(5);
    let node = home.start();
    let clients = Clients::new(&home.secret("signals.secret"));
    for _ in 0..50 {
        assert_eq!(clients.send_new(node.ingress, &mut rng), Sending::Answered);
    }
    volume.fill(16 << 20);
    send_until(&clients, &node, &mut rng, Sending::Shed);
    all_decided(&home, &clients, &node);
    node.killed();

    let node = home.start();
    send_until(&clients, &node, &mut rng, Sending::Shed);
    all_decided(&home, &clients, &node);
    volume.make_room();
    send_until(&clients, &node, &mut rng, Sending::Answered);
    assert!(verify::resend(&clients, &node).is_ok(), "what was refused is taken now");
    all_decided(&home, &clients, &node);
    let dead = node.terminated();
    assert!(dead.status.is_some_and(|status| status.success()), "{dead:?}");
}

#[test]
fn a_write_without_room_stops_the_node_and_loses_nothing() {
    let Some(volume) = Volume::mount() else { return };
    let owned = tempfile::tempdir().unwrap();
    let mut home = Home::new(owned.path(), "low_water_mib = 1\n").with_data(&volume.at.join("data"));
    let mut rng = Rng::new(6);
    let mut node = home.start();
    let clients = Clients::new(&home.secret("signals.secret"));
    let stop = AtomicBool::new(false);
    let at = node.ingress;
    let dead = std::thread::scope(|scope| {
        scope.spawn(|| clients.drive(at, &mut rng, &stop));
        let until = Instant::now() + PATIENCE;
        // The mark is looked at once a second; a node that saw it in time gets another chance to be surprised.
        while !node.has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(300));
            volume.fill(0);
            std::thread::sleep(Duration::from_millis(1500));
            volume.make_room();
        }
        let alive = !node.has_ended();
        let dead = if alive { node.killed() } else { node.dead() };
        stop.store(true, Ordering::Relaxed);
        assert!(!alive, "it never ended: {dead:?}");
        dead
    });
    assert_eq!(dead.status.and_then(|status| status.code()), Some(3), "{dead:?}");
    assert!(dead.said.iter().any(|line| line.contains("No space left on device")), "{dead:?}");

    let node = home.start();
    assert!(verify::resend(&clients, &node).is_ok(), "what got no answer is taken now");
    all_decided(&home, &clients, &node);
    node.terminated();
    verify::actions(&home, &clients.ledger);
    assert_eq!(clients.ledger.violations(), Vec::<String>::new());
}
