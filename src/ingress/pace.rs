//! How fast a sender is refused what it has signed. To refuse it a request is read, verified and parsed: all the work but
//! the journal's. So each has an allowance of work that is refused at once; beyond it every refusal waits for its turn,
//! and its connection is not read meanwhile. Pure; the caller brings the time.

use crate::limits::{REFUSED_AT_ONCE_BYTES, REFUSED_BYTES_PER_SECOND, REFUSED_REQUEST_BYTES, REST};

const SECOND: u64 = 1_000_000_000;
const AT_ONCE_NANOS: u64 = REFUSED_AT_ONCE_BYTES * SECOND / REFUSED_BYTES_PER_SECOND;
#[expect(clippy::cast_possible_truncation, reason = "some seconds")]
const REST_NANOS: u64 = REST.as_nanos() as u64;

/// The work of one sender that was refused, by the generic cell rate algorithm: when it will be forgotten.
#[derive(Clone, Copy, Debug, Default)]
pub struct RefusedWork {
    until: u64,
}

impl RefusedWork {
    /// One more request, with a body of so many bytes, is refused; nanoseconds until its turn.
    pub fn add(&mut self, body_bytes: usize, now: u64) -> u64 {
        let cost = (body_bytes as u64 + REFUSED_REQUEST_BYTES) * SECOND / REFUSED_BYTES_PER_SECOND;
        // More than the longest wait is not remembered.
        let most = now + AT_ONCE_NANOS + REST_NANOS;
        self.until = (self.until.max(now) + cost).min(most);
        (self.until - now).saturating_sub(AT_ONCE_NANOS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: usize = 25_000;

    #[test]
    fn who_comes_again_after_a_second_is_never_slowed() {
        let mut work = RefusedWork::default();
        for second in 0..1000 {
            // Sixteen senders of batches that share a tenant, each obeying for itself.
            for _ in 0..16 {
                assert_eq!(work.add(BATCH, second * SECOND), 0, "{second}");
            }
        }
    }

    #[test]
    fn who_comes_again_at_once_is_refused_at_a_bounded_rate() {
        for senders in [1, 4, 64, 1024] {
            let mut work = RefusedWork::default();
            let mut comes_at = vec![0; senders];
            let mut refused = 0;
            for now in (0..100 * SECOND).step_by(1_000_000) {
                for comes_at in &mut comes_at {
                    if *comes_at <= now {
                        refused += 1;
                        *comes_at = now + work.add(BATCH, now).max(1_000_000);
                    }
                }
            }
            let allowed = REFUSED_AT_ONCE_BYTES + 100 * REFUSED_BYTES_PER_SECOND;
            let allowed = allowed / (BATCH as u64 + REFUSED_REQUEST_BYTES);
            let waiting = senders as u64 * (100 * SECOND / REST_NANOS + 1);
            assert!(refused <= allowed + waiting, "{senders}: {refused}");
        }
    }

    #[test]
    fn it_is_forgotten_and_never_waits_longer_than_a_rest() {
        let mut work = RefusedWork::default();
        let waits: Vec<u64> = (0..10_000).map(|_| work.add(BATCH, 0)).collect();
        assert!(waits.is_sorted());
        assert_eq!(waits.last(), Some(&REST_NANOS));
        assert_eq!(work.add(BATCH, AT_ONCE_NANOS + REST_NANOS), 0);
    }
}
