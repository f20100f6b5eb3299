//! One page of a bucket's names: prefixes, delimiters and where the next page starts.

use std::ops::Bound;
use std::sync::Arc;

use crate::store::{Object, Objects};

/// What to list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Query<'a> {
    pub(crate) prefix: &'a str,
    /// Names that share what comes before it are listed as one.
    pub(crate) delimiter: Option<&'a str>,
    /// Only what sorts after this.
    pub(crate) after: Option<&'a str>,
    pub(crate) limit: usize,
}

/// One line of a listing.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Object(Arc<Object>),
    /// All that begins like this.
    Prefix(String),
}

impl Entry {
    fn name(&self) -> &str {
        match self {
            Self::Object(object) => &object.key,
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// One page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    /// The last name of this page, if more follow.
    pub(crate) next: Option<String>,
}

/// Sorts after every key that begins with the prefix it is added to.
const LAST: char = char::MAX;

pub(crate) fn page(objects: &Objects, query: &Query<'_>) -> Page {
    let mut page = Page::default();
    if query.limit == 0 {
        return page;
    }
    let delimiter = query.delimiter.filter(|delimiter| !delimiter.is_empty());
    let mut from = match query.after {
        Some(after) if after >= query.prefix => Bound::Excluded(after.to_owned()),
        _ => Bound::Included(query.prefix.to_owned()),
    };
    loop {
        let range = (from.as_ref().map(String::as_str), Bound::Unbounded);
        let Some((key, object)) = objects.range::<str, _>(range).next() else {
            return page;
        };
        let Some(rest) = key.strip_prefix(query.prefix) else {
            return page;
        };
        let group = delimiter.and_then(|delimiter| {
            let end = rest.find(delimiter)? + delimiter.len();
            Some(format!("{}{}", query.prefix, &rest[..end]))
        });
        let entry = match group {
            Some(group) => {
                from = Bound::Excluded(format!("{group}{LAST}"));
                // A page that ended with this group has listed all of it.
                if query.after.is_some_and(|after| group.as_str() <= after) {
                    continue;
                }
                Entry::Prefix(group)
            }
            None => {
                from = Bound::Excluded(key.clone());
                Entry::Object(object.clone())
            }
        };
        if page.entries.len() == query.limit {
            page.next = page.entries.last().map(|last| last.name().to_owned());
            return page;
        }
        page.entries.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{BlobId, Checksums, Described, Origin};

    fn objects(keys: &[&str]) -> Objects {
        let object = |key: &str| Object {
            id: BlobId(1),
            key: key.to_owned(),
            size: 0,
            etag: String::new(),
            modified_ms: 0,
            described: Described::default(),
            checksums: Checksums::default(),
            parts: Vec::new(),
            origin: Origin::Api,
        };
        keys.iter()
            .map(|key| ((*key).to_owned(), Arc::new(object(key))))
            .collect()
    }

    fn names(page: &Page) -> Vec<&str> {
        page.entries.iter().map(Entry::name).collect()
    }

    #[test]
    fn a_page_is_cut_grouped_and_resumed_as_s3_does() {
        let keys = ["a", "a/b", "a/c", "b/1/x", "b/2", "b/3", "c"];
        let objects = objects(&keys);
        let names_of = |names: &[&str]| names.join(" ");
        let all = names_of(&keys);
        let cases = [
            ("", None, None, 9, all.as_str(), None),
            ("", None, None, 2, "a a/b", Some("a/b")),
            ("", None, Some("a/b"), 2, "a/c b/1/x", Some("b/1/x")),
            ("", Some("/"), None, 9, "a a/ b/ c", None),
            ("", Some("/"), None, 2, "a a/", Some("a/")),
            ("", Some("/"), Some("a/"), 9, "b/ c", None),
            ("b/", Some("/"), None, 9, "b/1/ b/2 b/3", None),
            ("b/", Some("/"), Some("b/2"), 9, "b/3", None),
            ("zz", None, None, 9, "", None),
        ];
        for (prefix, delimiter, after, limit, expected, next) in cases {
            let query = Query {
                prefix,
                delimiter,
                after,
                limit,
            };
            let page = page(&objects, &query);
            assert_eq!(names_of(&names(&page)), expected, "{query:?}");
            assert_eq!(page.next.as_deref(), next, "{query:?}");
        }
    }

    #[test]
    fn no_keys_asked_for_is_an_empty_page_that_is_not_cut() {
        let page = page(&objects(&["a"]), &Query::default());
        assert!(page.entries.is_empty());
        assert_eq!(page.next, None);
    }
}
