//! The template function.

fn main() {}
