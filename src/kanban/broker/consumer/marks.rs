//! What others see of the consumer.

use crate::event::Astray;
use crate::kanban::broker::queues::Queues;
use crate::kanban::broker::trouble::Trouble;
use crate::ring::Mark;

/// What others see of the consumer.
#[derive(Clone, Debug)]
pub struct Marks {
    /// 1 while there is a connection.
    pub connected: Mark,
    /// Connections that ended.
    pub broken: Mark,
    /// Messages delivered and not yet acknowledged.
    pub unacked: Mark,
    /// Messages that were acknowledged.
    pub messages: Mark,
    /// Of these, messages that had come before.
    pub repeats: Mark,
    /// Numbers that edges had given and that never came.
    pub missing: Mark,
    /// Messages that nobody may decide on, by why.
    pub rejected: [Mark; Astray::ALL.len()],
    /// For each partition that is consumed.
    pub partitions: Vec<PartitionMarks>,
    /// Of every partition.
    pub queues: Queues,
    pub trouble: Trouble,
}

#[derive(Clone, Debug)]
pub struct PartitionMarks {
    pub number: u16,
    /// Messages that wait in the queue.
    pub waiting: Mark,
    /// 1 where messages come to this node.
    pub owned: Mark,
}

impl Marks {
    #[must_use]
    pub fn new(consumed: &[u16], partitions: u16, trouble: Trouble) -> Self {
        let zero = || Mark::new(0);
        let partition = |number: &u16| PartitionMarks { number: *number, waiting: zero(), owned: zero() };
        Self {
            connected: zero(),
            broken: zero(),
            unacked: zero(),
            messages: zero(),
            repeats: zero(),
            missing: zero(),
            rejected: std::array::from_fn(|_| zero()),
            partitions: consumed.iter().map(partition).collect(),
            queues: Queues::new(partitions),
            trouble,
        }
    }

    /// Those of a partition that is consumed.
    #[must_use]
    pub fn partition(&self, number: u16) -> Option<&PartitionMarks> {
        self.partitions.iter().find(|marks| marks.number == number)
    }

    /// One more that nobody may decide on.
    pub fn reject(&self, why: Astray) {
        if let Some(rejected) = self.rejected.get(why as usize) {
            rejected.add(1);
        }
    }

    /// A connection ended: nothing comes, and nothing is under way.
    pub fn disconnect(&self) {
        self.connected.publish(0);
        self.unacked.publish(0);
        for partition in &self.partitions {
            partition.owned.publish(0);
        }
    }
}
