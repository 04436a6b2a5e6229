//! A device that refuses blocks for a while: `fdatasync` fails, and what was written stays readable in the page cache,
//! clean. The next process must not take it for durable. Only a mount anew shows what the device holds.
//!
//! The device is a loop device on a sparse file in a small tmpfs: blocks under it that are holes are refused while the
//! tmpfs is full.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::Connection;
use crate::home::Home;
use crate::ledger::{Signal, Unit};
use crate::node::Node;
use crate::program::Dead;
use crate::rng::Rng;
use crate::traffic::{Clients, Sending};
use crate::verify;

const IMAGE_MIB: u64 = 96;
const BACKING_MIB: u64 = 112;
const BLOCK_BYTES: u64 = 4096;

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// An ext4 on such a device.
struct Device {
    backing: PathBuf,
    at: PathBuf,
    device: String,
    _owned: tempfile::TempDir,
}

impl Device {
    /// `None`, and a line that says so, where a file system cannot be mounted.
    fn mount(options: &str) -> Option<Self> {
        let made = Self::made(options);
        if made.is_none() {
            println!("skipped: no loop device can be mounted here, so no device can refuse blocks");
        }
        made
    }

    fn made(mount_options: &str) -> Option<Self> {
        let owned = tempfile::tempdir().unwrap();
        let [backing, at] = ["backing", "volume"].map(|name| owned.path().join(name));
        std::fs::create_dir(&backing).unwrap();
        std::fs::create_dir(&at).unwrap();
        let size = format!("size={BACKING_MIB}m");
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", backing.to_str()?])?;
        let mut made = Self { backing, at, device: String::new(), _owned: owned };
        let image = made.image();
        File::create(&image).unwrap().set_len(IMAGE_MIB << 20).unwrap();
        let options = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
        run("mkfs.ext4", &["-q", "-F", "-m", "0", "-b", "4096", "-E", options, &image])?;
        made.take_all_blocks();
        made.device = run("losetup", &["-f", "--show", &image])?;
        // The loop driver calls a write a success if it succeeded in part; so each block is a write of its own.
        let device = made.device.trim_start_matches("/dev/");
        std::fs::write(format!("/sys/block/{device}/queue/max_sectors_kb"), "4").ok()?;
        run("mount", &["-o", mount_options, &made.device, made.at.to_str()?])?;
        Some(made)
    }

    fn image(&self) -> String {
        self.backing.join("image").to_str().unwrap().to_owned()
    }

    /// No block under the device is a hole.
    fn take_all_blocks(&self) {
        run("fallocate", &["-l", &format!("{IMAGE_MIB}MiB"), &self.image()]).unwrap();
    }

    /// From here on the device refuses the blocks of `file` that hold nothing behind its last byte, and takes all others.
    fn refuse_the_rest_of(&self, file: &Path) {
        run("sync", &[]).unwrap();
        self.take_all_blocks();
        let content = std::fs::read(file).unwrap();
        let used = content.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
        let free_from = used.div_ceil(BLOCK_BYTES);
        let extents = run("filefrag", &["-v", "-b4096", file.to_str().unwrap()]).unwrap();
        let mut holes = 0;
        for line in extents.lines() {
            // `   0:        0..    1023:      34816..     35839:   1024:             last,eof`
            let numbers: Vec<u64> = line
                .split([':', '.', ' '])
                .filter(|word| !word.is_empty())
                .map_while(|word| word.parse().ok())
                .collect();
            let [_, first, last, device, ..] = numbers[..] else { continue };
            let from = first.max(free_from);
            if from <= last {
                let offset = ((device + from - first) * BLOCK_BYTES).to_string();
                let length = ((last + 1 - from) * BLOCK_BYTES).to_string();
                run("fallocate", &["-p", "-o", &offset, "-l", &length, &self.image()]).unwrap();
                holes += last + 1 - from;
            }
        }
        assert!(holes > 100, "the rest of {} is {holes} blocks: {extents}", file.display());
        let mut filler = File::create(self.backing.join("filler")).unwrap();
        while filler.write_all(&[7; 4096]).is_ok() {}
    }

    fn refuse_nothing(&self) {
        std::fs::remove_file(self.backing.join("filler")).unwrap();
    }

    /// What the page cache holds is forgotten.
    fn mount_anew(&self) {
        let at = self.at.to_str().unwrap();
        run("umount", &[at]).unwrap();
        run("mount", &[&self.device, at]).unwrap();
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // A test that failed may have left a node behind it; the mounts then go when that ends.
        run("umount", &["-l", self.at.to_str().unwrap()]);
        if !self.device.is_empty() {
            run("losetup", &["-d", &self.device]);
        }
        run("umount", &["-l", self.backing.to_str().unwrap()]);
    }
}

