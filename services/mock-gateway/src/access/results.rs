//! What Lambda authorizers said, and for how long that holds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use app_model::Api;
use serde_json::{Map, Value};

use super::policy::{Decision, Policy};
use crate::event::Authorized;
use crate::response::Refusal;

/// Results kept at the same time, at most.
const MOST: usize = 1_000;

/// What an authorizer said.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    rule: Rule,
    principal_id: Option<String>,
    context: Option<Map<String, Value>>,
}

#[derive(Clone, Debug)]
enum Rule {
    Policy(Policy),
    /// For every request with this identity.
    Simple(bool),
}

impl Verdict {
    /// Reads `{"principalId","policyDocument","context"}`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn of_policy(answer: &Value, is_rest: bool) -> Result<Self, String> {
        let principal_id = answer["principalId"].as_str().map(str::to_owned);
        if is_rest && principal_id.is_none() {
            return Err("the authorizer's answer has no `principalId`".to_owned());
        }
        let policy = Policy::read(&answer["policyDocument"])
            .map_err(|wrong| format!("the authorizer's answer is no policy: {wrong}"))?;
        let mut context = context(answer)?;
        if is_rest {
            for (name, value) in context.iter_mut().flatten() {
                *value = match value {
                    Value::String(_) => continue,
                    Value::Number(_) | Value::Bool(_) => Value::String(value.to_string()),
                    Value::Null | Value::Array(_) | Value::Object(_) => {
                        return Err(format!(
                            "the authorizer's `context.{name}` is neither text, a number nor a boolean"
                        ));
                    }
                };
            }
        }
        Ok(Self {
            rule: Rule::Policy(policy),
            principal_id,
            context,
        })
    }

    /// Reads `{"isAuthorized","context"}`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn of_simple(answer: &Value) -> Result<Self, String> {
        let Some(authorized) = answer["isAuthorized"].as_bool() else {
            return Err("the authorizer's `isAuthorized` is neither true nor false".to_owned());
        };
        Ok(Self {
            rule: Rule::Simple(authorized),
            principal_id: None,
            context: context(answer)?,
        })
    }

    /// What it means for one request.
    pub(super) fn decide(self, arn: &str, latency: u64) -> Result<Authorized, Refusal> {
        let decision = match &self.rule {
            Rule::Policy(policy) => policy.decide(arn),
            Rule::Simple(true) => Decision::Allow,
            Rule::Simple(false) => Decision::ImplicitDeny,
        };
        match decision {
            Decision::Allow => Ok(Authorized::Lambda {
                principal_id: self.principal_id,
                context: self.context,
                latency,
            }),
            Decision::ExplicitDeny => Err(Refusal::Denied { explicit: true }),
            Decision::ImplicitDeny => Err(Refusal::Denied { explicit: false }),
        }
    }
}

fn context(answer: &Value) -> Result<Option<Map<String, Value>>, String> {
    match &answer["context"] {
        Value::Null => Ok(None),
        Value::Object(context) => Ok(Some(context.clone())),
        _ => Err("the authorizer's `context` is no object".to_owned()),
    }
}

/// What authorizers said, by their name and the identity they saw.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// The settings that the results came of: with others all are forgotten.
    api: Option<Arc<Api>>,
    kept: HashMap<(String, Vec<String>), (Verdict, Instant)>,
}

impl Results {
    pub(super) fn get(
        &mut self,
        api: &Arc<Api>,
        name: &str,
        identity: &[String],
        now: Instant,
    ) -> Option<Verdict> {
        self.settle(api);
        let key = (name.to_owned(), identity.to_vec());
        let (verdict, until) = self.kept.get(&key)?;
        (*until > now).then(|| verdict.clone())
    }

    pub(super) fn put(
        &mut self,
        api: &Arc<Api>,
        name: &str,
        identity: Vec<String>,
        verdict: Verdict,
        until: Instant,
    ) {
        self.settle(api);
        if self.kept.len() >= MOST {
            let now = Instant::now();
            self.kept.retain(|_, (_, until)| *until > now);
        }
        if self.kept.len() >= MOST {
            let soonest = self
                .kept
                .iter()
                .min_by_key(|(_, (_, until))| *until)
                .map(|(key, _)| key.clone());
            if let Some(soonest) = soonest {
                self.kept.remove(&soonest);
            }
        }
        self.kept
            .insert((name.to_owned(), identity), (verdict, until));
    }

    fn settle(&mut self, api: &Arc<Api>) {
        let same = self
            .api
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, api) || known == api);
        if !same {
            self.kept.clear();
        }
        self.api = Some(api.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_holds_until_it_is_old_or_the_settings_change() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let verdict = Verdict::of_simple(&json!({"isAuthorized": true})).unwrap();
        let api = Arc::new(Api::default());
        let mut results = Results::default();
        let me = vec!["me".to_owned()];
        results.put(&api, "a", me.clone(), verdict.clone(), later(300));
        assert!(results.get(&api, "a", &me, later(299)).is_some());
        assert!(results.get(&api, "a", &me, later(300)).is_none());
        assert!(results.get(&api, "b", &me, now).is_none());
        assert!(results.get(&api, "a", &["you".to_owned()], now).is_none());
        let same = Arc::new(Api::default());
        assert!(results.get(&same, "a", &me, now).is_some());
        let other = Arc::new(Api {
            router: app_model::RouterKind::Rest,
            ..Api::default()
        });
        assert!(results.get(&other, "a", &me, now).is_none());
        assert!(results.get(&api, "a", &me, now).is_none(), "forgotten");
        for number in 0..(MOST + 10) {
            let who = vec![number.to_string()];
            results.put(&api, "a", who, verdict.clone(), later(300));
        }
        assert_eq!(results.kept.len(), MOST);
    }

    #[test]
    fn a_rest_apis_context_is_text() {
        let policy = json!({"Statement": []});
        let answer = json!({"principalId": "me", "policyDocument": policy, "context": {"n": 1, "b": true, "t": "x"}});
        let verdict = Verdict::of_policy(&answer, true).unwrap();
        let expected = json!({"n": "1", "b": "true", "t": "x"});
        assert_eq!(Value::Object(verdict.context.unwrap()), expected);
        for (answer, is_rest, accepted) in [
            (json!({"policyDocument": policy}), true, false),
            (json!({"policyDocument": policy}), false, true),
            (
                json!({"principalId": "me", "policyDocument": policy, "context": {"l": []}}),
                true,
                false,
            ),
            (
                json!({"principalId": "me", "policyDocument": policy, "context": {"l": []}}),
                false,
                true,
            ),
            (json!({"principalId": "me"}), true, false),
            (json!("me"), true, false),
        ] {
            let read = Verdict::of_policy(&answer, is_rest);
            assert_eq!(read.is_ok(), accepted, "{answer} {read:?}");
        }
        assert!(Verdict::of_simple(&json!({"isAuthorized": "yes"})).is_err());
    }
}
