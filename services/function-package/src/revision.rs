//! The commit that a package is built from.

use crate::manifest::Revision;
use crate::tools::{Call, Tools};

/// The workspace's commit, `None` outside of git or without a commit.
pub(crate) async fn revision(tools: &Tools) -> Option<Revision> {
    let commit = tools
        .answer(&Call::new("git").args(["rev-parse", "HEAD"]))
        .await
        .ok()?;
    let status = Call::new("git").args(["status", "--porcelain"]);
    let clean = tools
        .answer(&status)
        .await
        .is_ok_and(|changes| changes.is_empty());
    Some(Revision { commit, clean })
}
