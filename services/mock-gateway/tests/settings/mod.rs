//! The gateway's settings that these tests share, as near to AWS's as a test can wait for.
//! Each test names what it wants otherwise.

use std::path::PathBuf;
use std::time::Duration;

use mock_gateway::{Config, Pace, Parity, StartPolicy};

/// Asynchronous events are kept in `events_dir`; nothing else is written.
pub(crate) fn config(events_dir: PathBuf) -> Config {
    Config {
        account_id: "000000000000".to_owned(),
        region: "us-east-1".to_owned(),
        function_env: Vec::new(),
        host_aliases: Vec::new(),
        start: StartPolicy::Lazy,
        max_environments: 4,
        max_waiting: 1_000,
        build_wait: Duration::from_secs(10),
        rest_integration_timeout: Duration::from_secs(29),
        http_integration_timeout: Duration::from_secs(30),
        drain: Duration::from_secs(10),
        events_dir,
        pace: Pace::AWS,
        aws_endpoint: None,
        init_timeout: Duration::from_secs(10),
        idle_timeout: None,
        freeze: false,
        logs_dir: None,
        parity: Parity::Warn,
        journal_entries: 100,
    }
}
