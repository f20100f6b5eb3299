//! How functions are compiled for Lambda. The one profile: what is tested is what ships.

use serde::{Deserialize, Serialize};

/// The profile's name, also of its folder below the target directory.
pub(crate) const NAME: &str = "lambda";

/// The settings that decide size and behaviour, as the manifest records them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LambdaProfile {
    /// Cargo's `opt-level`.
    pub opt_level: String,
    /// Cargo's `lto`.
    pub lto: String,
    /// Cargo's `codegen-units`.
    pub codegen_units: u8,
    /// Cargo's `panic`.
    pub panic: String,
}

impl LambdaProfile {
    /// The profile that every package is built with.
    #[must_use]
    pub fn current() -> Self {
        Self {
            // Measured in docs/artifacts.md: what it costs in speed, what it saves.
            opt_level: "s".into(),
            lto: "fat".into(),
            codegen_units: 1,
            // Never `abort`: lambda_runtime turns a panic into an error answer and the
            // environment lives on. That is what was seen in the sandbox, so it is what ships.
            panic: "unwind".into(),
        }
    }

    /// The profile as cargo's `--config` values. It stands on the workspace's own `release`,
    /// whose other settings hold.
    pub(crate) fn cargo_config(&self) -> Vec<String> {
        let Self {
            opt_level,
            lto,
            codegen_units,
            panic,
        } = self;
        let opt_level = match opt_level.parse::<u8>() {
            Ok(number) => number.to_string(),
            Err(_) => format!("\"{opt_level}\""),
        };
        [
            "inherits=\"release\"".to_owned(),
            format!("opt-level={opt_level}"),
            format!("lto=\"{lto}\""),
            format!("codegen-units={codegen_units}"),
            format!("panic=\"{panic}\""),
            "incremental=false".to_owned(),
            "debug-assertions=false".to_owned(),
            // Lines for symbolication go into the file beside the zip, not into the zip:
            // they are cut off after linking.
            "debug=\"line-tables-only\"".to_owned(),
            "split-debuginfo=\"off\"".to_owned(),
            "strip=\"none\"".to_owned(),
        ]
        .into_iter()
        .map(|setting| format!("profile.{NAME}.{setting}"))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_gets_numbers_as_numbers_and_words_as_strings() {
        let mut profile = LambdaProfile::current();
        assert!(
            profile
                .cargo_config()
                .contains(&"profile.lambda.opt-level=\"s\"".into())
        );
        profile.opt_level = "3".into();
        assert!(
            profile
                .cargo_config()
                .contains(&"profile.lambda.opt-level=3".into())
        );
        assert!(
            profile
                .cargo_config()
                .contains(&"profile.lambda.panic=\"unwind\"".into())
        );
    }
}
