//! Counts what a try sends, before it is sent.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use super::rate::{Rate, month};
use super::sent::SentFile;
use crate::event::UnixMillis;
use crate::net::retry::Miss;

/// Tells the journal's time.
pub type JournalTime = Rc<dyn Fn() -> UnixMillis>;

/// Why nothing is sent any more.
pub const MONTH_USED_UP: &str = "the messages of this month are used up";

/// Counts one try. Its first call is counted already.
pub struct CallMeter {
    pub channel: Arc<str>,
    pub rate: Rc<RefCell<Rate>>,
    pub sent: Option<Rc<SentFile>>,
    pub time: JournalTime,
    pub has_called: Cell<bool>,
}

impl CallMeter {
    /// A call is made.
    pub fn call(&self) {
        if self.has_called.replace(true) {
            self.rate.borrow_mut().call(Instant::now());
        }
    }

    /// A message that is paid for is sent.
    ///
    /// # Errors
    /// When there is none left.
    pub async fn message(&self) -> Result<(), Miss> {
        let has_room = self.rate.borrow_mut().message(month((self.time)()));
        if !has_room {
            return Err(Miss::refused(MONTH_USED_UP));
        }
        self.keep().await;
        Ok(())
    }

    /// It is known that the message was not sent.
    pub async fn unsent(&self) {
        self.rate.borrow_mut().unsent();
        self.keep().await;
    }

    async fn keep(&self) {
        let sent = self.rate.borrow().sent(Instant::now(), (self.time)());
        if let Some(file) = &self.sent {
            file.keep(&self.channel, sent).await;
        }
    }
}
