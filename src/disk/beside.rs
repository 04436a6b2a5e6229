//! Writing beside a file whose syncs somebody waits for.

use std::io;

use super::storage::File;

/// Bytes that a sync of another file may have to wait for.
pub const PIECE_BYTES: usize = 256 * 1024;
/// Who writes beside the journal and is in no hurry leaves core and disk to others for so many times as long as each
/// piece took.
pub const REST: u32 = 4;

/// Writes `bytes` at `at` and makes them durable beside a file whose syncs somebody waits for: piece by piece, since
/// a device that flushes finishes what was written before, whoever wrote it.
///
/// # Errors
/// Whatever the file system says; part of the bytes may be durable. The file must not be synced again afterwards.
pub fn write_beside(file: &dyn File, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut at = at;
    for piece in bytes.chunks(PIECE_BYTES) {
        file.write_all_at(piece, at)?;
        file.sync_data()?;
        at += piece.len() as u64;
    }
    Ok(())
}
