//! Splits a stream of chunks into lines, without copying those that lie within one chunk.
//!
//! Knows no IO. Memory is bounded: at most one unfinished line of at most the bound.

/// One line of the source, without its line feed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// A line within the bound.
    Text(&'a [u8]),
    /// A line over the bound; its bytes are gone.
    TooLong,
}

/// Holds the part of a line whose end has not come yet.
#[derive(Debug)]
pub(crate) struct LineSplitter {
    partial: Vec<u8>,
    /// The unfinished line is over the bound: its bytes are no longer kept.
    overlong: bool,
    /// `partial` was lent out as a whole line; empty it at the next call.
    lent: bool,
    longest: usize,
}

impl LineSplitter {
    pub(crate) fn new(longest: usize) -> Self {
        Self {
            partial: Vec::new(),
            overlong: false,
            lent: false,
            longest,
        }
    }

    /// The next whole line of `chunk[*at..]`, moving `at` past its line feed. `None` when the
    /// chunk is used up: what is left of it is kept, and the next chunk goes on from there.
    pub(crate) fn next<'a>(&'a mut self, chunk: &'a [u8], at: &mut usize) -> Option<Line<'a>> {
        self.forget_lent();
        let rest = &chunk[*at..];
        let Some(length) = memchr::memchr(b'\n', rest) else {
            *at = chunk.len();
            self.keep(rest);
            return None;
        };
        *at += length + 1;
        let line = &rest[..length];
        if self.partial.is_empty() && !self.overlong {
            return Some(if length > self.longest {
                Line::TooLong
            } else {
                Line::Text(line)
            });
        }
        self.keep(line);
        Some(self.lend())
    }

    /// The last line, if the source does not end in a line feed.
    pub(crate) fn finish(&mut self) -> Option<Line<'_>> {
        self.forget_lent();
        (self.overlong || !self.partial.is_empty()).then(|| self.lend())
    }

    /// How many bytes of an unfinished line are held.
    pub(crate) fn held(&self) -> usize {
        if self.lent { 0 } else { self.partial.len() }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.overlong || self.partial.len() + bytes.len() > self.longest {
            self.overlong = true;
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn lend(&mut self) -> Line<'_> {
        if std::mem::take(&mut self.overlong) {
            Line::TooLong
        } else {
            self.lent = true;
            Line::Text(&self.partial)
        }
    }

    fn forget_lent(&mut self) {
        if std::mem::take(&mut self.lent) {
            self.partial.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&str], longest: usize) -> Vec<Option<String>> {
        let mut splitter = LineSplitter::new(longest);
        let owned = |line: Line<'_>| match line {
            Line::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
            Line::TooLong => None,
        };
        let mut lines = Vec::new();
        for chunk in chunks {
            let mut at = 0;
            while let Some(line) = splitter.next(chunk.as_bytes(), &mut at) {
                lines.push(owned(line));
            }
            assert_eq!(at, chunk.len(), "the whole chunk is used");
            assert!(splitter.held() <= longest);
        }
        lines.extend(splitter.finish().map(owned));
        lines
    }

    #[test]
    fn lines_are_the_same_however_the_source_is_cut() {
        let source = "one\n\nthree\r\na longer fourth line\nlast";
        let expected = source
            .split('\n')
            .map(|line| Some(line.to_owned()))
            .collect::<Vec<_>>();
        for size in 1..=source.len() {
            let chunks: Vec<_> = source
                .as_bytes()
                .chunks(size)
                .map(|chunk| std::str::from_utf8(chunk).unwrap())
                .collect();
            assert_eq!(split(&chunks, 100), expected, "chunks of {size}");
        }
    }

    #[test]
    fn a_line_feed_at_the_end_begins_no_line() {
        assert_eq!(split(&["a\n"], 9), [Some("a".to_owned())]);
        assert_eq!(split(&[""], 9), []);
    }

    #[test]
    fn lines_over_the_bound_are_skipped_and_the_rest_goes_on() {
        for size in 1..=12 {
            let source = "1234\n12345\n1234\n";
            let chunks: Vec<_> = source
                .as_bytes()
                .chunks(size)
                .map(|chunk| std::str::from_utf8(chunk).unwrap())
                .collect();
            let four = Some("1234".to_owned());
            assert_eq!(
                split(&chunks, 4),
                [four.clone(), None, four],
                "chunks of {size}"
            );
        }
        assert_eq!(split(&["12345"], 4), [None], "without a line feed");
    }
}
