//! Longshore beside its peers, in one run.
