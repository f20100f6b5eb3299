//! What real engines say, and an engine that says what a test wants.

mod fake;
mod recorded;
