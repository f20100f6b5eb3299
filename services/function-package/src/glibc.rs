//! Versions of the GNU C library: what a binary needs, what Lambda has.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version of glibc, ordered as versions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GlibcVersion {
    /// 2, since 1997.
    pub major: u16,
    /// What changes twice a year.
    pub minor: u16,
}

/// The text is no version of glibc.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version of glibc: write it as 2.34")]
pub struct InvalidGlibcVersion(String);

impl GlibcVersion {
    /// What `provided.al2023` has: Amazon Linux 2023 stays at this version for its life.
    pub const AL2023: Self = Self::new(2, 34);

    /// A version by its numbers.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// The version that a symbol version of an ELF file stands for: `GLIBC_2.34`, or the
    /// marker of relative relocations, which the loader knows since 2.36. `None` for others.
    #[must_use]
    pub fn of_symbol_version(name: &str) -> Option<Self> {
        let version = name.strip_prefix("GLIBC_")?;
        if version == "ABI_DT_RELR" {
            return Some(Self::new(2, 36));
        }
        version.parse().ok()
    }
}

impl fmt::Display for GlibcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for GlibcVersion {
    type Err = InvalidGlibcVersion;

    /// A third number, as in 2.2.5, says nothing that a floor needs.
    fn from_str(text: &str) -> Result<Self, InvalidGlibcVersion> {
        let invalid = || InvalidGlibcVersion(text.to_owned());
        let mut numbers = text.split('.').map(str::parse::<u16>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) if numbers.all(|patch| patch.is_ok()) => {
                Ok(Self { major, minor })
            }
            _ => Err(invalid()),
        }
    }
}

impl TryFrom<String> for GlibcVersion {
    type Error = InvalidGlibcVersion;

    fn try_from(text: String) -> Result<Self, InvalidGlibcVersion> {
        text.parse()
    }
}

impl From<GlibcVersion> for String {
    fn from(version: GlibcVersion) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbol_versions_are_read_and_ordered_as_numbers() {
        let cases = [
            ("GLIBC_2.2.5", Some(GlibcVersion::new(2, 2))),
            ("GLIBC_2.34", Some(GlibcVersion::AL2023)),
            ("GLIBC_ABI_DT_RELR", Some(GlibcVersion::new(2, 36))),
            ("GLIBC_PRIVATE", None),
            ("GCC_3.0", None),
        ];
        for (name, expected) in cases {
            assert_eq!(GlibcVersion::of_symbol_version(name), expected, "{name}");
        }
        assert!(GlibcVersion::new(2, 4) < GlibcVersion::AL2023);
    }
}
