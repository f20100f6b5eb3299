//! What happened: a bounded, queryable record that says when it forgets.
//!
//! A [`Journal`] keeps the newest entries, bounded by number and by bytes. What it lets go
//! of is counted, never hidden. Queries see a consistent [`Snapshot`]; a query may also
//! wait until what it looks for is there. A [`Ledger`] keeps the same on disk, for who must
//! still know it after being killed.

mod entry;
mod key;
mod ledger;
mod limits;
mod patience;
mod record;

pub use entry::{Entry, EntryId, Weigh};
pub use key::Key;
pub use ledger::{Change, Ledger, LedgerError, NotWritten, Opened, Place, Rows, Writing, Written};
pub use limits::Limits;
pub use patience::{BadPatience, MAX_PATIENCE, Patience};
pub use record::{Journal, Snapshot};
