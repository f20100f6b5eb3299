//! The policies that authorizers answer with: what they say of one request.

use serde_json::Value;

/// What a policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Allow,
    /// Some statement denies it.
    ExplicitDeny,
    /// No statement allows it.
    ImplicitDeny,
}

/// A policy document, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy(Vec<Statement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    allows: bool,
    actions: Vec<String>,
    resources: Vec<String>,
}

impl Policy {
    /// Reads a policy document.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn read(document: &Value) -> Result<Self, String> {
        let statements = match &document["Statement"] {
            Value::Array(statements) => statements.iter().map(Statement::read).collect(),
            statement @ Value::Object(_) => Statement::read(statement).map(|only| vec![only]),
            _ => Err("its `policyDocument` has no `Statement`".to_owned()),
        };
        statements.map(Self)
    }

    /// What the policy says of calling `arn`.
    pub(super) fn decide(&self, arn: &str) -> Decision {
        let mut decision = Decision::ImplicitDeny;
        for statement in self.0.iter().filter(|statement| statement.covers(arn)) {
            if !statement.allows {
                return Decision::ExplicitDeny;
            }
            decision = Decision::Allow;
        }
        decision
    }
}

impl Statement {
    fn read(statement: &Value) -> Result<Self, String> {
        let allows = match statement["Effect"].as_str() {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => return Err("a statement's `Effect` is neither `Allow` nor `Deny`".to_owned()),
        };
        let texts = |name: &str| match &statement[name] {
            Value::String(one) => Ok(vec![one.clone()]),
            Value::Array(many) if !many.is_empty() => many
                .iter()
                .map(|one| one.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| format!("a statement's `{name}` is no text")),
            _ => Err(format!("a statement has no `{name}`")),
        };
        Ok(Self {
            allows,
            actions: texts("Action")?,
            resources: texts("Resource")?,
        })
    }

    fn covers(&self, arn: &str) -> bool {
        let action =
            |pattern: &String| matches(&pattern.to_ascii_lowercase(), "execute-api:invoke");
        self.actions.iter().any(action) && self.resources.iter().any(|of| matches(of, arn))
    }
}

/// `*` stands for any text, `?` for one character.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[seen] => {
                at += 1;
                seen += 1;
            }
            // The last star takes one byte more.
            _ => match &mut star {
                Some((of, from)) => {
                    *from += 1;
                    (at, seen) = (*of + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:execute-api:us-east-1:000000000000:longshore0/dev/GET/orders/7";

    fn statement(effect: &str, resource: &Value) -> Value {
        json!({"Effect": effect, "Action": "execute-api:Invoke", "Resource": resource})
    }

    #[test]
    fn a_policy_decides() {
        for (statements, decision) in [
            (json!([statement("Allow", &json!(ARN))]), Decision::Allow),
            (statement("Allow", &json!("*")), Decision::Allow),
            (
                json!([statement(
                    "Allow",
                    &json!(["arn:x", "arn:aws:execute-api:*/dev/GET/*"])
                )]),
                Decision::Allow,
            ),
            (
                json!([
                    statement("Allow", &json!("*")),
                    statement("Deny", &json!("*/orders/?"))
                ]),
                Decision::ExplicitDeny,
            ),
            (
                json!([statement("Deny", &json!("*/orders/??"))]),
                Decision::ImplicitDeny,
            ),
            (json!([]), Decision::ImplicitDeny),
            (
                json!([{"Effect": "Allow", "Action": ["s3:*", "execute-api:*"], "Resource": "*"}]),
                Decision::Allow,
            ),
            (
                json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]),
                Decision::ImplicitDeny,
            ),
        ] {
            let policy = Policy::read(&json!({"Statement": statements})).unwrap();
            assert_eq!(policy.decide(ARN), decision, "{statements}");
        }
    }

    #[test]
    fn what_is_no_policy_is_said() {
        for document in [
            json!(null),
            json!({}),
            json!({"Statement": "all"}),
            json!({"Statement": [{"Effect": "allow", "Action": "*", "Resource": "*"}]}),
            json!({"Statement": [{"Effect": "Allow", "Resource": "*"}]}),
            json!({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": [1]}]}),
        ] {
            assert!(Policy::read(&document).is_err(), "{document}");
        }
    }

    #[test]
    fn a_star_may_have_to_try_again() {
        for (pattern, text, matched) in [
            ("*ab", "aab", true),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxc", false),
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, text), matched, "{pattern} {text}");
        }
    }
}
