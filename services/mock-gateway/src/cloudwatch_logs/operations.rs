//! The operations. A function's log is the group `/aws/lambda/<name>`, an environment's its
//! stream. Tokens are the numbers of lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use journal::EntryId;
use serde_json::{Value, json};

use super::pattern::Pattern;
use super::refusal::Refusal;
use super::request::{DescribeLogGroups, DescribeLogStreams, FilterLogEvents, GetLogEvents};
use crate::config::Config;
use crate::function_logs::{FunctionLog, Logs, Numbered};
use crate::server::Gateway;

const PREFIX: &str = "/aws/lambda/";
/// Groups and streams on a page.
const PAGE: usize = 50;
/// Events on a page.
const EVENTS: usize = 10_000;

/// What the operations read.
pub(super) struct Reads<'a> {
    logs: &'a Logs,
    config: &'a Config,
}

/// A stream's lines in numbers.
struct Stream {
    first: i64,
    last: i64,
}

impl<'a> Reads<'a> {
    pub(super) fn new(gateway: &'a Gateway) -> Self {
        let shared = &gateway.broker.shared;
        Self {
            logs: &shared.logs,
            config: &shared.config,
        }
    }

    /// A function has no group before its first line, as on AWS.
    fn group(&self, name: &str) -> Result<FunctionLog, Refusal> {
        let function = name.strip_prefix(PREFIX);
        let log = function
            .and_then(|function| function.parse().ok())
            .and_then(|function| self.logs.find(&function))
            .filter(|log| !log.is_empty());
        log.ok_or_else(Refusal::no_such_group)
    }

    fn arn(&self, group: &str) -> String {
        let Config {
            region, account_id, ..
        } = self.config;
        format!("arn:aws:logs:{region}:{account_id}:log-group:{group}")
    }

    pub(super) fn describe_log_groups(&self, asked: &DescribeLogGroups) -> Result<Value, Refusal> {
        let mut groups = Vec::new();
        for (function, log) in self.logs.all() {
            let name = format!("{PREFIX}{function}");
            let prefix = asked.log_group_name_prefix.as_deref();
            let part = asked.log_group_name_pattern.as_deref();
            if !name.starts_with(prefix.unwrap_or_default())
                || !name.contains(part.unwrap_or_default())
            {
                continue;
            }
            let lines = log.lines();
            let Some(first) = lines.lines().next() else {
                continue;
            };
            let arn = self.arn(&name);
            let bytes: usize = lines
                .lines()
                .map(|numbered| numbered.line.message.len() + 1)
                .sum();
            groups.push(json!({
                "logGroupName": name,
                "creationTime": first.line.timestamp,
                "metricFilterCount": 0,
                "arn": format!("{arn}:*"),
                "logGroupArn": arn,
                "storedBytes": bytes,
                "logGroupClass": "STANDARD",
            }));
        }
        page(
            "logGroups",
            groups,
            asked.limit,
            asked.next_token.as_deref(),
        )
    }

    pub(super) fn describe_log_streams(
        &self,
        asked: &DescribeLogStreams,
    ) -> Result<Value, Refusal> {
        let name = asked.group.name()?;
        let log = self.group(name)?;
        let prefix = asked.log_stream_name_prefix.as_deref();
        let by_time = match asked.order_by.as_deref() {
            None | Some("LogStreamName") => false,
            Some("LastEventTime") if prefix.is_some() => {
                return Err(Refusal::invalid_parameter(
                    "Cannot order by LastEventTime with a logStreamNamePrefix.",
                ));
            }
            Some("LastEventTime") => true,
            Some(other) => {
                return Err(Refusal::invalid_parameter(format!(
                    "1 validation error detected: Value '{other}' at 'orderBy' failed to satisfy constraint: Member must satisfy enum value set: [LastEventTime, LogStreamName]"
                )));
            }
        };
        let mut streams: Vec<(Arc<str>, Stream)> = streams(&log)
            .into_iter()
            .filter(|(name, _)| name.starts_with(prefix.unwrap_or_default()))
            .collect();
        if by_time {
            streams.sort_by_key(|(_, stream)| stream.last);
        }
        if asked.descending {
            streams.reverse();
        }
        let group = self.arn(name);
        let described = streams.into_iter().map(|(name, stream)| {
            json!({
                "logStreamName": &*name,
                "creationTime": stream.first,
                "firstEventTimestamp": stream.first,
                "lastEventTimestamp": stream.last,
                "lastIngestionTime": stream.last,
                "arn": format!("{group}:log-stream:{name}"),
                "storedBytes": 0,
            })
        });
        let described = described.collect();
        page(
            "logStreams",
            described,
            asked.limit,
            asked.next_token.as_deref(),
        )
    }

