//! What happened: a bounded, queryable record that says when it forgets.
