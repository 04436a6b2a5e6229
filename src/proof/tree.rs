//! The Merkle tree of RFC 6962, section 2.1, grown leaf by leaf: only the roots of the full subtrees along its right
//! edge are kept.

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256.
pub type Hash = [u8; 32];

/// `SHA-256(0x00 || entry)`.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut text = [0; 256];
    match text.get_mut(1..=entry.len()) {
        Some(room) => {
            room.copy_from_slice(entry);
            sha256(&text[..=entry.len()])
        }
        None => sha256(&[&[0], entry].concat()),
    }
}

/// `SHA-256(0x01 || left || right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut text = [1; 65];
    text[1..33].copy_from_slice(left);
    text[33..].copy_from_slice(right);
    sha256(&text)
}

fn sha256(text: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text).as_ref());
    hash
}

/// The right edge of a tree: one hash for each bit of its size that is set, largest subtree first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    edge: Vec<Hash>,
}

impl Tree {
    /// Takes up a tree where another left it; `None` when the edge does not fit the size.
    #[must_use]
    pub fn resume(size: u64, edge: Vec<Hash>) -> Option<Self> {
        (edge.len() == size.count_ones() as usize).then_some(Self { size, edge })
    }

    /// Leaves so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the full subtrees, largest first; [`Tree::resume`] takes them.
    #[must_use]
    pub fn edge(&self) -> &[Hash] {
        &self.edge
    }

    /// Appends a leaf, given by its hash.
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.edge.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.edge.push(hash);
        self.size += 1;
        debug_assert_eq!(self.edge.len(), self.size.count_ones() as usize);
    }

    /// The root; of the empty tree the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut edge = self.edge.iter().rev();
        let Some(last) = edge.next() else { return sha256(b"") };
        edge.fold(*last, |right, left| node_hash(left, &right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962, section 2.1, word by word.
    fn definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(b""),
            [only] => *only,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(&definition(&leaves[..split]), &definition(&leaves[split..]))
            }
        }
    }

    #[test]
    fn the_grown_tree_is_the_defined_tree_at_every_size() {
        let leaves: Vec<Hash> = (0u32..520).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let mut tree = Tree::default();
        for size in 0..leaves.len() {
            assert_eq!(tree.root(), definition(&leaves[..size]), "size {size}");
            let resumed = Tree::resume(tree.size(), tree.edge().to_vec()).unwrap();
            assert_eq!(resumed, tree);
            tree.append(leaves[size]);
        }
        assert_eq!(Tree::resume(3, vec![[0; 32]]), None);
    }

    proptest::proptest! {
        #[test]
        fn a_tree_taken_up_anywhere_grows_into_the_defined_tree(first in 0u32..3000, more in 0u32..3000) {
            let leaves: Vec<Hash> = (0..first + more).map(|n| leaf_hash(&n.to_be_bytes())).collect();
            let (before, behind) = leaves.split_at(first as usize);
            let mut tree = Tree::default();
            for leaf in before {
                tree.append(*leaf);
            }
            let mut resumed = Tree::resume(tree.size(), tree.edge().to_vec()).unwrap();
            for leaf in behind {
                resumed.append(*leaf);
            }
            proptest::prop_assert_eq!(resumed.root(), definition(&leaves));
        }

        #[test]
        fn leaves_and_nodes_are_hashed_apart(entry in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            proptest::prop_assert_eq!(leaf_hash(&entry), sha256(&[&[0], &entry[..]].concat()));
            proptest::prop_assert_eq!(leaf_hash(&entry), tlog_tiles::record_hash(&entry).0);
        }
    }
}
