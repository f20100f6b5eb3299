//! What AWS would refuse although Longshore can do it: every rule once, with its limit, what
//! becomes of it and where AWS documents it. Limits that hold here as on AWS whatever is set
//! (6 MB of payload, say) are no rules of this table.
//!
//! Rules about a function's declaration are checked by [`Function::excesses`]; those about
//! requests and runs where these are at hand, by the gateway.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::{Function, FunctionSettings};

/// What becomes of that which would fail on AWS only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parity {
    /// It works, and is told of.
    #[default]
    Warn,
    /// It fails as it would on AWS.
    Enforce,
}

impl FromStr for Parity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "warn" => Ok(Self::Warn),
            "enforce" => Ok(Self::Enforce),
            _ => Err("use one of: warn, enforce".to_owned()),
        }
    }
}

impl fmt::Display for Parity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        })
    }
}

/// A page of AWS's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its title.
    pub title: &'static str,
    /// Its address.
    pub url: &'static str,
}

/// Something that AWS takes no more than so much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is called in logs, in `x-longshore-parity` and in the documentation.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// What AWS takes, in words.
    pub limit: &'static str,
    /// The limit as a number, in the unit of the words; zero where there is none.
    pub most: u64,
    /// What happens with [`Parity::Warn`], beside being told of.
    pub warned: &'static str,
    /// What happens with [`Parity::Enforce`].
    pub enforced: &'static str,
    /// Where AWS says so.
    pub page: Page,
}

impl Rule {
    /// Something that AWS would refuse by this rule; `found` says what was found and, where
    /// it is not plain, what to do about it.
    #[must_use]
    pub fn broken(&'static self, found: impl Into<String>) -> Excess {
        Excess {
            rule: self,
            found: found.into(),
        }
    }
}

/// Something that AWS would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excess {
    /// By which rule.
    pub rule: &'static Rule,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule {
            name, limit, page, ..
        } = self.rule;
        write!(
            f,
            "{name}: {}; AWS takes {limit} ({})",
            self.found, page.url
        )
    }
}

const LAMBDA_QUOTAS: Page = Page {
    title: "Lambda quotas",
    url: "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html",
};
const LAMBDA_VARIABLES: Page = Page {
    title: "Working with Lambda environment variables",
    url: "https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html",
};
const LAMBDA_DEPLOYMENT: Page = Page {
    title: "Troubleshoot deployment issues in Lambda",
    url: "https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-deployment.html",
};
const LAMBDA_CREATE: Page = Page {
    title: "CreateFunction",
    url: "https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html",
};
const LAMBDA_TIMEOUT: Page = Page {
    title: "Configure Lambda function timeout",
    url: "https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html",
};
const LAMBDA_MEMORY: Page = Page {
    title: "Configure Lambda function memory",
    url: "https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html",
};
const LAMBDA_STORAGE: Page = Page {
    title: "Configure ephemeral storage for Lambda functions",
    url: "https://docs.aws.amazon.com/lambda/latest/dg/configuration-ephemeral-storage.html",
};
const LAMBDA_LIFECYCLE: Page = Page {
    title: "Understanding the Lambda execution environment lifecycle",
    url: "https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html",
};
const LAMBDA_RECURSION: Page = Page {
    title: "Use Lambda recursive loop detection to prevent infinite loops",
    url: "https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html",
};
const REST_QUOTAS: Page = Page {
    title: "Quotas for configuring and running a REST API in API Gateway",
    url: "https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html",
};
const REST_BINARY: Page = Page {
    title: "Binary media types for REST APIs in API Gateway",
    url: "https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-payload-encodings.html",
};
const API_GATEWAY_QUOTAS: Page = Page {
    title: "Amazon API Gateway endpoints and quotas",
    url: "https://docs.aws.amazon.com/general/latest/gr/apigateway.html",
};
const HTTP_QUOTAS: Page = Page {
    title: "Quotas for configuring and running an HTTP API in API Gateway",
    url: "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html",
};
const ALB_TROUBLE: Page = Page {
    title: "Troubleshoot your Application Load Balancers",
    url: "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html",
};

/// What a function that AWS would not take is answered with.
const NOT_SERVED: &str = "the function, or this newer build of it, is not served";

