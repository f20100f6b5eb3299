//! One file for each subcommand.

pub mod build;
pub mod doctor;
pub mod invoke;
pub mod keep;
pub mod logs;
pub mod new;
pub mod serve;
pub mod sync_fixtures;
pub mod verify;
