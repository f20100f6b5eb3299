//! Who may call: authorizers, then API keys with their usage plans. Only requests to routes
//! that ask for either come here.

mod authorizer_event;
mod jwt;
mod keys;
mod policy;
mod results;
mod usage;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use app_model::parity::AUTHORIZER_RESULT;
use app_model::{
    Api, Authorizer, Excess, FunctionName, IdentitySource, JwtAuthorizer, Parity, PayloadFormat,
    RequestAuthorizer, RouteOptions, RouterKind, TokenAuthorizer,
};
use bytes::Bytes;
use serde_json::Value;

use crate::broker::Broker;
use crate::event::{ApiKey, Authorized, Caller, EventContext, GatewayRequest};
use crate::invocation::{Invocation, RequestId, TraceId};
use crate::outcome::Outcome;
use crate::response::Refusal;
use keys::KeySets;
use results::{Results, Verdict};
use usage::Usage;

/// How long an authorizer may take. AWS waits for 29 or 30 seconds.
const PATIENCE: Duration = Duration::from_secs(29);

/// What is remembered from one request to the next.
#[derive(Debug, Default)]
pub struct Access {
    usage: Mutex<Usage>,
    results: Mutex<Results>,
    keys: KeySets,
}

/// A request to a route that asks who calls.
pub(crate) struct Entry<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) api: &'a Arc<Api>,
    /// The kind of API that the route is of.
    pub(crate) kind: RouterKind,
    pub(crate) options: &'a RouteOptions,
    pub(crate) request: &'a GatewayRequest,
    pub(crate) context: &'a EventContext,
    pub(crate) trace_id: &'a TraceId,
}

/// What became of a request to such a route.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Who calls, as the event says it; or why they may not.
    pub(crate) caller: Result<Caller, Refusal>,
    /// What AWS would not take of what the authorizer said.
    pub(crate) excess: Option<Excess>,
}

impl Access {
    /// Asks who calls.
    pub(crate) async fn admit(&self, entry: &Entry<'_>) -> Admission {
        let mut excess = None;
        let caller = self.caller(entry, &mut excess).await;
        Admission { caller, excess }
    }

    async fn caller(
        &self,
        entry: &Entry<'_>,
        excess: &mut Option<Excess>,
    ) -> Result<Caller, Refusal> {
        let mut caller = Caller::default();
        if let Some(name) = &entry.options.authorizer {
            let authorizer = entry.api.authorizers.get(name);
            let authorized = match (entry.kind, authorizer) {
                (RouterKind::Rest, Some(Authorizer::Token(by))) => {
                    self.by_token(entry, name, by, excess).await
                }
                (_, Some(Authorizer::Request(by))) => {
                    self.by_request(entry, name, by, excess).await
                }
                (RouterKind::Http, Some(Authorizer::Jwt(by))) => self.by_jwt(entry, by).await,
                (_, None) => Err(Refusal::Misconfigured(format!(
                    "there is no authorizer `{name}`"
                ))),
                (RouterKind::Rest, Some(Authorizer::Jwt(_)))
                | (RouterKind::Http, Some(Authorizer::Token(_))) => Err(Refusal::Misconfigured(
                    format!("this kind of API has no authorizers such as `{name}`"),
                )),
            };
            caller.authorizer = Some(authorized?);
        }
        if entry.options.api_key_required && entry.kind == RouterKind::Rest {
            caller.api_key = Some(self.by_key(entry)?);
        }
        Ok(caller)
    }

    fn by_key(&self, entry: &Entry<'_>) -> Result<ApiKey, Refusal> {
        let value = entry.request.header("x-api-key").unwrap_or_default();
        let Some((name, plan)) = entry.api.api_key(value) else {
            return Err(Refusal::UnknownKey);
        };
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.take(value, plan, Instant::now(), entry.request.received_at)?;
        Ok(ApiKey {
            id: crate::event::key_id(name),
            value: value.to_owned(),
        })
    }

    async fn by_token(
        &self,
        entry: &Entry<'_>,
        name: &str,
        by: &TokenAuthorizer,
        excess: &mut Option<Excess>,
    ) -> Result<Authorized, Refusal> {
        let Some(token) = entry.request.header(&by.header).filter(|t| !t.is_empty()) else {
            return Err(Refusal::Unauthorized);
        };
        let arn = method_arn(entry);
        let identity = vec![token.to_owned()];
        if let Some(verdict) = self.kept(entry.api, name, &identity) {
            return verdict.decide(&arn, 0);
        }
        let event = authorizer_event::token(token, &arn);
        let (answer, latency) = ask(entry, &by.function, event, excess).await?;
        let verdict = Verdict::of_policy(&answer, true).map_err(Refusal::Misconfigured)?;
        self.keep(entry.api, name, identity, &verdict, by.ttl);
        verdict.decide(&arn, latency)
    }

