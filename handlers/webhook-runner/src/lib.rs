//! The base webhook runner and the HTTP API runner: stream, batch, deliver, report.
