//! The batch that is open: records are built into its frame until it is sealed.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;

use super::error::LogError;
use super::frame;
use super::salts::Salts;
use crate::proof::tree::{Hash, leaf_hash};
use crate::receipt::Draft;
use crate::receipt::canonical::{Fields, context, store};
use crate::receipt::commitment::{control_entry, receipt_entry};
use crate::receipt::filter::ReceiptTypes;

/// The HMAC key of receipts, with its name.
pub struct ReceiptKey {
    key: hmac::Key,
    /// First bytes of a hash of the secret: names it without telling it.
    id: [u8; 8],
}

impl ReceiptKey {
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mut id = [0; 8];
        id.copy_from_slice(&hmac::sign(&key, b"gemba/receipt-key-id").as_ref()[..8]);
        Self { key, id }
    }
}

impl std::fmt::Debug for ReceiptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiptKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Its buffers are used again for the next one.
pub struct OpenBatch {
    key: ReceiptKey,
    salts: Salts,
    /// Room for the header, and the records. Empty while no batch is open.
    frame: Vec<u8>,
    /// The buffer of the batch before.
    spare: Vec<u8>,
    context: Vec<u8>,
    /// Records in it.
    count: u32,
    /// Bounds of the events' numbers.
    lowest: u64,
    highest: u64,
    /// Types of its receipts.
    types: ReceiptTypes,
}

impl OpenBatch {
    #[must_use]
    pub fn none(key: ReceiptKey) -> Self {
        Self {
            key,
            salts: Salts::default(),
            frame: Vec::new(),
            spare: Vec::new(),
            context: Vec::new(),
            count: 0,
            lowest: u64::MAX,
            highest: 0,
            types: ReceiptTypes::NONE,
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of its frame, as far as it is built.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        self.frame.len()
    }

    fn open_frame(&mut self) {
        if self.frame.is_empty() {
            self.frame.resize(frame::HEADER_BYTES, 0);
        }
    }

    /// Adds an entry of the log about itself. Returns its leaf.
    pub fn control(&mut self, text: &[u8]) -> Hash {
        let entry = control_entry(text);
        self.open_frame();
        let at = frame::push_record(&mut self.frame, &entry, &[0; 16], &[0; 32]);
        self.frame.extend_from_slice(text);
        frame::close_record(&mut self.frame, at);
        self.count += 1;
        leaf_hash(&entry)
    }

    /// Adds a receipt. Returns its leaf.
    ///
    /// # Errors
    /// [`LogError::Random`]; then nothing was added.
    pub fn append(&mut self, draft: &Draft) -> Result<Hash, LogError> {
        let fields = Fields::from(draft);
        self.context.clear();
        context(&fields, &mut self.context);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.context).as_ref());
        let mut signature = [0; 32];
        signature.copy_from_slice(hmac::sign(&self.key.key, &hash).as_ref());
        let salt = self.salts.next()?;
        let entry = receipt_entry(&salt, &hash, &signature);
        self.open_frame();
        let at = frame::push_record(&mut self.frame, &entry, &salt, &signature);
        store(&fields, &mut self.frame);
        frame::close_record(&mut self.frame, at);
        self.count += 1;
        self.lowest = self.lowest.min(draft.gist.id.seq.0);
        self.highest = self.highest.max(draft.gist.id.seq.0);
        self.types = self.types.with(draft.gist.kind);
        Ok(leaf_hash(&entry))
    }

    /// Ends the batch with the signed note. `size` and `root` are those of the tree with its records. Returns what its header
    /// says, as far as the batch knows it, the types of its receipts, and the frame.
    pub fn close(&mut self, note: &str, size: u64, root: Hash) -> (frame::Header, ReceiptTypes, Vec<u8>) {
        self.frame.extend_from_slice(note.as_bytes());
        let header = frame::Header {
            crc: 0,
            before: 0,
            length: 0,
            count: self.count,
            note: u32::try_from(note.len()).unwrap_or(0),
            first: size - u64::from(self.count),
            lowest: self.lowest,
            highest: self.highest,
            key: self.key.id,
            root,
        };
        (self.count, self.lowest, self.highest) = (0, u64::MAX, 0);
        let types = std::mem::replace(&mut self.types, ReceiptTypes::NONE);
        (header, types, std::mem::replace(&mut self.frame, std::mem::take(&mut self.spare)))
    }

    /// Takes the buffer of a frame that was written.
    pub fn reuse(&mut self, mut frame: Vec<u8>) {
        frame.clear();
        self.spare = frame;
    }
}
