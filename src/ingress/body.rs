//! Reading one request's body within its limits. The usual body has come with its head, so the first look finds it
//! whole, in one piece; only what has to be waited for costs a timer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::Body;

use super::answer::Refused;
use super::memory_budget::Charge;
use crate::clock;
use crate::limits::{BODY_BYTES_MAX, BODY_BYTES_PER_SECOND, BODY_GRACE_SECONDS, BODY_READ_SECONDS};

/// Reads all of `body`. What has to be waited for is charged to what `open` returns. While `rests` says that nothing is
/// read, nobody is slow.
pub async fn read<B>(
    body: &mut B,
    rests: impl Fn() -> bool,
    open: impl FnOnce() -> Charge,
) -> Result<Bytes, Refused>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut held = Held::default();
    if let Some(done) = first_look(body, &mut held).await {
        done?;
    } else {
        held.charge(open())?;
        // In a box: a request whose body has come needs no room for it.
        Box::pin(wait(body, &mut held, rests)).await?;
    }
    Ok(held.whole())
}

/// Holds a whole body of `bytes` for this long, charged like one that is still coming.
pub async fn hold(charge: Charge, bytes: usize, wait: Duration) -> Result<(), Refused> {
    charge.set(bytes + BESIDE_BYTES, clock::nanos()).map_err(|_| Refused::BodyBudget)?;
    let mut waited = pin!(tokio::time::sleep(wait));
    poll_fn(|cx| match charge.poll_revoked(cx) {
        Poll::Ready(_) => Poll::Ready(Err(Refused::BodyBudget)),
        Poll::Pending => waited.as_mut().poll(cx).map(Ok),
    })
    .await
}

/// Reads the rest of a body that nobody wants, so that the next request of its connection can be read; whether it came
/// to its end.
pub async fn discard<B>(body: &mut B) -> bool
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut dropped = Held { drops: true, ..Held::default() };
    match first_look(body, &mut dropped).await {
        Some(done) => done.is_ok(),
        None => wait(body, &mut dropped, || false).await.is_ok(),
    }
}

/// Takes what has come already; `None` when more has to be waited for.
async fn first_look<B>(body: &mut B, held: &mut Held) -> Option<Result<(), Refused>>
where
    B: Body<Data = Bytes> + Unpin,
{
    poll_fn(|cx| match poll_more(body, held, cx) {
        Poll::Pending => Poll::Ready(None),
        Poll::Ready(done) => Poll::Ready(Some(done)),
    })
    .await
}

/// Waits for the rest, and looks each second whether it still comes fast enough.
async fn wait<B>(body: &mut B, held: &mut Held, rests: impl Fn() -> bool) -> Result<(), Refused>
where
    B: Body<Data = Bytes> + Unpin,
{
    let begun = tokio::time::Instant::now();
    let mut expected = 0;
    for second in BODY_GRACE_SECONDS..=BODY_READ_SECONDS {
        let rest = poll_fn(|cx| match held.poll_revoked(cx) {
            Poll::Ready(refused) => Poll::Ready(Err(refused)),
            Poll::Pending => poll_more(body, held, cx),
        });
        let until = begun + Duration::from_secs(u64::from(second));
        if let Ok(done) = tokio::time::timeout_at(until, rest).await {
            return done;
        }
        if rests() {
            continue;
        }
        if held.bytes < expected {
            break;
        }
        expected += BODY_BYTES_PER_SECOND;
    }
    Err(Refused::BodySlow)
}

fn poll_more<B>(body: &mut B, held: &mut Held, cx: &mut Context<'_>) -> Poll<Result<(), Refused>>
where
    B: Body<Data = Bytes> + Unpin,
{
    loop {
        let expected = body.size_hint().lower();
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(Ok(())),
            Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Refused::BodyBroken)),
            Poll::Ready(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    held.take(data, expected)?;
                }
                if body.is_end_stream() {
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// A longer body stays where it was read.
const MOVED_BYTES_MAX: usize = 2048;

/// What a body that is waited for costs beside its bytes: its request's head and the buffer that it is read with.
const BESIDE_BYTES: usize = 16 * 1024;

/// What has come so far: one piece as it is, several in one buffer.
#[derive(Debug, Default)]
struct Held {
    only: Bytes,
    several: BytesMut,
    /// All that came, held or not.
    bytes: usize,
    /// Nobody wants the body.
    drops: bool,
    charge: Option<Charge>,
}

impl Held {
    /// From here on what is held is charged.
    fn charge(&mut self, charge: Charge) -> Result<(), Refused> {
        self.charge = Some(charge);
        self.update_charge()
    }

    fn update_charge(&self) -> Result<(), Refused> {
        let Some(charge) = &self.charge else { return Ok(()) };
        let held = self.only.len() + self.several.capacity() + BESIDE_BYTES;
        charge.set(held, clock::nanos()).map_err(|_| Refused::BodyBudget)
    }

    fn poll_revoked(&self, cx: &Context<'_>) -> Poll<Refused> {
        match &self.charge {
            Some(charge) => charge.poll_revoked(cx).map(|_| Refused::BodyBudget),
            None => Poll::Pending,
        }
    }

    fn take(&mut self, data: Bytes, expected: u64) -> Result<(), Refused> {
        self.bytes += data.len();
        if self.bytes > BODY_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        if self.drops {
            return Ok(());
        }
        if self.only.is_empty() && self.several.is_empty() {
            self.only = data;
            return self.update_charge();
        }
        if self.several.is_empty() {
            // A declared length alone takes no memory: the room is in proportion to what has come.
            let expected = usize::try_from(expected).unwrap_or(BODY_BYTES_MAX).min(4 * self.bytes);
            self.several.reserve(self.bytes.max(self.only.len() + expected).min(BODY_BYTES_MAX));
            self.several.extend_from_slice(&self.only);
            self.only = Bytes::new();
        }
        self.several.extend_from_slice(&data);
        self.update_charge()
    }

    fn whole(self) -> Bytes {
        match self.several.is_empty() {
            // A small body moves out, so that the connection's buffer, warm in the cache, is free for the next request
            // and a signal that waits does not hold all of it.
            true if self.only.len() <= MOVED_BYTES_MAX => Bytes::copy_from_slice(&self.only),
            true => self.only,
            false => self.several.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::ingress::memory_budget::MemoryBudget;

    /// Bodies that wait for their turn are part of what a client may hold: under pressure, one of who holds most goes.
    #[test]
    fn what_waits_for_its_turn_is_charged_until_it_is_judged() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        runtime.block_on(async {
            let budget = MemoryBudget::new(4 * BODY_BYTES_MAX);
            let forger = IpAddr::from([10, 0, 0, 1]);
            let waiting: Vec<_> = (0..8)
                .map(|_| {
                    let held = hold(budget.open(forger, 0), BODY_BYTES_MAX, Duration::from_secs(1));
                    tokio::task::spawn_local(held)
                })
                .collect();
            tokio::task::yield_now().await;
            // Somebody else has room at once.
            let other = budget.open(IpAddr::from([10, 0, 0, 2]), 0);
            assert!(other.grow(BODY_BYTES_MAX, 0).is_ok());
            let (mut done, mut refused) = (0, 0);
            for task in waiting {
                match task.await.unwrap() {
                    Ok(()) => done += 1,
                    Err(why) => {
                        assert!(matches!(why, Refused::BodyBudget), "{why:?}");
                        refused += 1;
                    }
                }
            }
            assert!(done >= 1 && refused >= 4, "{done} waited, {refused} gave way");
            assert!(other.grow(2 * BODY_BYTES_MAX, 0).is_ok(), "all of it is given back");
        });
    }
}
