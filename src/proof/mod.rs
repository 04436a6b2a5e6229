//! Proof: the transparency log's mathematics and texts. Pure.
//!
//! ```
//! use gemba::proof::note::{LocalSigner, Signer, checkpoint, verify_checkpoint};
//! use gemba::proof::tree::{Tree, leaf_hash, node_hash};
//!
//! let [first, second] = [b"first", b"other"].map(|entry| leaf_hash(entry));
//! let mut tree = Tree::default();
//! tree.append(first);
//! tree.append(second);
//! assert_eq!(tree.root(), node_hash(&first, &second));
//!
//! let signer = LocalSigner::new("gemba.local/dev", &[7; 32])?;
//! let note = checkpoint(&signer, tree.size(), &tree.root());
//! let stated = verify_checkpoint("gemba.local/dev", &signer.public_key(), &note);
//! assert_eq!(stated, Some((2, tree.root())));
//! # Ok::<(), gemba::proof::note::BadSigner>(())
//! ```

pub mod note;
pub mod tree;