    async fn by_request(
        &self,
        entry: &Entry<'_>,
        name: &str,
        by: &RequestAuthorizer,
        excess: &mut Option<Excess>,
    ) -> Result<Authorized, Refusal> {
        let identity: Option<Vec<String>> = by
            .identity_sources
            .iter()
            .map(|source| identity(entry, source))
            .collect();
        let Some(identity) = identity else {
            return Err(Refusal::Unauthorized);
        };
        let arn = method_arn(entry);
        // Each API has authorizers, and results, of its own.
        let name = &format!("{:?} {name}", entry.kind);
        if by.ttl > 0
            && let Some(verdict) = self.kept(entry.api, name, &identity)
        {
            return verdict.decide(&arn, 0);
        }
        let (request, context) = (entry.request, entry.context);
        let event = match (entry.kind, by.payload_format) {
            (RouterKind::Rest, _) => authorizer_event::rest(request, context, &arn),
            (RouterKind::Http, PayloadFormat::V1) => {
                authorizer_event::http_v1(request, context, &arn, &identity)
            }
            (RouterKind::Http, PayloadFormat::V2) => {
                authorizer_event::http_v2(request, context, &arn, &identity)
            }
        };
        let (answer, latency) = ask(entry, &by.function, event, excess).await?;
        let is_rest = entry.kind == RouterKind::Rest;
        let verdict = if by.simple_responses && !is_rest {
            Verdict::of_simple(&answer)
        } else {
            Verdict::of_policy(&answer, is_rest)
        };
        let verdict = verdict.map_err(Refusal::Misconfigured)?;
        self.keep(entry.api, name, identity, &verdict, by.ttl);
        verdict.decide(&arn, latency)
    }

    async fn by_jwt(&self, entry: &Entry<'_>, by: &JwtAuthorizer) -> Result<Authorized, Refusal> {
        let token = identity(entry, &by.identity_source).ok_or(Refusal::NoToken)?;
        let token = match token.get(..7) {
            Some(prefix) if prefix.eq_ignore_ascii_case("bearer ") => token[7..].trim(),
            _ => token.as_str(),
        };
        let token = jwt::Token::read(token)?;
        let key = self.keys.find(by, &token.key_id).await?;
        let now = entry.request.received_at.as_second();
        token.check(&key, by, &entry.options.authorization_scopes, now)
    }

    fn kept(&self, api: &Arc<Api>, name: &str, identity: &[String]) -> Option<Verdict> {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.get(api, name, identity, Instant::now())
    }

    fn keep(&self, api: &Arc<Api>, name: &str, identity: Vec<String>, verdict: &Verdict, ttl: u32) {
        if ttl > 0 {
            let until = Instant::now() + Duration::from_secs(u64::from(ttl));
            let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
            results.put(api, name, identity, verdict.clone(), until);
        }
    }
}

/// What a request says at this place; none if that is nothing.
fn identity(entry: &Entry<'_>, source: &IdentitySource) -> Option<String> {
    let found = match source {
        IdentitySource::Header(name) => entry.request.header(name).map(str::to_owned),
        IdentitySource::Query(name) => {
            let query = entry.request.uri.query().unwrap_or_default();
            form_urlencoded::parse(query.as_bytes())
                .find(|(of, _)| of == name)
                .map(|(_, value)| value.into_owned())
        }
        IdentitySource::StageVariable(name) => entry.context.stage_variables.get(name).cloned(),
    };
    found.filter(|text| !text.is_empty())
}

/// The request as policies name it.
fn method_arn(entry: &Entry<'_>) -> String {
    let config = &entry.broker.shared.config;
    format!(
        "arn:aws:execute-api:{}:{}:{}/{}/{}/{}",
        config.region,
        config.account_id,
        entry.context.api_id,
        entry.context.stage,
        entry.request.method,
        entry.context.path.trim_start_matches('/'),
    )
}

/// Invokes an authorizer: its answer, and how long that took in milliseconds.
async fn ask(
    entry: &Entry<'_>,
    function: &FunctionName,
    event: Vec<u8>,
    excess: &mut Option<Excess>,
) -> Result<(Value, u64), Refusal> {
    let request_id = RequestId::random();
    let asked = Instant::now();
    let mut trace_id = entry.trace_id.clone();
    trace_id.enter(function);
    let invocation = Invocation {
        request_id,
        function: function.clone(),
        payload: Bytes::from(event),
        trace_id,
        qualified: false,
        tenant: None,
        client_context: None,
        wants_log_tail: false,
    };
    let answer = entry.broker.invoke(invocation, PATIENCE).await;
    let latency = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
    match &answer.outcome {
        Outcome::Response(response) => {
            *excess = of_result(function, response.body.len());
            if let (Some(excess), Parity::Enforce) = (excess, entry.broker.shared.config.parity) {
                return Err(Refusal::Misconfigured(excess.to_string()));
            }
            serde_json::from_slice(&response.body)
                .map(|answer| (answer, latency))
                .map_err(|error| {
                    Refusal::Misconfigured(format!(
                        "the authorizer `{function}` answered no JSON: {error}"
                    ))
                })
        }
        // How authorizers say no without a policy, in every language.
        Outcome::FunctionError(error) if says_unauthorized(error) => Err(Refusal::Unauthorized),
        failure => Err(Refusal::Misconfigured(format!(
            "the authorizer `{function}` failed: {}",
            failure.explanation(request_id).unwrap_or_default()
        ))),
    }
}

/// An authorizer's result that is larger than AWS takes.
fn of_result(function: &FunctionName, bytes: usize) -> Option<Excess> {
    (bytes as u64 > AUTHORIZER_RESULT.most).then(|| {
        AUTHORIZER_RESULT.broken(format!(
            "the authorizer `{function}` answers with {bytes} bytes: allow with `*` instead of \
             many resources, and let the function look up what `context` carries"
        ))
    })
}

fn says_unauthorized(error: &[u8]) -> bool {
    let error: Value = serde_json::from_slice(error).unwrap_or_default();
    error["errorMessage"] == "Unauthorized"
}

#[cfg(test)]
mod tests;
