//! Whole pipelines, end to end, with the services and LocalStack in containers.

use e2e_tests::containers::run;

#[path = "../suite/pipeline.rs"]
mod pipeline;
#[path = "../suite/refusals.rs"]
mod refusals;
#[path = "../suite/reload.rs"]
mod reload;
#[path = "../suite/storage.rs"]
mod storage;
