//! The echo function.

fn main() {}
