//! Whole pipelines, end to end, in one binary.

mod imports;
mod pipeline;
mod reload;
