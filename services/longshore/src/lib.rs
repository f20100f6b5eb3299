//! Longshore: a local-first sandbox for AWS Lambda data pipelines.
