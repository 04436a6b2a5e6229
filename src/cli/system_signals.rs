//! What the system asks of a node by signals. They are caught before anything else is done: as PID 1 of a container an
//! uncaught signal is lost, elsewhere it kills.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output::Failure;
use crate::limits::PANIC_WAIT;
use crate::line::SystemOrders;
use crate::logging;
use crate::service_manager::ServiceManager;

/// Exit code of a line that was not allowed to drain.
const EXIT_UNDRAINED: i32 = 3;
/// Exit code of a node that had not begun.
const EXIT_DONE: i32 = 0;

/// Catches SIGTERM, SIGINT, SIGHUP and SIGUSR1 from here on. What comes before somebody listens is kept.
pub fn catch() -> Result<SystemOrders, Failure> {
    let service = ServiceManager::of(|name| std::env::var_os(name));
    let orders = SystemOrders { service, ..SystemOrders::default() };
    let given = orders.clone();
    let (caught, is_caught) = mpsc::sync_channel(1);
    let failed = |error: io::Error| Failure::io(format!("signals cannot be caught: {error}"));
    let thread = thread::Builder::new().name("signals".into()).spawn(move || {
        let listened = catch_unwind(AssertUnwindSafe(|| listen(&given, &caught)));
        if let Ok(Err(error)) = listened {
            // Nobody waits for it only when it was told before.
            let _told = caught.send(Err(error));
        }
        // Deaf to SIGTERM, a node must not go on.
        tracing::error!(target: "gemba::line", "signals of the system are no longer heard: the node drains");
        given.drain.turn_on();
    });
    thread.map_err(failed)?;
    match is_caught.recv() {
        Ok(Ok(())) => Ok(orders),
        Ok(Err(error)) => Err(failed(error)),
        Err(mpsc::RecvError) => Err(failed(io::Error::other("their thread has ended"))),
    }
}

fn listen(orders: &SystemOrders, caught: &mpsc::SyncSender<io::Result<()>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut reopen = signal(SignalKind::user_defined1())?;
        // A write beyond a limit on the size of files then fails with EFBIG and says which file; uncaught, the signal
        // kills without a word.
        let _beyond_file_size = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        // The one who waits for it is there.
        let _told = caught.send(Ok(()));
        let mut was_asked = false;
        while hear(orders, [&mut terminate, &mut interrupt], [&mut hangup, &mut reopen], &mut was_asked)
            .await
            .is_some()
        {}
        Ok(())
    })
}

/// The first order to end drains the line, if it has begun; the second ends the process at once, as a crash would.
async fn hear(
    orders: &SystemOrders,
    end: [&mut Signal; 2],
    [hangup, reopen]: [&mut Signal; 2],
    was_asked: &mut bool,
) -> Option<()> {
    let [terminate, interrupt] = end;
    tokio::select! {
        came = hangup.recv() => {
            came?;
            orders.reload.notify_one();
        }
        came = reopen.recv() => {
            came?;
            logging::reopen();
        }
        came = async { tokio::select! { came = terminate.recv() => came, came = interrupt.recv() => came } } => {
            came?;
            // The line may drain for a reason of its own: that is no first signal.
            if std::mem::replace(was_asked, true) {
                tracing::warn!(target: "gemba::line", "a second signal ends the node at once: the next start recovers");
                exit(EXIT_UNDRAINED);
            }
            orders.drain.turn_on();
            orders.service.stopping();
            tracing::info!(target: "gemba::line", "the system ends the node: it drains");
            if !orders.begun.is_on() {
                // The start may wait for a file; nothing is begun that had to be ended in order.
                exit(EXIT_DONE);
            }
        }
    }
    Some(())
}

fn exit(code: i32) -> ! {
    logging::flush(PANIC_WAIT);
    std::process::exit(code)
}
