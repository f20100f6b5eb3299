//! A batch of records, kept as the bytes they came in.
//!
//! The records lie one after another in one buffer that already is the JSON array a
//! destination usually wants, so the default mapping costs one copy and no parsing.

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;

/// Up to a batch size of records, in the order of the source. Every record is valid JSON.
#[derive(Clone, Debug)]
pub struct Batch {
    number: u64,
    first_record: u64,
    last_record: u64,
    /// `[record,record,…]`
    array: Bytes,
    /// Where each record ends in `array`.
    ends: Vec<u32>,
}

impl Batch {
    /// The batch's number within this run, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its first and last record's number in the source, from 1, counting every line that
    /// is not blank.
    #[must_use]
    pub fn range(&self) -> RangeInclusive<u64> {
        self.first_record..=self.last_record
    }

    /// How many records it has, at least one.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a batch is never empty: without records there is none"
    )]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The records as one JSON array. A cheap handle on the batch's own buffer.
    #[must_use]
    pub fn as_json_array(&self) -> Bytes {
        self.array.clone()
    }

    /// Each record's JSON text.
    pub fn records(&self) -> impl Iterator<Item = &str> {
        let text = std::str::from_utf8(&self.array).expect("records are checked when added");
        let mut start = 1;
        self.ends.iter().map(move |&end| {
            let record = &text[start..end as usize];
            start = end as usize + 1;
            record
        })
    }

    /// The records as `T`, say `serde_json::Value` or a struct of the fields that matter.
    ///
    /// # Errors
    /// If a record has not the shape of `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<Vec<T>, serde_json::Error> {
        serde_json::from_slice(&self.array)
    }
}

/// Fills a batch record by record.
#[derive(Debug)]
pub(crate) struct BatchBuilder {
    number: u64,
    first_record: u64,
    last_record: u64,
    array: BytesMut,
    ends: Vec<u32>,
}

impl BatchBuilder {
    /// `buffer` is used again: its content is dropped, its room kept.
    pub(crate) fn new(number: u64, mut buffer: BytesMut, records: usize) -> Self {
        buffer.clear();
        buffer.extend_from_slice(b"[");
        Self {
            number,
            first_record: 0,
            last_record: 0,
            array: buffer,
            ends: Vec::with_capacity(records),
        }
    }

    pub(crate) fn push(&mut self, record_number: u64, json: &str) {
        if self.ends.is_empty() {
            self.first_record = record_number;
        } else {
            self.array.extend_from_slice(b",");
        }
        self.last_record = record_number;
        self.array.extend_from_slice(json.as_bytes());
        let end = u32::try_from(self.array.len()).expect("a batch is bounded well below 4 GiB");
        self.ends.push(end);
    }

    /// Its size on the wire so far.
    pub(crate) fn bytes(&self) -> usize {
        self.array.len() + 1
    }

    pub(crate) fn build(mut self) -> Option<Batch> {
        if self.ends.is_empty() {
            return None;
        }
        self.array.extend_from_slice(b"]");
        Some(Batch {
            number: self.number,
            first_record: self.first_record,
            last_record: self.last_record,
            array: self.array.freeze(),
            ends: self.ends,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn records_are_given_as_array_as_text_and_parsed() {
        let mut builder = BatchBuilder::new(2, BytesMut::from("left over"), 3);
        for (number, record) in [(4, r#"{"a": "ü,"}"#), (6, "[1, 2]"), (7, "null")] {
            builder.push(number, record);
        }
        let batch = builder.build().unwrap();
        assert_eq!((batch.number(), batch.len(), batch.range()), (2, 3, 4..=7));
        assert_eq!(
            batch.as_json_array(),
            r#"[{"a": "ü,"},[1, 2],null]"#.as_bytes()
        );
        assert_eq!(
            batch.records().collect::<Vec<_>>(),
            [r#"{"a": "ü,"}"#, "[1, 2]", "null"]
        );
        assert_eq!(
            batch.parse::<Value>().unwrap(),
            [json!({"a": "ü,"}), json!([1, 2]), Value::Null]
        );
    }

    #[test]
    fn no_records_no_batch() {
        assert!(BatchBuilder::new(1, BytesMut::new(), 3).build().is_none());
    }
}