/// A batch whose frame takes many blocks.
fn large() -> Unit {
    let signal = |number: usize| Signal {
        tenant: "acme".into(),
        sku: "vm".into(),
        id: format!("large-{number}"),
        acts: false,
    };
    let signals: Vec<Signal> = (0..30).map(signal).collect();
    let padding = "x".repeat(6000);
    let line = |Signal { tenant, sku, id, .. }: &Signal| {
        format!(
            "{{\"id\":\"{id}\",\"tenant\":\"{tenant}\",\"sku\":\"{sku}\",\"type\":\"cost.usage\",\
             \"data\":{{\"note\":\"{padding}\"}}}}\n"
        )
    };
    let body = signals.iter().map(line).collect::<String>().into_bytes();
    Unit { signals, content_type: "application/x-ndjson", body }
}

fn ended_by(dead: &Dead, words: &str) {
    assert_eq!(dead.status.and_then(|status| status.code()), Some(3), "{dead:?}");
    assert!(dead.said.iter().any(|line| line.contains(words)), "{words}: {dead:?}");
}

/// A frame is refused, the next process finds it in the page cache, and a later one does not.
struct Refused {
    home: Home,
    clients: Clients,
    /// How the process ended that was started while the device refused the frame.
    refused: Dead,
    /// The one on what the device holds.
    last: Result<Node, Dead>,
    _owned: tempfile::TempDir,
}

fn refuse(device: &Device, plant: Option<&str>) -> Refused {
    let owned = tempfile::tempdir().unwrap();
    let mut home = Home::new(owned.path(), "low_water_mib = 1\n").with_data(&device.at.join("data"));
    if let Some(plant) = plant {
        home.variable("GEMBA_PLANT", plant);
    }
    let mut rng = Rng::new(8);
    let node = home.start();
    let clients = Clients::new(&home.secret("signals.secret"));
    let token = home.secret("admin.token");
    for _ in 0..20 {
        assert_eq!(clients.send_new(node.ingress, &mut rng), Sending::Answered);
    }
    assert!(verify::decided(&clients, &node, &token, u64::MAX).is_ok());

    // The line has become quiet: its last frames are sealed, and nothing is written.
    std::thread::sleep(std::time::Duration::from_millis(500));
    device.refuse_the_rest_of(&home.data().join("journal/0000000000000000.journal"));
    let unit = clients.ledger.enter(large());
    let mut connection = Connection::open(node.ingress).unwrap();
    assert_eq!(clients.send(&mut connection, unit), Sending::Gone, "what is not durable has no answer");
    ended_by(&node.dead(), "journal could not be synced");
    let refused = match home.try_start(None, &[]) {
        Ok(node) => panic!("it started on what the device refuses: {:?}", node.killed()),
        Err(dead) => dead,
    };

    device.refuse_nothing();
    let node = home.start();
    assert!(verify::resend(&clients, &node).is_ok(), "the node went away");
    assert_eq!(clients.send_new(node.ingress, &mut rng), Sending::Answered);
    node.killed();
    device.mount_anew();
    let last = home.try_start(None, &[]);
    Refused { home, clients, refused, last, _owned: owned }
}

#[test]
fn what_a_device_refused_is_not_taken_from_the_page_cache() {
    let Some(device) = Device::mount("rw") else { return };
    let Refused { home, clients, refused, last, _owned } = refuse(&device, None);
    ended_by(&refused, "cannot be made durable");
    let node = last.unwrap_or_else(|dead| panic!("what was answered is lost: {dead:?}"));
    clients.ledger.look_again();
    assert!(verify::decided(&clients, &node, &home.secret("admin.token"), u64::MAX).is_ok());
    assert!(node.terminated().status.is_some_and(|status| status.success()));
    assert_eq!(clients.ledger.violations(), Vec::<String>::new());
}

/// Does the alarm work? As recovery was before it wrote the last frame again.
#[cfg(feature = "faults")]
#[test]
fn a_recovery_that_trusts_the_page_cache_is_noticed() {
    let Some(device) = Device::mount("rw") else { return };
    let Refused { last, .. } = refuse(&device, Some("journal-trusts-cache"));
    match last {
        Ok(node) => panic!("nothing was lost: {:?}", node.killed()),
        Err(dead) => ended_by(&dead, "the journal is damaged"),
    }
}

/// A file of an earlier process, which nobody needs, goes beside a running node.
#[test]
fn a_start_warns_of_a_mount_that_discards_and_removes_what_was_set_aside() {
    let Some(device) = Device::mount("discard") else { return };
    let owned = tempfile::tempdir().unwrap();
    let mut home = Home::new(owned.path(), "low_water_mib = 1\n").with_data(&device.at.join("data"));
    home.start().terminate();
    let left = home.data().join("journal/00000000000000ff.journal.0.gone");
    std::fs::write(&left, vec![7; 5 << 20]).unwrap();
    let node = home.start();
    let until = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while left.exists() {
        assert!(std::time::Instant::now() < until, "{} is still there", left.display());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let dead = node.terminated();
    assert!(dead.status.is_some_and(|status| status.success()), "{dead:?}");
    let warned = |line: &String| line.contains("mounted with `discard`");
    assert_eq!(dead.said.iter().filter(|line| warned(line)).count(), 1, "{dead:?}");
}
