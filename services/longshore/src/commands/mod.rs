//! One file for each subcommand.

pub mod doctor;
pub mod invoke;
pub mod new;
pub mod serve;
