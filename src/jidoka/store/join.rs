//! Governors and the signals that wait for them, put together from their rows.

use super::changes::waits_for;
use crate::jidoka::governor::{Bare, Damage, Governor};

/// Puts governors and waiting signals together; both come in the order of their keys.
///
/// # Errors
/// The governor whose row is damaged, or which a signal waits for that has no such row.
pub fn join<E>(
    rows: impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), E>>,
    waits: impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), E>>,
    wrong: impl Fn(&[u8], Damage) -> E,
    visit: &mut dyn FnMut(Governor),
) -> Result<(), E> {
    let mut waits = waits.peekable();
    for row in rows {
        let (key, row) = row?;
        let mut bare = Bare::decode(&row).map_err(|damage| wrong(&key, damage))?;
        while let Some(wait) = waits.next_if(|wait| {
            wait.as_ref().map_or(true, |(of, _)| waits_for(of).is_none_or(|(of, _)| of <= &*key))
        }) {
            let (of, wait) = wait?;
            let Some((governor, seq)) = waits_for(&of) else { return Err(wrong(&of, Damage::Inconsistent)) };
            if governor != &*key {
                return Err(wrong(governor, Damage::Inconsistent));
            }
            bare.wait(seq, &wait).map_err(|damage| wrong(&key, damage))?;
        }
        match bare.complete() {
            Ok(governor) if governor.key().as_bytes() == &*key => visit(governor),
            Ok(_) => return Err(wrong(&key, Damage::Inconsistent)),
            Err(damage) => return Err(wrong(&key, damage)),
        }
    }
    match waits.next() {
        Some(left) => Err(wrong(&left?.0, Damage::Inconsistent)),
        None => Ok(()),
    }
}
