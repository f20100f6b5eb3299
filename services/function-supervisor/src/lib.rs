//! Watch, build, spawn and drain the functions. Knows cargo and processes, no HTTP server.

mod table;

pub use table::{Artifact, BuildState, FunctionEntry, FunctionTable, Generation};
