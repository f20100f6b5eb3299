//! Whole pipelines, end to end, with the services and LocalStack in containers; and the
//! compose file itself.

use e2e_tests::containers::run;

mod compose;
mod killed;
#[path = "../suite/pipeline.rs"]
mod pipeline;
#[path = "../suite/refusals.rs"]
mod refusals;
#[path = "../suite/reload.rs"]
mod reload;
#[path = "../suite/storage.rs"]
mod storage;
