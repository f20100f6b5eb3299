//! Which function a caller means: a name, a partial or a whole ARN, each with or without a
//! qualifier.

use app_model::FunctionName;
use http::StatusCode;

use super::refusal::Refusal;
use crate::config::Config;

const LATEST: &str = "$LATEST";

/// What AWS says that a function's name must look like.
const PATTERN: &str = r"Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?";

/// A function that a caller named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: FunctionName,
    pub(crate) qualifier: Option<String>,
}

impl Target {
    /// Reads what stands in the path, and the qualifier of the query.
    pub(crate) fn read(
        text: &str,
        qualifier: Option<&str>,
        config: &Config,
    ) -> Result<Self, Refusal> {
        let refused = || Refusal::validation(text, "functionName", PATTERN);
        let mut rest = text;
        if let Some(below) = rest.strip_prefix("arn:") {
            let (partition, below) = below.split_once(':').ok_or_else(refused)?;
            let below = below.strip_prefix("lambda:").ok_or_else(refused)?;
            let (region, below) = below.split_once(':').ok_or_else(refused)?;
            if !partition.starts_with("aws") {
                return Err(refused());
            }
            if region != config.region {
                return Err(Refusal::not_found(format!(
                    "Functions from '{region}' are not reachable in this region ('{}')",
                    config.region
                )));
            }
            let (account, below) = below.split_once(':').ok_or_else(refused)?;
            check_account(account, text, config).ok_or_else(refused)??;
            rest = below.strip_prefix("function:").ok_or_else(refused)?;
        } else if let Some((account, below)) = rest.split_once(":function:") {
            check_account(account, text, config).ok_or_else(refused)??;
            rest = below;
        } else if let Some(below) = rest.strip_prefix("function:") {
            rest = below;
        }
        let (name, own) = match rest.split_once(':') {
            Some((name, own)) => (name, Some(own)),
            None => (rest, None),
        };
        let is_qualifier = |text: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            text == LATEST || (!text.is_empty() && text.len() <= 128 && text.bytes().all(plain))
        };
        if own.is_some_and(|own| !is_qualifier(own)) {
            return Err(refused());
        }
        if let Some(bad) = qualifier.filter(|qualifier| !is_qualifier(qualifier)) {
            return Err(Refusal::validation(
                bad,
                "qualifier",
                "Member must satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)",
            ));
        }
        if let (Some(own), Some(asked)) = (own, qualifier)
            && own != asked
        {
            return Err(Refusal::invalid_parameter(
                "The derived qualifier from the function name does not match the specified qualifier.",
            ));
        }
        Ok(Self {
            name: name.parse().map_err(|_| refused())?,
            qualifier: own.or(qualifier).map(str::to_owned),
        })
    }

    /// Whether there can be such a version: Longshore runs the newest only.
    pub(crate) fn is_latest(&self) -> bool {
        self.qualifier.as_deref().is_none_or(|q| q == LATEST)
    }

    /// The ARN, with the qualifier if the caller gave one.
    pub(crate) fn arn(&self, config: &Config) -> String {
        let Config {
            region, account_id, ..
        } = config;
        let name = &self.name;
        match &self.qualifier {
            Some(qualifier) => {
                format!("arn:aws:lambda:{region}:{account_id}:function:{name}:{qualifier}")
            }
            None => format!("arn:aws:lambda:{region}:{account_id}:function:{name}"),
        }
    }

    /// The ARN of the version that an invocation would run.
    pub(crate) fn invoked_arn(&self, config: &Config) -> String {
        let qualifier = self.qualifier.clone().or_else(|| Some(LATEST.to_owned()));
        Self {
            name: self.name.clone(),
            qualifier,
        }
        .arn(config)
    }
}

/// `None` if it is no account; refused if it is another one's function.
fn check_account(account: &str, text: &str, config: &Config) -> Option<Result<(), Refusal>> {
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(if account == config.account_id {
        Ok(())
    } else {
        Err(Refusal::of_user(
            StatusCode::FORBIDDEN,
            "AccessDeniedException",
            format!(
                "`{text}` is a function of account {account}; this one is {}",
                config.account_id
            ),
        ))
    })
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;
    use crate::testing::config;

    const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:demo";

    #[test]
    fn a_function_goes_by_name_or_arn() {
        let config = config();
        for (text, query, qualifier) in [
            ("demo", None, None),
            ("demo:$LATEST", None, Some("$LATEST")),
            ("demo", Some("live"), Some("live")),
            (ARN, None, None),
            (&format!("{ARN}:7"), None, Some("7")),
            (&format!("{ARN}:7"), Some("7"), Some("7")),
            ("000000000000:function:demo", None, None),
            ("function:demo:7", None, Some("7")),
        ] {
            let target = Target::read(text, query, &config).unwrap();
            assert_eq!(
                (target.name.as_str(), target.qualifier.as_deref()),
                ("demo", qualifier),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_none_is_refused_as_aws_refuses_it() {
        let config = config();
        for (text, query, status, error_type) in [
            ("no spaces", None, 400, "ValidationException"),
            ("demo:a:b", None, 400, "ValidationException"),
            ("demo", Some("a b"), 400, "ValidationException"),
            ("demo:7", Some("8"), 400, "InvalidParameterValueException"),
            (
                "arn:aws:lambda:eu-west-1:000000000000:function:demo",
                None,
                404,
                "ResourceNotFoundException",
            ),
            (
                "arn:aws:lambda:us-east-1:111111111111:function:demo",
                None,
                403,
                "AccessDeniedException",
            ),
            ("arn:aws:s3:::bucket", None, 400, "ValidationException"),
        ] {
            let refusal = Target::read(text, query, &config).unwrap_err();
            let response = refusal.into_response();
            assert_eq!(response.status(), status, "{text}");
            assert_eq!(response.headers()["x-amzn-errortype"], error_type, "{text}");
        }
    }
}
