//! The transparency log: read with the real reader, proven a second time by other people's code.

use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};
use gemba::andon::log::frame::{self, Record, records};
use gemba::andon::log::{LogError, segment};
use gemba::line::recovery::log_dir;
use gemba::receipt::ReceiptId;
use gemba::receipt::canonical::{self, context};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint, Hash, HashReader, record_hash, stored_hashes_for_record_hash, tree_hash};
use xxhash_rust::xxh3::xxh3_128;

use super::{Evidence, Failure, Receipt, Receipts, violation};

/// What the log says.
#[derive(Default)]
pub struct Logged {
    pub receipts: Receipts,
    pub ids: HashSet<ReceiptId>,
    pub checkpoints: u64,
    entries: u64,
    tree: Stored,
}

/// Hashes as `tlog_tiles` numbers them.
#[derive(Default)]
struct Stored(Vec<Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap_or(usize::MAX)]).collect())
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Damaged { .. } => Self::Violation { oracle: "O6", detail: error.to_string() },
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

/// Every segment, frame by frame.
pub fn read(evidence: &Evidence<'_>) -> Result<Logged, Failure> {
    let mut logged = Logged::default();
    for path in segment::list(&**evidence.disk, &log_dir(evidence.data_dir))?.values() {
        let file = evidence
            .disk
            .open(path)
            .map_err(|error| Failure::Unreadable(format!("{}: {error}", path.display())))?;
        let begins_at = segment::header(&*file, path)?.size;
        if begins_at != logged.entries {
            let detail = format!("{}: begins at {begins_at}, not at {}", path.display(), logged.entries);
            return violation("O6", detail);
        }
        let mut first_failure = None;
        let mut last_note = None;
        segment::scan(&*file, path, |_, header, bytes| {
            let taken = logged.take(evidence, header, bytes);
            last_note = frame::note(header, bytes).map(str::to_owned);
            if let Err(failure) = taken {
                first_failure.get_or_insert(failure);
            }
        })?;
        if let Some(failure) = first_failure {
            return Err(failure);
        }
        if let Some((note, vkey)) = last_note.zip(evidence.vkey) {
            verify(&note, vkey)?;
        }
    }
    Ok(logged)
}

impl Logged {
    fn take(&mut self, evidence: &Evidence<'_>, header: &frame::Header, bytes: &[u8]) -> Result<(), Failure> {
        for record in records(header, bytes) {
            self.entry(&record)?;
        }
        let note = frame::note(header, bytes).unwrap_or_default();
        let text = note.split_once("\n\n").map_or("", |(text, _)| text).to_owned() + "\n";
        let Ok(checkpoint) = Checkpoint::from_bytes(text.as_bytes()) else {
            return violation("O6", format!("at {} entries: not a checkpoint: {note:?}", self.entries));
        };
        let root = tree_hash(self.entries, &self.tree);
        let root = root.map_err(|error| Failure::Unreadable(error.to_string()))?;
        if checkpoint.size() != self.entries || *checkpoint.hash() != root {
            let detail =
                format!("the checkpoint of {} is not that of {} entries", checkpoint.size(), self.entries);
            return violation("O6", detail);
        }
        self.checkpoints += 1;
        match evidence.vkey.filter(|_| evidence.every_checkpoint) {
            Some(vkey) => verify(note, vkey),
            None => Ok(()),
        }
    }

    fn entry(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        let leaf = record_hash(record.entry);
        let hashes = stored_hashes_for_record_hash(self.entries, leaf, &self.tree);
        self.tree.0.extend(hashes.map_err(|error| Failure::Unreadable(error.to_string()))?);
        let index = self.entries;
        self.entries += 1;
        if record.entry[0] != 1 {
            return if index == 0 { Ok(()) } else { violation("O6", format!("entry {index} is no receipt")) };
        }
        let Some(fields) = canonical::load(record.compact) else {
            return violation("O6", format!("entry {index} cannot be read"));
        };
        let mut body = Vec::with_capacity(512);
        context(&fields, &mut body);
        let hash = digest(&SHA256, &body);
        let commitment: [&[u8]; 4] = [b"gemba/receipt/v1\0", record.salt, hash.as_ref(), record.signature];
        if digest(&SHA256, &commitment.concat()).as_ref() != &record.entry[1..] {
            return violation("O6", format!("entry {index} does not commit to {}", fields.gist.id));
        }
        if !self.ids.insert(fields.gist.id) {
            return violation("O2", format!("{} is logged twice", fields.gist.id));
        }
        // What is made of an alarm is not decided by a governor: the alerts have a model of their own.
        if fields.gist.kind.is_of_alert() {
            return Ok(());
        }
        let key = gemba::jidoka::governor::key(fields.tenant, fields.sku).into_string();
        let receipt = Receipt { id: fields.gist.id, context: xxh3_128(&body) };
        self.receipts.entry(key).or_default().push(receipt);
        Ok(())
    }
}

fn verify(note: &str, vkey: &str) -> Result<(), Failure> {
    let verified = || -> Result<(), String> {
        let note = Note::from_bytes(note.as_bytes()).map_err(|error| error.to_string())?;
        let verifier = StandardVerifier::new(vkey).map_err(|error| error.to_string())?;
        let known = VerifierList::new(vec![Box::new(verifier)]);
        note.verify(&known).map(|_| ()).map_err(|error| error.to_string())
    };
    verified().or_else(|why| violation("O6", format!("a checkpoint does not verify: {why}")))
}
