//! What happened: a bounded, queryable record that says when it forgets.
//!
//! A [`Journal`] keeps the newest entries, bounded by number and by bytes. What it lets go
//! of is counted, never hidden. Queries see a consistent [`Snapshot`]; a query may also
//! wait until what it looks for is there.

mod entry;
mod limits;
mod patience;
mod record;

pub use entry::{Entry, EntryId, Weigh};
pub use limits::Limits;
pub use patience::{BadPatience, MAX_PATIENCE, Patience};
pub use record::{Journal, Snapshot};
