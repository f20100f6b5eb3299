//! The third parties: where handlers deliver to.
