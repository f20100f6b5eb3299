//! How much a journal keeps.

/// The bounds of a journal; whichever is met first makes it let go of its oldest entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries kept at most.
    pub entries: usize,
    /// Bytes kept at most, as [`Weigh`](crate::Weigh) counts them.
    pub bytes: usize,
}
