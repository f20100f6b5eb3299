//! Names with one or more values (headers, query parameters), and the three ways AWS
//! writes them: the last value alone, all values, or all values joined by commas.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Fields in which those of one name stand side by side.
#[derive(Debug)]
pub(super) struct Fields<'a>(Vec<Field<'a>>);

impl<'a> Fields<'a> {
    /// Takes fields that are grouped by name already.
    pub(super) fn grouped(fields: Vec<Field<'a>>) -> Self {
        Self(fields)
    }

    /// Reads a query string: percent-encoding and `+` are undone, `a` means `a=`, and a
    /// byte sequence that is not UTF-8 becomes the replacement character.
    pub(super) fn query(query: &'a str) -> Self {
        let mut fields: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        // Stable: values of one name keep their order.
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Self(fields)
    }

    /// Reads a query string and undoes nothing: a load balancer passes names and values on
    /// as they were sent.
    pub(super) fn raw_query(query: &'a str) -> Self {
        let mut fields: Vec<Field<'a>> = query
            .split('&')
            .filter(|part| !part.is_empty())
            .map(|part| part.split_once('=').unwrap_or((part, "")))
            .map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Self(fields)
    }

    /// Name -> last value, also when there are no fields.
    pub(super) fn last_or_empty(&self) -> Last<'_> {
        Last(self)
    }

    /// Name -> list of values, also when there are no fields.
    pub(super) fn all_or_empty(&self) -> All<'_> {
        All(self)
    }

    /// Name -> last value; none when there are no fields.
    pub(super) fn last(&self) -> Option<Last<'_>> {
        (!self.0.is_empty()).then_some(Last(self))
    }

    /// Name -> list of values; none when there are no fields.
    pub(super) fn all(&self) -> Option<All<'_>> {
        (!self.0.is_empty()).then_some(All(self))
    }

    /// Name -> values joined by commas; none when there are no fields.
    pub(super) fn joined(&self) -> Option<Joined<'_>> {
        (!self.0.is_empty()).then_some(Joined(self))
    }

    fn groups(&self) -> impl Iterator<Item = &[Field<'a>]> {
        self.0.chunk_by(|a, b| a.0 == b.0)
    }
}

#[derive(Debug)]
pub(super) struct Last<'f>(&'f Fields<'f>);

impl Serialize for Last<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .groups()
                .filter_map(|group| group.last())
                .map(|(name, value)| (name, value)),
        )
    }
}

#[derive(Debug)]
pub(super) struct All<'f>(&'f Fields<'f>);

impl Serialize for All<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.groups().map(|group| (&group[0].0, Values(group))))
    }
}

struct Values<'f>(&'f [Field<'f>]);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(_, value)| value))
    }
}

#[derive(Debug)]
pub(super) struct Joined<'f>(&'f Fields<'f>);

impl Serialize for Joined<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.groups().map(|group| {
            let value = match group {
                [(_, value)] => Cow::Borrowed(value.as_ref()),
                group => {
                    let values: Vec<&str> = group.iter().map(|(_, value)| value.as_ref()).collect();
                    Cow::Owned(values.join(","))
                }
            };
            (&group[0].0, value)
        }))
    }
}

/// Pairs whose names differ, as a map; for path parameters.
#[derive(Debug)]
pub(super) struct Pairs<'a>(&'a [(String, String)]);

impl<'a> Pairs<'a> {
    /// None when there are no pairs.
    pub(super) fn new(pairs: &'a [(String, String)]) -> Option<Self> {
        (!pairs.is_empty()).then_some(Self(pairs))
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
