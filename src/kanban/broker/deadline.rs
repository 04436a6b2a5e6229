//! No wait on the broker lasts for ever.

use tokio::time::timeout;

use crate::limits::{BROKER_DECLARE, CONFIRM_PROGRESS};
use crate::net::amqp::said;

/// A wait on the broker, ended by a deadline; then it is said what the broker did not do.
pub async fn with_deadline<T>(what: &str, wait: impl Future<Output = lapin::Result<T>>) -> Result<T, String> {
    match timeout(BROKER_DECLARE.max(CONFIRM_PROGRESS), wait).await {
        Ok(done) => done.map_err(|error| said(&error)),
        Err(_) => Err(format!("the broker {what}")),
    }
}
