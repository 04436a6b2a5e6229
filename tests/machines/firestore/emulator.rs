//! The client against an emulator that others wrote: whether paths, numbers of fields and frames are everybody's. It
//! knows no versions, and keeps the former fields of a document where Firestore's documents say that they are gone.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gemba::net::firestore::{Change, Presumes, Trouble, Write};

use super::{client, of_each_kind, put, run};
use crate::history::History;
use crate::ledger::Acked;
use crate::line::{Machine, Sender, section, wait_until};
use crate::rabbit::Broker;
use crate::tools::missing;

struct Emulator {
    child: Child,
    address: String,
}

impl Emulator {
    /// `None` where it is not installed.
    fn start() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let dir = root.join(target).join("firestore");
        if !dir.join("node_modules/@firestore-emulator/server").exists() {
            return missing("the emulator of Firestore", "tests/firestore/install");
        }
        let mut child = Command::new("node")
            .arg(root.join("tests/firestore/emulator.mjs"))
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Some(Self { child, address: format!("127.0.0.1:{}", port.trim()) })
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It ends with its input, and does not outlive a test that is killed either.
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

#[test]
fn the_emulator_of_others_understands_and_is_understood() {
    let Some(emulator) = Emulator::start() else { return };
    let client = client(&emulator.address);
    run(async || {
        let write = |presumes| Write {
            document: "governors/acme:vm".to_owned(),
            change: Change::Put(of_each_kind()),
            presumes: Some(presumes),
        };
        assert_eq!(client.commit(vec![write(Presumes::Present)]).await, Err(Trouble::Stale));
        let seen = client.commit(vec![write(Presumes::Absent)]).await.unwrap()[0].unwrap();
        assert_eq!(client.commit(vec![write(Presumes::Absent)]).await, Err(Trouble::Stale));
        let documents = client.get(&["governors/none", "governors/acme:vm"]).await.unwrap();
        assert_eq!(documents[0], None);
        let found = documents[1].as_ref().unwrap();
        assert_eq!((&found.fields, found.version), (&of_each_kind(), seen));
        client.commit(vec![write(Presumes::Present)]).await.unwrap();
        let both = vec![put("governors/acme:vm", 2, None), put("cases/1/parts/2", 3, None)];
        assert_eq!(client.commit(both).await.unwrap().len(), 2);
        let documents = client.get(&["cases/1/parts/2", "governors/acme:vm"]).await.unwrap();
        assert_eq!(documents[0].as_ref().unwrap().fields, super::fields(3));
        let number = &documents[1].as_ref().unwrap().fields["number"];
        assert_eq!(number, &super::fields(2)["number"]);
        let delete = Write {
            document: "governors/acme:vm".to_owned(),
            change: Change::Delete,
            presumes: Some(Presumes::Present),
        };
        assert_eq!(client.commit(vec![delete.clone()]).await, Ok(vec![None]));
        assert_eq!(client.commit(vec![delete]).await, Err(Trouble::Stale));
        assert_eq!(client.get(&["governors/acme:vm"]).await, Ok(vec![None]));
    });
}

#[test]
fn processors_share_their_state_over_the_emulator_of_others() {
    let (Some(emulator), Some(broker)) = (Emulator::start(), Broker::start()) else { return };
    let rabbit = section(&broker, "partitions = 2\n");
    let variable = [("FIRESTORE_EMULATOR_HOST", &*emulator.address.clone().leak())];
    let shares = format!("{rabbit}[state]\nstore = \"firestore\"\nproject = \"demo\"\n");
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    let mut sender = Sender::new(10);
    let mut first = Machine::start_with("processor", "processor-1", &shares, &variable);
    let mut second = Machine::start_with("processor", "processor-2", &shares, &variable);
    let shared = |machine: &Machine| machine.node().metric("gemba_state_unshared_seconds") == 0.0;
    for _ in 0..3 {
        assert!(sender.batch(0, &edge, 50));
        sender.wait_until_taken(&[&first, &second]);
        wait_until("all is shared", || shared(&first) && shared(&second));
        first.kill();
        assert!(sender.batch(0, &edge, 50));
        sender.wait_until_taken(&[&first, &second]);
        wait_until("all is shared", || shared(&second));
        first.up();
    }
    // What a processor had taken and not shared when it was killed is decided by the other one, which may just begin.
    let decided = |acked: &Acked| {
        [&first, &second].iter().any(|processor| {
            let answer = processor.node().ask(&format!("/v1/signals/{}/{}", acked.tenant, acked.id));
            answer.status == 200 && answer.json()["status"] != "accepted"
        })
    };
    let mut left = sender.ledger.acked.clone();
    wait_until("all is decided", || {
        left.retain(|acked| !decided(acked));
        left.is_empty()
    });
    for machine in [&mut edge, &mut first, &mut second] {
        machine.terminate();
    }
    History::of(&[&first.data(), &second.data()], 2).check(&sender.ledger.acked, &sender.ledger.unknown);
}
