//! How long an operator's question waits for a stage.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::operator::Refused;

/// A stage that does not answer an operator by then is busy or gone.
const ANSWER: Duration = Duration::from_secs(5);

/// What is awaited, or that it is unavailable.
pub async fn in_time<T>(awaited: impl Future<Output = T>) -> Result<T, Refused> {
    tokio::time::timeout(ANSWER, awaited).await.map_err(|_| Refused::Unavailable)
}

/// The answer of a stage, or that it is unavailable.
pub async fn answered<T>(answer: oneshot::Receiver<T>) -> Result<T, Refused> {
    in_time(answer).await?.map_err(|_| Refused::Unavailable)
}
