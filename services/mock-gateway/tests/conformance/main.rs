//! What AWS's contract says, row by row, against a gateway that is listening: the cases in
//! `cases/conformance/`, and the page that says what conforms and what does not.
//!
//! A function here is a process of this binary that does what the case tells it, byte for
//! byte, over the Runtime API: [`puppet`].

#[cfg(test)]
mod expect;
#[cfg(test)]
mod page;
#[cfg(test)]
mod puppet;
#[cfg(test)]
mod script;
#[path = "../settings/mod.rs"]
mod settings;
#[cfg(test)]
mod sink;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod table;
