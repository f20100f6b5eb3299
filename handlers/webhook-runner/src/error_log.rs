//! The errors of a job on their way into its reports.
//!
//! A report carries ten; the others wait for the next one instead of being dropped. The
//! queue is bounded, and what does not fit is counted and said.

use std::collections::VecDeque;

use pipeline_contract::MAX_ERRORS_PER_REPORT;

/// Errors that wait for a report. With more waiting, the rest is only counted.
const MAX_WAITING: usize = 100;
/// An error's text is cut to this many bytes.
const MAX_TEXT: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct ErrorLog {
    waiting: VecDeque<String>,
    unlisted: u64,
    first: Vec<String>,
    total: u64,
}

impl ErrorLog {
    pub(crate) fn add(&mut self, error: String) {
        let error = cut(error);
        self.total += 1;
        if self.first.len() < MAX_ERRORS_PER_REPORT {
            self.first.push(error.clone());
        }
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(error);
        } else {
            self.unlisted += 1;
        }
    }

    /// The errors for the next report, at most ten.
    pub(crate) fn take(&mut self) -> Vec<String> {
        let count = self.waiting.len().min(MAX_ERRORS_PER_REPORT);
        let mut taken: Vec<_> = self.waiting.drain(..count).collect();
        if self.waiting.is_empty() && self.unlisted > 0 && taken.len() < MAX_ERRORS_PER_REPORT {
            taken.push(format!("{} more errors are not listed", self.unlisted));
            self.unlisted = 0;
        }
        taken
    }

    /// Returns errors whose report did not arrive: they go into the next one.
    pub(crate) fn put_back(&mut self, errors: Vec<String>) {
        for error in errors.into_iter().rev() {
            self.waiting.push_front(error);
        }
    }

    /// Whether one report can carry all that waits.
    pub(crate) fn fits_one_report(&self) -> bool {
        self.waiting.len() + usize::from(self.unlisted > 0) <= MAX_ERRORS_PER_REPORT
    }

    /// How many errors there were.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The job's first errors, at most ten.
    pub(crate) fn into_first(self) -> Vec<String> {
        self.first
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_a_report_and_the_rest_later() {
        let mut log = ErrorLog::default();
        (1..=12).for_each(|n| log.add(n.to_string()));
        assert!(!log.fits_one_report());
        let taken = log.take();
        assert_eq!(taken.len(), 10);
        assert_eq!(log.take(), ["11", "12"]);
        log.put_back(taken.clone());
        assert_eq!(
            log.take(),
            taken,
            "an undelivered report's errors come again"
        );
        assert_eq!(log.into_first().len(), 10);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut log = ErrorLog::default();
        (1..=105).for_each(|n| log.add(n.to_string()));
        let mut reports = Vec::new();
        while !log.fits_one_report() {
            reports.push(log.take());
        }
        reports.push(log.take());
        assert_eq!(reports.concat().len(), 101);
        assert_eq!(reports.last().unwrap(), &["5 more errors are not listed"]);
        assert_eq!(log.total(), 105);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = cut("ü".repeat(MAX_TEXT));
        assert!(text.len() <= MAX_TEXT + '…'.len_utf8());
        assert!(text.ends_with("ü…"));
    }
}
