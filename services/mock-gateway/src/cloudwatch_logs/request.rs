//! What the operations take. Fields that make no difference here are left alone.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::refusal::Refusal;

/// `DescribeLogGroups`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeLogGroups {
    pub(super) log_group_name_prefix: Option<String>,
    pub(super) log_group_name_pattern: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) next_token: Option<String>,
}

/// Which group a call is about.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
}

impl Group {
    /// Its name, from the name or the ARN.
    pub(super) fn name(&self) -> Result<&str, Refusal> {
        match (&self.log_group_name, &self.log_group_identifier) {
            (Some(name), None) => Ok(name),
            (None, Some(identifier)) => Ok(identifier
                .split_once(":log-group:")
                .map_or(identifier.as_str(), |(_, name)| name)
                .trim_end_matches(":*")),
            (None, None) => Err(Refusal::invalid_parameter(
                "Either logGroupName or logGroupIdentifier is required",
            )),
            (Some(_), Some(_)) => Err(Refusal::invalid_parameter(
                "LogGroupName and LogGroupIdentifier cannot both be specified",
            )),
        }
    }
}

/// `DescribeLogStreams`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeLogStreams {
    #[serde(flatten)]
    pub(super) group: Group,
    pub(super) log_stream_name_prefix: Option<String>,
    pub(super) order_by: Option<String>,
    #[serde(default)]
    pub(super) descending: bool,
    pub(super) limit: Option<usize>,
    pub(super) next_token: Option<String>,
}

/// `FilterLogEvents`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FilterLogEvents {
    #[serde(flatten)]
    pub(super) group: Group,
    pub(super) log_stream_names: Option<Vec<String>>,
    pub(super) log_stream_name_prefix: Option<String>,
    pub(super) start_time: Option<i64>,
    pub(super) end_time: Option<i64>,
    pub(super) filter_pattern: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) next_token: Option<String>,
}

/// `GetLogEvents`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetLogEvents {
    #[serde(flatten)]
    pub(super) group: Group,
    pub(super) log_stream_name: String,
    pub(super) start_time: Option<i64>,
    pub(super) end_time: Option<i64>,
    #[serde(default)]
    pub(super) start_from_head: bool,
    pub(super) limit: Option<usize>,
    pub(super) next_token: Option<String>,
}

/// Reads a body.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    // An SDK sends `{}` where there is nothing to say, a person nothing at all.
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Refusal::serialization(error.to_string()))
}
