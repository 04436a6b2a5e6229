//! Who decides on the partitions that this node takes from: this node alone, or one of several processors that share their
//! state.

use std::rc::Rc;

use crate::event::{EdgeName, Seq};
use crate::kanban::share::Sharer;

/// Who decides on them.
pub enum Ownership {
    /// This node, on all of them and for ever: what is durable counts.
    Alone,
    /// Whoever has taken a partition: what is shared counts.
    Shared(Rc<Sharer>),
}

impl Ownership {
    #[must_use]
    pub fn owns(&self, partition: u16) -> bool {
        match self {
            Self::Alone => true,
            Self::Shared(sharer) => sharer.holds(partition),
        }
    }

    /// Before partitions are taken: what became of them is looked for. False while an earlier run's last round is not settled.
    pub async fn is_certain(&self) -> Result<bool, String> {
        match self {
            Self::Alone => Ok(true),
            Self::Shared(sharer) if !sharer.has_begun() => Ok(false),
            Self::Shared(sharer) => sharer.look_after().await.map(|()| true).map_err(|why| why.to_string()),
        }
    }

    /// Takes a partition from whoever decided on it. Returns through which numbers its signals are decided; nothing where
    /// this node decides on it already.
    pub async fn take(&self, partition: u16) -> Result<Option<Vec<(EdgeName, Seq)>>, String> {
        match self {
            Self::Shared(sharer) if !sharer.holds(partition) => {
                sharer.take(partition).await.map(Some).map_err(|why| why.to_string())
            }
            Self::Alone | Self::Shared(_) => Ok(None),
        }
    }

    /// Before the line ends: what is durable is made to count.
    pub async fn settle(&self) {
        match self {
            Self::Alone => {}
            Self::Shared(sharer) => sharer.settle().await,
        }
    }

    /// The newest event that must count before anything that repeats it may be acknowledged.
    #[must_use]
    pub fn changed(&self) -> Seq {
        match self {
            Self::Alone => Seq(0),
            Self::Shared(sharer) => sharer.changed(),
        }
    }

    /// Of what is durable, everything up to here counts.
    #[must_use]
    pub fn through(&self) -> Seq {
        match self {
            Self::Alone => Seq(u64::MAX),
            Self::Shared(sharer) => sharer.through(),
        }
    }

    /// Grows when a partition is lost.
    #[must_use]
    pub fn losses(&self) -> u64 {
        match self {
            Self::Alone => 0,
            Self::Shared(sharer) => sharer.losses(),
        }
    }
}
