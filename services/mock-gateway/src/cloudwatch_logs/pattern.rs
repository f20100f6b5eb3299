//! Filter patterns: terms that a message must have, may have or must not have.

use super::refusal::Refusal;

/// A filter pattern of terms, as `ERROR -"not this"` or `?one ?other`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pattern {
    /// All of these.
    all: Vec<String>,
    /// At least one of these, if there are any.
    any: Vec<String>,
    /// None of these.
    none: Vec<String>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If it is one for JSON or for fields between spaces, which Longshore does not match.
    pub(super) fn read(text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        if text.starts_with(['{', '[', '%']) {
            return Err(Refusal::invalid_parameter(format!(
                "Longshore matches terms only, as in `ERROR -\"not this\"`, and not the pattern `{text}`"
            )));
        }
        let mut pattern = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let kind = rest.chars().next().filter(|first| "?-".contains(*first));
            let term = rest.strip_prefix(['?', '-']).unwrap_or(rest);
            let (term, after) = match term.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or_else(|| {
                    Refusal::invalid_parameter("Invalid filter pattern: a quote is not closed")
                })?,
                None => term.split_at(term.find(char::is_whitespace).unwrap_or(term.len())),
            };
            match kind {
                Some('?') => &mut pattern.any,
                Some(_) => &mut pattern.none,
                None => &mut pattern.all,
            }
            .push(term.to_owned());
            rest = after.trim_start();
        }
        Ok(pattern)
    }

    /// Whether a message is wanted. Capitals count.
    pub(super) fn matches(&self, message: &str) -> bool {
        self.all.iter().all(|term| message.contains(term))
            && (self.any.is_empty() || self.any.iter().any(|term| message.contains(term)))
            && !self.none.iter().any(|term| message.contains(term))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_match_as_cloudwatch_matches_them() {
        for (pattern, message, expected) in [
            ("", "anything", true),
            ("ERROR", "[ERROR] oh", true),
            ("ERROR", "[error] oh", false),
            ("ERROR oh", "[ERROR] oh", true),
            ("ERROR oh", "[ERROR]", false),
            ("\"two words\"", "these two words", true),
            ("\"two words\"", "words two", false),
            ("?one ?other", "the other", true),
            ("?one ?other", "neither", false),
            ("ERROR -oh", "ERROR oh", false),
            ("ERROR -\"oh no\"", "ERROR oh", true),
        ] {
            let read = Pattern::read(pattern).unwrap();
            assert_eq!(read.matches(message), expected, "{pattern} on {message}");
        }
        for pattern in ["{ $.a = 1 }", "[a, b]", "\"open"] {
            let refusal = Pattern::read(pattern).unwrap_err();
            assert_eq!(refusal.error_type(), "InvalidParameterException");
        }
    }
}
