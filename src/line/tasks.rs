//! Tasks that run beside a thread's own work for as long as it does. One that ends before is noticed: its panic becomes
//! the thread's, which the supervisor hears of.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::pin;

use tokio::task::JoinSet;

use super::error::ServeError;
use crate::ring::Switch;

/// The tasks of one thread.
pub struct Tasks {
    running: JoinSet<&'static str>,
    stop: Switch,
}

impl Tasks {
    /// After `stop` they may end.
    #[must_use]
    pub fn new(stop: Switch) -> Self {
        Self { running: JoinSet::new(), stop }
    }

    /// Starts a task on this thread's runtime.
    pub fn start(&mut self, name: &'static str, task: impl Future<Output = ()> + 'static) {
        self.running.spawn_local(async move {
            task.await;
            name
        });
    }

    /// Runs `work` to its end, and ends the tasks with it.
    ///
    /// # Errors
    /// When a task ended first.
    pub async fn beside(mut self, work: impl Future<Output = ()>) -> Result<(), ServeError> {
        let mut work = pin!(work);
        loop {
            let ended = tokio::select! {
                biased;
                () = &mut work => return Ok(()),
                Some(ended) = self.running.join_next() => ended,
            };
            match ended {
                Ok(_) if self.stop.is_on() => {}
                Ok(name) => return Err(ServeError::Ended { stage: name.into() }),
                Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                // Nobody cancels one of them.
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::LocalOptions;

    use super::*;

    fn run(tasks: impl FnOnce(&mut Tasks), work: impl Future<Output = ()>) -> Result<(), ServeError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build_local(LocalOptions::default());
        runtime.unwrap().block_on(async {
            let mut beside = Tasks::new(Switch::new());
            tasks(&mut beside);
            beside.beside(work).await
        })
    }

    #[test]
    fn a_task_that_ends_or_panics_before_its_thread_is_noticed() {
        let ended = run(|tasks| tasks.start("reload", async {}), std::future::pending());
        assert_eq!(ended.unwrap_err().to_string(), "reload ended before it was told to");
        let panics =
            || run(|tasks| tasks.start("reload", async { panic!("a mistake") }), std::future::pending());
        let panic = std::panic::catch_unwind(panics).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"a mistake"));
        let well = run(|tasks| tasks.start("reload", std::future::pending()), async {});
        assert!(well.is_ok());
    }
}
