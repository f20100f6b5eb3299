//! Whole pipelines, end to end: the harness that the tests in `e2e/` run on.
