//! Where batches go.

use crate::batch::Batch;
use crate::deadline::Deadline;

/// Takes the batches of one job, one at a time and in order. While one is under way, the
/// next is read.
pub trait Deliver: Send {
    /// Hands a batch over; repeating what is worth repeating is up to the implementation,
    /// and so is ending before the deadline.
    fn deliver(
        &mut self,
        batch: Batch,
        deadline: Deadline,
    ) -> impl Future<Output = Delivery> + Send;
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// All of it arrived.
    Accepted,
    /// It arrived, but for some records: one error each.
    Partly(Vec<String>),
    /// None of it arrived.
    Refused(String),
    /// There is no time to send it in this invocation: nothing was sent, the run ends here.
    OutOfTime,
}
