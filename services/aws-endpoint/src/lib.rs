//! The embedded AWS endpoint: S3 in process on one port.
