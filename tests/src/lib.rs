//! Whole pipelines, end to end.
