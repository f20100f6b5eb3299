//! Reads a source into batches: counts, skips, checks.
//!
//! A *record* is a line that is not blank. A batch covers `batch_size` records; those that
//! are not JSON are left out of it and named as problems, but counted, so that the offset
//! of a resumed run means the same records whatever is in them.

use bytes::{Bytes, BytesMut};
use serde::de::IgnoredAny;

use crate::batch::{Batch, BatchBuilder};
use crate::lines::{Line, LineSplitter};
use crate::settings::RunnerSettings;
use crate::source::Source;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What one round of reading gave.
#[derive(Debug)]
pub(crate) struct Filled {
    /// The good records; `None` if there was none.
    pub(crate) batch: Option<Batch>,
    /// Whether the batch covers all it may; only the last one does not.
    pub(crate) full: bool,
    /// What was wrong with the others, by line.
    pub(crate) problems: Vec<String>,
    /// How much of the source was read, 0 to 1, rounded to two places; 0 while its length
    /// is unknown.
    pub(crate) progress: f64,
    /// Records of the source up to the end of this batch.
    pub(crate) offset: u64,
    /// Set when nothing follows.
    pub(crate) end: Option<End>,
}

/// How a source ended.
#[derive(Debug)]
pub(crate) enum End {
    /// With its last byte.
    Complete,
    /// Before it: where and why, in words.
    CutShort(String),
}

/// Reads one source to its end, a batch at a time.
pub(crate) struct BatchReader {
    source: Source,
    lines: LineSplitter,
    chunk: Bytes,
    at: usize,
    batch_size: usize,
    batch_bytes: usize,
    batches: u64,
    count: Count,
}

/// Where in the source we are.
#[derive(Debug)]
struct Count {
    lines: u64,
    records: u64,
    skip: u64,
    longest_line: usize,
}

impl BatchReader {
    /// `skip` records are read over.
    pub(crate) fn new(source: Source, settings: &RunnerSettings, skip: u64) -> Self {
        Self {
            source,
            lines: LineSplitter::new(settings.longest_line),
            chunk: Bytes::new(),
            at: 0,
            batch_size: settings.batch_size.get(),
            batch_bytes: settings.batch_bytes,
            batches: 0,
            count: Count {
                lines: 0,
                records: 0,
                skip,
                longest_line: settings.longest_line,
            },
        }
    }

    /// Reads until a batch is full or the source ends. `buffer` is used again.
    pub(crate) async fn fill(&mut self, buffer: BytesMut) -> Filled {
        let builder = BatchBuilder::new(self.batches + 1, buffer, self.batch_size);
        let mut intake = Intake {
            builder,
            covered: 0,
            problems: Vec::new(),
        };
        let is_full = |intake: &Intake| {
            intake.covered == self.batch_size || intake.builder.bytes() >= self.batch_bytes
        };
        let end = 'reading: loop {
            while let Some(line) = self.lines.next(&self.chunk, &mut self.at) {
                self.count.take(&line, &mut intake);
                if is_full(&intake) {
                    break 'reading None;
                }
            }
            self.at = 0;
            // Given back before the next is asked for: the client reads into it again.
            self.chunk = Bytes::new();
            match self.source.next().await {
                Ok(Some(chunk)) => self.chunk = chunk,
                Ok(None) => {
                    if let Some(line) = self.lines.finish() {
                        self.count.take(&line, &mut intake);
                    }
                    break Some(End::Complete);
                }
                Err(error) => {
                    break Some(End::CutShort(self.where_and_why(&error.to_string())));
                }
            }
        };
        let full = is_full(&intake);
        if intake.covered > 0 {
            self.batches += 1;
        }
        Filled {
            batch: intake.builder.build(),
            full,
            problems: intake.problems,
            progress: self.progress(),
            offset: self.count.records,
            end,
        }
    }

    fn position(&self) -> u64 {
        let unread = self.chunk.len() - self.at;
        self.source.position(unread + self.lines.held())
    }

    fn progress(&self) -> f64 {
        self.source
            .length()
            .map_or(0.0, |length| fraction(self.position(), length))
    }

    fn where_and_why(&self, why: &str) -> String {
        let position = self.source.position(0);
        let of = self
            .source
            .length()
            .map_or_else(String::new, |length| format!(" of {length}"));
        format!(
            "the download was cut short after {position}{of} bytes, line {} is the last complete one: {why}",
            self.count.lines
        )
    }
}

struct Intake {
    builder: BatchBuilder,
    /// Records read into this batch, good or not.
    covered: usize,
    problems: Vec<String>,
}

impl Count {
    fn take(&mut self, line: &Line<'_>, intake: &mut Intake) {
        self.lines += 1;
        let mut text = match line {
            Line::Text(text) => *text,
            Line::TooLong => &[],
        };
        if self.lines == 1 {
            text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        }
        text = text.trim_ascii();
        if text.is_empty() && *line != Line::TooLong {
            return;
        }
        self.records += 1;
        if self.records <= self.skip {
            return;
        }
        intake.covered += 1;
        let checked = if *line == Line::TooLong {
            Err(format!("longer than {} bytes, left out", self.longest_line))
        } else {
            check(text)
        };
        match checked {
            Ok(json) => intake.builder.push(self.records, json),
            Err(why) => intake.problems.push(format!("line {}: {why}", self.lines)),
        }
    }
}

/// Whether a line is JSON, without building anything from it.
fn check(line: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("not UTF-8 at column {}", error.valid_up_to() + 1))?;
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(IgnoredAny) => Ok(text),
        Err(error) => {
            let words = error.to_string();
            let why = words.split(" at line ").next().unwrap_or(&words);
            Err(format!("not JSON: {why} at column {}", error.column()))
        }
    }
}

/// `part` of `whole` within 0 to 1, rounded to two places.
fn fraction(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 1.0;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "two places of a fraction are left of it"
    )]
    let fraction = part as f64 / whole as f64;
    (fraction.clamp(0.0, 1.0) * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_stay_within_bounds() {
        for (part, whole, expected) in [
            (0, 10, 0.0),
            (1, 3, 0.33),
            (2, 3, 0.67),
            (10, 10, 1.0),
            (30, 10, 1.0),
            (0, 0, 1.0),
        ] {
            let got = fraction(part, whole);
            assert!((got - expected).abs() < 1e-9, "{part}/{whole}: {got}");
        }
    }

    #[test]
    fn lines_that_are_not_json_are_told_from_those_that_are() {
        for good in ["{}", "[1]", "null", r#"{"a":{"b":"\u00e9ü"}}"#] {
            assert_eq!(check(good.as_bytes()), Ok(good));
        }
        for (bad, expected) in [
            (
                &b"{\"a\":"[..],
                "not JSON: EOF while parsing a value at column 5",
            ),
            (b"{} {}", "not JSON: trailing characters at column 4"),
            (b"{'a':1}", "not JSON: key must be a string at column 2"),
            (b"{\"a\":\"\x80\"}", "not UTF-8 at column 7"),
        ] {
            assert_eq!(check(bad), Err(expected.to_owned()));
        }
    }
}