macro_rules! rules {
    ($($name:ident: $rule:expr;)*) => {
        $(#[doc = concat!("See [`RULES`]: `", stringify!($name), "`.")] pub static $name: Rule = $rule;)*
        /// All rules, in the order of the documentation.
        pub static RULES: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    MEMORY: Rule {
        name: "memory",
        about: "a function's memory",
        limit: "128 to 10,240 MB",
        most: 10_240,
        warned: "the default, 128 MB, or an outer layer's counts",
        enforced: NOT_SERVED,
        page: LAMBDA_MEMORY,
    };
    TIMEOUT: Rule {
        name: "timeout",
        about: "a function's timeout",
        limit: "1 to 900 seconds, whole ones",
        most: 900,
        warned: "one out of bounds does not count; one of milliseconds does",
        enforced: NOT_SERVED,
        page: LAMBDA_TIMEOUT,
    };
    HANDLER: Rule {
        name: "handler",
        about: "a function's handler",
        limit: "128 characters, none of them a space",
        most: 128,
        warned: "it counts",
        enforced: NOT_SERVED,
        page: LAMBDA_CREATE,
    };
    ENVIRONMENT_SIZE: Rule {
        name: "environment-size",
        about: "a function's own variables, as JSON without white space",
        limit: "4,096 bytes",
        most: 4_096,
        warned: "the function gets them",
        enforced: NOT_SERVED,
        page: LAMBDA_DEPLOYMENT,
    };
    RESERVED_VARIABLES: Rule {
        name: "reserved-variables",
        about: "a function's own variables, by their names",
        limit: "none that Lambda sets itself",
        most: 0,
        warned: "Lambda's value counts, but for the credentials, which the function gets",
        enforced: NOT_SERVED,
        page: LAMBDA_VARIABLES,
    };
    VARIABLE_NAMES: Rule {
        name: "variable-names",
        about: "a function's own variables, by their names",
        limit: "a letter, then letters, digits and `_`, two characters at least",
        most: 0,
        warned: "the function gets them",
        enforced: NOT_SERVED,
        page: LAMBDA_VARIABLES,
    };
    ZIP_SIZE: Rule {
        name: "zip-size",
        about: "the zip of `--artifact`, uploaded without S3",
        limit: "50 MB",
        most: 50 * 1024 * 1024,
        warned: "it runs",
        enforced: NOT_SERVED,
        page: LAMBDA_QUOTAS,
    };
    MEMORY_USED: Rule {
        name: "memory-used",
        about: "what a function's process uses at most",
        limit: "as much memory as the function is set to",
        most: 0,
        warned: "it goes on",
        enforced: "the same: it is measured once the function has answered. On AWS it is killed in the middle",
        page: LAMBDA_MEMORY,
    };
    TMP_SIZE: Rule {
        name: "tmp-size",
        about: "what an environment leaves in its `TMPDIR`",
        limit: "512 MB",
        most: 512 * 1024 * 1024,
        warned: "it is there",
        enforced: "the same: it is measured when the environment ends. On AWS no more can be written",
        page: LAMBDA_STORAGE,
    };
    RECURSIVE_LOOP: Rule {
        name: "recursive-loop",
        about: "a chain of requests that invokes a function again and again",
        limit: "about 16 invocations of a function in a chain",
        most: 16,
        warned: "it goes on",
        enforced: "the next one is stopped: a caller gets 400 `RecursiveInvocationException`, an event goes to the dead-letter queue and the on-failure destination",
        page: LAMBDA_RECURSION,
    };
    REST_HEADERS: Rule {
        name: "rest-headers",
        about: "a REST API's request: the values of its headers, together",
        limit: "10,240 bytes",
        most: 10_240,
        warned: "the function gets it",
        enforced: "431",
        page: REST_QUOTAS,
    };
    REST_URL: Rule {
        name: "rest-url",
        about: "a REST API's request: its URL",
        limit: "10,240 characters",
        most: 10_240,
        warned: "the function gets it",
        enforced: "414",
        page: REST_QUOTAS,
    };
    REST_BINARY_BODIES: Rule {
        name: "rest-binary",
        about: "binary bodies and base64 answers of a REST API",
        limit: "what its `binary_media_types` name",
        most: 0,
        warned: "where none are set, the bytes decide, and base64 is decoded",
        enforced: "where none are set, bodies arrive as text, garbled if they are none, and base64 goes out as it is",
        page: REST_BINARY,
    };
    HTTP_HEADERS: Rule {
        name: "http-headers",
        about: "an HTTP API's request: its request line and the values of its headers, together",
        limit: "10,240 bytes",
        most: 10_240,
        warned: "the function gets it",
        enforced: "431",
        page: HTTP_QUOTAS,
    };
    AUTHORIZER_RESULT: Rule {
        name: "authorizer-result",
        about: "what a Lambda authorizer answers with, all of it",
        limit: "8 KB",
        most: 8 * 1024,
        warned: "it counts",
        enforced: "500, as with an authorizer that is broken",
        page: API_GATEWAY_QUOTAS,
    };
    ALB_HEADERS: Rule {
        name: "alb-headers",
        about: "a load balancer's request: its request line, one header, all headers",
        limit: "16 K, 16 K and 64 K",
        most: 64 * 1024,
        warned: "the function gets it",
        enforced: "400",
        page: ALB_TROUBLE,
    };
    ALB_ANSWER_HEADERS: Rule {
        name: "alb-answer-headers",
        about: "a load balancer's answer: all headers",
        limit: "32 K",
        most: 32 * 1024,
        warned: "the client gets it",
        enforced: "502",
        page: ALB_TROUBLE,
    };
    INTEGRATION_TIMEOUT: Rule {
        name: "integration-timeout",
        about: "`LONGSHORE_INTEGRATION_TIMEOUT`",
        limit: "29 seconds, unless it was raised for your account",
        most: 29,
        warned: "it counts",
        enforced: "Longshore does not start",
        page: REST_QUOTAS,
    };
    INIT_TIMEOUT: Rule {
        name: "init-timeout",
        about: "`LONGSHORE_INIT_TIMEOUT`",
        limit: "10 seconds",
        most: 10,
        warned: "it counts",
        enforced: "Longshore does not start",
        page: LAMBDA_LIFECYCLE,
    };
}

/// A request line and one header that a load balancer takes, in bytes.
pub const ALB_LINE_BYTES: usize = 16 * 1024;

/// Names that Lambda sets itself and refuses in a function's configuration.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>.
const RESERVED: &[&str] = &[
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

impl Function {
    /// Everything of its declaration that AWS would refuse.
    #[must_use]
    pub fn excesses(&self) -> Vec<Excess> {
        let mut excesses = self.beyond.clone();
        let FunctionSettings {
            timeout,
            env,
            handler,
            ..
        } = &self.settings;
        if timeout.subsec_nanos() != 0 {
            excesses
                .push(TIMEOUT.broken(format!("the timeout is {} seconds", timeout.as_secs_f64())));
        }
        let length = handler.chars().count();
        if !(1..=128).contains(&length) || handler.contains(char::is_whitespace) {
            excesses
                .push(HANDLER.broken(format!("the handler is {handler:?}, {length} characters")));
        }
        excesses.extend(of_variables(env));
        excesses
    }
}

/// What AWS would refuse in a function's variables.
#[must_use]
pub fn of_variables(variables: &BTreeMap<String, String>) -> Vec<Excess> {
    let mut excesses = Vec::new();
    for name in variables.keys() {
        if RESERVED.contains(&name.as_str()) {
            let found = format!("{name} is set, which Lambda sets itself: choose another name");
            excesses.push(RESERVED_VARIABLES.broken(found));
        } else if !is_variable_name(name) {
            let found = format!("`{name}` is set, which is no name for Lambda");
            excesses.push(VARIABLE_NAMES.broken(found));
        }
    }
    // Names, values, quotes, commas and brackets count.
    let json = serde_json::to_string(variables).unwrap_or_default();
    if json.len() as u64 > ENVIRONMENT_SIZE.most {
        excesses.push(ENVIRONMENT_SIZE.broken(format!(
            "the variables have {} bytes: move values to Parameter Store or S3",
            json.len()
        )));
    }
    excesses
}

/// The pattern of Lambda's API: `[a-zA-Z]([a-zA-Z0-9_])+`.
fn is_variable_name(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::{CommandSource, FunctionSource};

    /// What is wrong with a function, by the rules' names.
    fn of(change: impl FnOnce(&mut Function)) -> Vec<&'static str> {
        let mut function = Function {
            name: "demo".parse().unwrap(),
            source: FunctionSource::Command(CommandSource {
                argv: vec!["demo".to_owned()],
                cwd: PathBuf::from("/"),
                watch: Vec::new(),
            }),
            settings: FunctionSettings {
                memory_mb: 128,
                timeout: Duration::from_secs(900),
                env: BTreeMap::new(),
                handler: "bootstrap".to_owned(),
                log_format: crate::LogFormat::Text,
                recursive_loop: crate::RecursiveLoop::Terminate,
                layers: crate::Layers::default(),
            },
            beyond: Vec::new(),
        };
        change(&mut function);
        let excesses = function.excesses();
        excesses.iter().map(|excess| excess.rule.name).collect()
    }

    fn variable(name: &str, value: &str) -> Vec<&'static str> {
        of(|function| drop(function.settings.env.insert(name.into(), value.into())))
    }

    #[test]
    fn what_aws_would_refuse_of_a_function_is_found() {
        assert_eq!(of(|_| ()), [""; 0]);
        let timeout = |ms| of(|function| function.settings.timeout = Duration::from_millis(ms));
        assert_eq!(timeout(1_000), [""; 0]);
        assert_eq!(timeout(1_500), ["timeout"]);
        let handler = |text: &str| of(|function| function.settings.handler = text.to_owned());
        assert_eq!(handler(&"h".repeat(128)), [""; 0]);
        for bad in [&"h".repeat(129), "app handler", ""] {
            assert_eq!(handler(bad), ["handler"], "{bad:?}");
        }
        let beyond = of(|function| function.beyond.push(ZIP_SIZE.broken("60 MB")));
        assert_eq!(beyond, ["zip-size"]);
    }

    #[test]
    fn variables_are_held_against_lambdas_names_and_bytes() {
        assert_eq!(variable("AWS_ENDPOINT_URL", "http://x"), [""; 0]);
        for reserved in RESERVED {
            assert_eq!(
                variable(reserved, "x"),
                ["reserved-variables"],
                "{reserved}"
            );
        }
        for name in ["9LIVES", "_PRIVATE", "WITH-HYPHEN", "x", ""] {
            assert_eq!(variable(name, "x"), ["variable-names"], "{name}");
        }
        // `{"KEY":"…"}`
        assert_eq!(variable("KEY", &"x".repeat(4_096 - 10)), [""; 0]);
        assert_eq!(
            variable("KEY", &"x".repeat(4_096 - 9)),
            ["environment-size"]
        );
    }

    #[test]
    fn an_excess_says_what_how_much_and_where_aws_says_so() {
        let excess = HTTP_HEADERS.broken("they have 12000 bytes");
        assert_eq!(
            excess.to_string(),
            "http-headers: they have 12000 bytes; AWS takes 10,240 bytes (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html)"
        );
        for rule in RULES {
            assert!(rule.page.url.starts_with("https://docs.aws.amazon.com/"));
            let same = RULES.iter().filter(|other| other.name == rule.name);
            assert_eq!(same.count(), 1, "{}", rule.name);
        }
    }

    /// A row of the page.
    fn row(rule: &Rule) -> String {
        let Rule {
            name,
            about,
            limit,
            warned,
            enforced,
            page,
            ..
        } = rule;
        format!(
            "| `{name}` | {about} | {limit} | {warned} | {enforced} | [{}]({}) |",
            page.title, page.url
        )
    }

    #[test]
    fn the_page_has_every_rule_and_no_other() {
        let page = include_str!("../../../docs/parity.md");
        let rows: Vec<&str> = page
            .lines()
            .filter(|line| {
                line.contains("](https://docs.aws.amazon.com/") && line.starts_with("| `")
            })
            .collect();
        let expected: Vec<String> = RULES.iter().map(|rule| row(rule)).collect();
        assert_eq!(
            rows,
            expected,
            "docs/parity.md is to have these rows:\n{}",
            expected.join("\n")
        );
    }
}
