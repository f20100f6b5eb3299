//! The demo function.

fn main() {}
