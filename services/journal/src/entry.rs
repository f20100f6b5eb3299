//! One thing that happened, and the number it goes by.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Numbers the entries of one journal, from 1, in order of arrival. A number is never given
/// twice, not even after [`clear`](crate::Journal::clear).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryId(u64);

impl EntryId {
    /// Before the first entry: what a reader who has seen nothing starts after.
    pub const START: Self = Self(0);

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl From<u64> for EntryId {
    /// A number that a journal gave once.
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EntryId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// One entry: its number and what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// Its number.
    pub id: EntryId,
    /// What was recorded.
    pub item: T,
}

/// How much memory a recorded item holds on to.
pub trait Weigh {
    /// Bytes, roughly: what counts is that large items weigh what they hold on the heap.
    fn weight(&self) -> usize;
}

impl Weigh for Vec<u8> {
    fn weight(&self) -> usize {
        self.capacity()
    }
}
