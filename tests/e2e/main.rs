//! Whole pipelines, end to end, in one binary.

mod imports;
