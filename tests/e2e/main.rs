//! Whole pipelines, end to end, with the services in this process.

use e2e_tests::in_process::run;

mod aws_clients;
mod extensions;
mod imports;
#[path = "../suite/pipeline.rs"]
mod pipeline;
mod recursive_loop;
#[path = "../suite/refusals.rs"]
mod refusals;
#[path = "../suite/reload.rs"]
mod reload;
mod runtime_clients;
mod rust_sdk;
mod self_invocation;
#[path = "../suite/storage.rs"]
mod storage;
