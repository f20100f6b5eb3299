//! What a row of a ledger goes by.

/// A key: bytes that sort as what they were made of does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Vec<u8>);

impl Key {
    /// Sorts by the first number, then by the second, and so on.
    #[must_use]
    pub fn numbers(numbers: &[u64]) -> Self {
        Self(numbers.iter().flat_map(|n| n.to_be_bytes()).collect())
    }

    /// Sorts as the text's bytes do.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }

    /// The number at this place; none if the key has none there.
    #[must_use]
    pub fn number(&self, place: usize) -> Option<u64> {
        let bytes = self.0.get(place * 8..place * 8 + 8)?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    }

    /// As text, if it is.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_numbers_do_and_give_them_back() {
        let keys: Vec<Key> = [[1, 2], [1, 300], [2, 1], [256, 0]]
            .iter()
            .map(|numbers| Key::numbers(numbers))
            .collect();
        assert!(keys.is_sorted());
        assert_eq!((keys[1].number(0), keys[1].number(1)), (Some(1), Some(300)));
        assert_eq!(keys[1].number(2), None);
        assert_eq!(Key::text("/a").as_text(), Some("/a"));
    }
}
