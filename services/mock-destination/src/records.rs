//! Counting the records of a delivery in one pass over its bytes, without building it.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// How many records a JSON document holds: the length of a list; of the list under `batch`
/// or `data`; of the list that is all an object has, whatever its name; else the document
/// itself is the one record.
///
/// # Errors
/// If it is not JSON.
pub(crate) fn count(json: &str) -> Result<u64, serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_str(json);
    let found = Look { inside: true }.deserialize(&mut parser)?;
    parser.end()?;
    Ok(match found {
        Found::List(length) | Found::Object(Some(length)) => length,
        Found::Object(None) | Found::Scalar => 1,
    })
}

/// Counts the records of a RudderStack batch, and makes sure that it is one: `batch` is a
/// list of objects that all have a `userId`.
///
/// # Errors
/// [`NoBatch`] says what the sender has to mend.
pub(crate) fn count_rudderstack(json: &str) -> Result<u64, NoBatch> {
    let mut parser = serde_json::Deserializer::from_str(json);
    let Envelope(batch) = Envelope::deserialize(&mut parser)?;
    parser.end()?;
    let batch = batch.ok_or(NoBatch::Missing)?;
    match batch.first_without_user {
        Some(index) => Err(NoBatch::NoUserId(index)),
        None => Ok(batch.length),
    }
}

/// Why a delivery is no RudderStack batch. The text goes to the sender.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoBatch {
    #[error("the body is no RudderStack batch: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("batch is missing: send the records as a list under batch")]
    Missing,
    #[error("batch[{0}] has no userId: every record needs one")]
    NoUserId(u64),
}

/// What kind of value was seen.
enum Found {
    List(u64),
    /// The length of the list that holds the object's records, if one does.
    Object(Option<u64>),
    Scalar,
}

/// Looks at a value; `inside` says whether an object's fields are looked at too.
#[derive(Clone, Copy)]
struct Look {
    inside: bool,
}

impl<'de> DeserializeSeed<'de> for Look {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Found, A::Error> {
        let mut length = 0;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            length += 1;
        }
        Ok(Found::List(length))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        if !self.inside {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Found::Object(None));
        }
        let (mut batch, mut data, mut other) = (None, None, None);
        let mut fields = 0_u64;
        while let Some(name) = map.next_key::<Name>()? {
            fields += 1;
            let list = match map.next_value_seed(Look { inside: false })? {
                Found::List(length) => Some(length),
                Found::Object(_) | Found::Scalar => None,
            };
            match name {
                Name::Batch => batch = list,
                Name::Data => data = list,
                Name::Other => other = list,
            }
        }
        let whole = other.filter(|_| fields == 1);
        Ok(Found::Object(batch.or(data).or(whole)))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Found, E> {
        Ok(Found::Scalar)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Found, E> {
        Ok(Found::Scalar)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Found, E> {
        Ok(Found::Scalar)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Scalar)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Found, E> {
        Ok(Found::Scalar)
    }

    fn visit_unit<E: Error>(self) -> Result<Found, E> {
        Ok(Found::Scalar)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Name {
    Batch,
    Data,
    #[serde(other)]
    Other,
}

/// The outer object of a RudderStack call.
struct Envelope(Option<Batch>);

#[derive(serde::Deserialize)]
#[serde(field_identifier)]
enum EnvelopeField {
    #[serde(rename = "batch")]
    Batch,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Envelope;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a list under batch")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
                let mut batch = None;
                while let Some(field) = map.next_key()? {
                    match field {
                        EnvelopeField::Batch => batch = map.next_value()?,
                        EnvelopeField::Other => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Envelope(batch))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// The list under `batch`.
struct Batch {
    length: u64,
    first_without_user: Option<u64>,
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Records;

        impl<'de> Visitor<'de> for Records {
            type Value = Batch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of records under batch")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Batch, A::Error> {
                let mut batch = Batch {
                    length: 0,
                    first_without_user: None,
                };
                while let Some(Record { has_user }) = seq.next_element()? {
                    if !has_user && batch.first_without_user.is_none() {
                        batch.first_without_user = Some(batch.length);
                    }
                    batch.length += 1;
                }
                Ok(batch)
            }
        }

        deserializer.deserialize_seq(Records)
    }
}

/// One record of a batch, as far as RudderStack's rule goes.
struct Record {
    has_user: bool,
}

#[derive(serde::Deserialize)]
#[serde(field_identifier)]
enum RecordField {
    #[serde(rename = "userId")]
    UserId,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Record;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record with a userId")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
                let mut has_user = false;
                while let Some(field) = map.next_key()? {
                    match field {
                        RecordField::UserId => {
                            has_user = map.next_value::<Option<IgnoredAny>>()?.is_some();
                        }
                        RecordField::Other => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Record { has_user })
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_wherever_they_are() {
        let cases = [
            ("[]", 0),
            (r#"[{"a":[1,2]},{"b":2}]"#, 2),
            (r#"{"batch":[{},{},{}],"tags":["x"]}"#, 3),
            (r#"{"data":[{},{}]}"#, 2),
            (r#"{"data":[{}],"batch":[{},{}]}"#, 2),
            (r#"{"customers":[{},{},{},{}]}"#, 4),
            (r#"{"email":"x","tags":["a","b"]}"#, 1),
            (r#"{"data":{"a":[1,2]}}"#, 1),
            (r#"{"batch":null,"data":3.5}"#, 1),
            (r#""text""#, 1),
            ("null", 1),
            ("-1e3", 1),
            (" [ true , false ] ", 2),
        ];
        for (json, expected) in cases {
            assert_eq!(count(json).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn what_is_not_json_is_told_apart() {
        for text in [
            "",
            "{oops",
            "[1,]",
            "[1] x",
            r#"{"a":1}{"a":2}"#,
            "[\"a\u{1}\"]",
        ] {
            assert!(count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rudderstack_batch_needs_a_user_in_every_record() {
        let long = r#"{"sentAt":"x","batch":[{"userId":"a","b":[1]},{"userId":1234}]}"#;
        assert_eq!(count_rudderstack(long).unwrap(), 2);
        assert_eq!(count_rudderstack(r#"{"batch":[]}"#).unwrap(), 0);
        let refused = [
            ("", "EOF"),
            ("{oops", "key must be a string"),
            ("{} x", "trailing characters"),
            ("[]", "expected an object with a list under batch"),
            ("{}", "batch is missing"),
            (r#"{"batch":null}"#, "batch is missing"),
            (r#"{"batch":3}"#, "expected a list of records under batch"),
            (r#"{"batch":[[1]]}"#, "expected a record with a userId"),
            (
                r#"{"batch":[{"userId":1},{"id":2}]}"#,
                "batch[1] has no userId",
            ),
            (r#"{"batch":[{"userId":null}]}"#, "batch[0] has no userId"),
        ];
        for (json, words) in refused {
            let why = count_rudderstack(json).unwrap_err().to_string();
            assert!(why.contains(words), "{json}: {why}");
        }
    }
}