    pub(super) fn filter_log_events(&self, asked: &FilterLogEvents) -> Result<Value, Refusal> {
        let log = self.group(asked.group.name()?)?;
        let pattern = Pattern::read(asked.filter_pattern.as_deref().unwrap_or_default())?;
        if asked.log_stream_names.is_some() && asked.log_stream_name_prefix.is_some() {
            return Err(Refusal::invalid_parameter(
                "Cannot specify both logStreamNames and logStreamNamePrefix",
            ));
        }
        let after = asked.next_token.as_deref().map(number).transpose()?;
        let limit = limit(asked.limit, EVENTS)?;
        let prefix = asked.log_stream_name_prefix.as_deref().unwrap_or_default();
        let is_of_stream = |stream: &str| {
            stream.starts_with(prefix)
                && asked
                    .log_stream_names
                    .as_ref()
                    .is_none_or(|names| names.iter().any(|name| name == stream))
        };
        let kept = log.after(EntryId::from(after.unwrap_or(0)));
        let mut matching = kept.lines().filter(|Numbered { line, .. }| {
            is_between(line.timestamp, asked.start_time, asked.end_time)
                && is_of_stream(line.stream)
                && pattern.matches(line.message)
        });
        let lines: Vec<_> = matching.by_ref().take(limit).collect();
        let more = matching.next().is_some();
        let events: Vec<Value> = lines
            .iter()
            .map(|numbered| {
                let Numbered { id, line } = numbered;
                let mut event = event(numbered);
                event["logStreamName"] = json!(**line.stream);
                event["eventId"] = json!(format!("{:013}{:043}", line.timestamp, id.get()));
                event
            })
            .collect();
        let mut answer = json!({"events": events, "searchedLogStreams": []});
        if let Some(last) = lines.last().filter(|_| more) {
            answer["nextToken"] = json!(last.id.get().to_string());
        }
        Ok(answer)
    }

    pub(super) fn get_log_events(&self, asked: &GetLogEvents) -> Result<Value, Refusal> {
        let log = self.group(asked.group.name()?)?;
        let stream = asked.log_stream_name.as_str();
        let kept = log.lines();
        let of_stream: Vec<_> = kept
            .lines()
            .filter(|numbered| **numbered.line.stream == *stream)
            .collect();
        if of_stream.is_empty() {
            return Err(Refusal::no_such_stream());
        }
        let limit = limit(asked.limit, EVENTS)?;
        let token = asked.next_token.as_deref();
        let forward = token.and_then(|token| token.strip_prefix("f/"));
        let backward = token.and_then(|token| token.strip_prefix("b/"));
        let (after, before) = match (token, forward, backward) {
            (None, _, _) => (0, u64::MAX),
            (_, Some(after), _) => (number(after)?, u64::MAX),
            (_, _, Some(before)) => (0, number(before)?),
            _ => return Err(no_token()),
        };
        let mut lines: Vec<&Numbered<'_>> = of_stream
            .iter()
            .filter(|numbered| {
                (after.saturating_add(1)..before).contains(&numbered.id.get())
                    && is_between(numbered.line.timestamp, asked.start_time, asked.end_time)
            })
            .collect();
        let from_head = forward.is_some() || (backward.is_none() && asked.start_from_head);
        if from_head {
            lines.truncate(limit);
        } else {
            lines.drain(..lines.len().saturating_sub(limit));
        }
        // Where there is nothing more, the token stays as it is: that is how clients know.
        let first = lines.first().map(|line| line.id.get());
        let last = lines.last().map(|line| line.id.get());
        let nowhere = if before == u64::MAX {
            after.saturating_add(1)
        } else {
            before
        };
        let events: Vec<Value> = lines.into_iter().map(event).collect();
        Ok(json!({
            "events": events,
            "nextForwardToken": format!("f/{:056}", last.unwrap_or(nowhere.saturating_sub(1))),
            "nextBackwardToken": format!("b/{:056}", first.unwrap_or(nowhere)),
        }))
    }
}

fn streams(log: &FunctionLog) -> BTreeMap<Arc<str>, Stream> {
    let mut streams: BTreeMap<Arc<str>, Stream> = BTreeMap::new();
    for Numbered { line, .. } in log.lines().lines() {
        let at = line.timestamp;
        let stream = streams.entry(Arc::clone(line.stream));
        stream
            .and_modify(|stream| stream.last = stream.last.max(at))
            .or_insert(Stream {
                first: at,
                last: at,
            });
    }
    streams
}

fn event(numbered: &Numbered<'_>) -> Value {
    let line = numbered.line;
    json!({
        "timestamp": line.timestamp,
        "message": format!("{}\n", line.message),
        "ingestionTime": line.timestamp,
    })
}

/// From the first on, and before the second.
fn is_between(at: i64, start: Option<i64>, end: Option<i64>) -> bool {
    start.is_none_or(|start| at >= start) && end.is_none_or(|end| at < end)
}

/// One page of a list; the token is where the next one begins.
fn page(
    name: &str,
    all: Vec<Value>,
    asked: Option<usize>,
    token: Option<&str>,
) -> Result<Value, Refusal> {
    let skip = usize::try_from(token.map_or(Ok(0), number)?).map_err(|_| no_token())?;
    let limit = limit(asked, PAGE)?;
    let more = all.len() > skip.saturating_add(limit);
    let shown: Vec<Value> = all.into_iter().skip(skip).take(limit).collect();
    let mut answer = json!({name: shown});
    if more {
        answer["nextToken"] = json!((skip + limit).to_string());
    }
    Ok(answer)
}

fn limit(asked: Option<usize>, most: usize) -> Result<usize, Refusal> {
    match asked {
        None => Ok(most),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(limit) => Err(Refusal::invalid_parameter(format!(
            "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value between 1 and {most}"
        ))),
    }
}

fn number(token: &str) -> Result<u64, Refusal> {
    token.parse().map_err(|_| no_token())
}

fn no_token() -> Refusal {
    Refusal::invalid_parameter("The specified nextToken is invalid.")
}
