//! What the destination is told at start.

use std::path::PathBuf;
use std::time::Duration;

use journal::Limits;
use url::Url;

/// Settings of the destination.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the callback poller listens: status reports that come here go there.
    pub poller: Url,
    /// Bytes a delivery may have; a larger one is answered 413. API Gateway's limit is
    /// [`Config::DEFAULT_BODY_LIMIT`].
    pub body_limit: usize,
    /// Deliveries remembered at most, without their bodies.
    pub deliveries: usize,
    /// Bodies remembered at most, in number and in bytes; the oldest go first.
    pub bodies: Limits,
    /// Of a body larger than this only the beginning is kept.
    pub body_kept: usize,
    /// Where deliveries are kept, so that whoever starts next has them; `None` keeps them in
    /// memory only.
    pub state_dir: Option<PathBuf>,
    /// How long requests in flight may take once shutdown was asked for.
    pub drain: Duration,
}

impl Config {
    /// Ten megabytes, as API Gateway has it.
    pub const DEFAULT_BODY_LIMIT: usize = 10 << 20;
    /// Deliveries remembered unless told otherwise.
    pub const DEFAULT_DELIVERIES: usize = 10_000;
    /// Bodies remembered unless told otherwise.
    pub const DEFAULT_BODIES: Limits = Limits {
        entries: 1_000,
        bytes: 16 << 20,
    };
    /// Enough for a batch of 500 wide customer records.
    pub const DEFAULT_BODY_KEPT: usize = 1 << 20;
}
