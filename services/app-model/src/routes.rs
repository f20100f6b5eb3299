//! The route table: which function answers a method and a path.
//!
//! Patterns come in AWS's spelling (`/hook/{proxy+}`) or in cargo-lambda's
//! (`/hook/{*proxy}`); both mean the same. Precedence is API Gateway's: an exact segment
//! before a parameter before a greedy parameter, among the routes that take the method.
//! `$default`, the HTTP API's last resort, takes what no pattern does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{Api, FunctionName};

/// The route that takes what no other does.
pub const DEFAULT_ROUTE: &str = "$default";

/// One declared route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteDeclaration {
    /// The path pattern in AWS's spelling, for example `/hook/{proxy+}`; or `$default`.
    pub resource: String,
    /// The methods it takes, upper case; empty means any.
    pub methods: BTreeSet<String>,
    /// Who answers.
    pub function: FunctionName,
}

/// What a method and a path led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Who answers.
    pub function: FunctionName,
    /// The matched pattern in AWS's spelling: the event's `resource` (v1) or the second
    /// half of its `routeKey` (v2); `$default` if no pattern matched.
    pub resource: String,
    /// Whether the route takes every method: its key then begins with `ANY`.
    pub any_method: bool,
    /// Path parameters as they stand in the path, still percent-encoded.
    pub parameters: BTreeMap<String, String>,
}

/// Why a method and a path lead nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// No pattern matches the path.
    #[error("no route matches the path")]
    UnknownPath,
    /// A pattern matches, for other methods only.
    #[error("the path takes {}", allowed.iter().map(String::as_str).collect::<Vec<_>>().join(", "))]
    MethodNotAllowed {
        /// The methods that would have been taken.
        allowed: BTreeSet<String>,
    },
}

/// Why a route cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The pattern does not parse.
    #[error(
        "`{pattern}` is no route pattern ({reason}): write it as `/orders/{{id}}` or `/files/{{proxy+}}`"
    )]
    BadPattern {
        /// The pattern as declared.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another route has the same pattern and method.
    #[error("`{method} {resource}` is routed twice: to `{first}` and to `{second}`")]
    Duplicate {
        /// The method, `ANY` for all.
        method: String,
        /// The pattern in AWS's spelling.
        resource: String,
        /// The function that keeps the route.
        first: FunctionName,
        /// The function that does not get it.
        second: FunctionName,
    },
}

/// The index into [`RouteTable::routes`] of a route.
type RouteIndex = usize;

/// All routes, ready to resolve requests.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routes: Vec<RouteDeclaration>,
    /// One matcher per method that any route names; each holds the routes for any method
    /// too, so that the most specific pattern *that takes the method* wins.
    by_method: BTreeMap<String, matchit::Router<RouteIndex>>,
    /// For the methods that no route names.
    any_method: matchit::Router<RouteIndex>,
    /// Who takes the rest.
    default: Option<FunctionName>,
    /// What is set about the APIs.
    api: Arc<Api>,
}

impl RouteTable {
    /// Builds the table. Routes that do not parse or repeat an earlier one are left out
    /// and reported.
    #[must_use]
    pub fn new(
        declarations: impl IntoIterator<Item = RouteDeclaration>,
    ) -> (Self, Vec<RouteError>) {
        let mut problems = Vec::new();
        let mut taken: BTreeMap<(String, String), FunctionName> = BTreeMap::new();
        let mut routes: Vec<RouteDeclaration> = Vec::new();
        let mut default: Option<FunctionName> = None;
        for mut route in declarations {
            if route.resource == DEFAULT_ROUTE {
                match &default {
                    Some(first) if *first == route.function => {}
                    Some(first) => problems.push(RouteError::Duplicate {
                        method: "ANY".to_owned(),
                        resource: route.resource,
                        first: first.clone(),
                        second: route.function,
                    }),
                    None => {
                        route.methods.clear();
                        default = Some(route.function.clone());
                        routes.push(route);
                    }
                }
                continue;
            }
            let pattern = match Pattern::parse(&route.resource) {
                Ok(pattern) => pattern,
                Err(reason) => {
                    problems.push(RouteError::BadPattern {
                        pattern: route.resource,
                        reason,
                    });
                    continue;
                }
            };
            route.resource = pattern.aws();
            let any = route.methods.is_empty();
            let methods: Vec<String> = if any {
                vec!["ANY".to_owned()]
            } else {
                route
                    .methods
                    .iter()
                    .map(|method| method.to_ascii_uppercase())
                    .collect()
            };
            route.methods.clear();
            for method in methods {
                let key = (method, pattern.shape());
                match taken.get(&key) {
                    Some(first) if *first == route.function => {}
                    Some(first) => problems.push(RouteError::Duplicate {
                        method: key.0,
                        resource: route.resource.clone(),
                        first: first.clone(),
                        second: route.function.clone(),
                    }),
                    None => {
                        if !any {
                            route.methods.insert(key.0.clone());
                        }
                        taken.insert(key.clone(), route.function.clone());
                        if any {
                            routes.push(route.clone());
                        }
                    }
                }
            }
            if !route.methods.is_empty() {
                routes.push(route);
            }
        }
        let mut table = Self {
            routes,
            default,
            ..Self::default()
        };
        problems.extend(table.index());
        (table, problems)
    }

    /// Fills the matchers; a pattern that a matcher refuses is reported and left out.
    fn index(&mut self) -> Vec<RouteError> {
        let mut problems = BTreeMap::new();
        let named: BTreeSet<String> = self
            .routes
            .iter()
            .flat_map(|route| route.methods.iter().cloned())
            .collect();
        let mut build = |method: Option<&str>| {
            let mut router = matchit::Router::new();
            let mut shapes = BTreeSet::new();
            // Routes that name the method first: where a route for any method has the same
            // pattern, the one that names the method wins.
            let specific = |route: &RouteDeclaration| {
                method.is_some_and(|method| route.methods.contains(method))
            };
            let any = |route: &RouteDeclaration| route.methods.is_empty();
            let first = self
                .routes
                .iter()
                .enumerate()
                .filter(|(_, route)| specific(route));
            let second = self
                .routes
                .iter()
                .enumerate()
                .filter(|(_, route)| any(route));
            for (index, route) in first.chain(second) {
                let Ok(pattern) = Pattern::parse(&route.resource) else {
                    continue;
                };
                if !shapes.insert(pattern.shape()) {
                    continue;
                }
                if let Err(error) = router.insert(pattern.matchit(), index) {
                    problems.insert(
                        index,
                        RouteError::BadPattern {
                            pattern: route.resource.clone(),
                            reason: error.to_string(),
                        },
                    );
                }
            }
            router
        };
        self.by_method = named
            .iter()
            .map(|method| (method.clone(), build(Some(method))))
            .collect();
        self.any_method = build(None);
        problems.into_values().collect()
    }

    /// The function that answers `method` on `path` (without its query).
    ///
    /// # Errors
    /// Says whether the path is unknown or only the method is.
    pub fn resolve(&self, method: &str, path: &str) -> Result<Route, NoRoute> {
        let router = self.by_method.get(method).unwrap_or(&self.any_method);
        if let Ok(matched) = router.at(path) {
            let route = &self.routes[*matched.value];
            return Ok(Route {
                function: route.function.clone(),
                resource: route.resource.clone(),
                any_method: route.methods.is_empty(),
                parameters: matched
                    .params
                    .iter()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
            });
        }
        if let Some(function) = &self.default {
            return Ok(Route {
                function: function.clone(),
                resource: DEFAULT_ROUTE.to_owned(),
                any_method: true,
                parameters: BTreeMap::new(),
            });
        }
        let allowed: BTreeSet<String> = self
            .by_method
            .iter()
            .filter(|(_, router)| router.at(path).is_ok())
            .map(|(method, _)| method.clone())
            .collect();
        if allowed.is_empty() {
            Err(NoRoute::UnknownPath)
        } else {
            Err(NoRoute::MethodNotAllowed { allowed })
        }
    }

    /// The routes in the order they were declared, for banners and listings.
    #[must_use]
    pub fn routes(&self) -> &[RouteDeclaration] {
        &self.routes
    }

    /// Whether a route was declared for this method (`ANY` for all) and resource.
    #[must_use]
    pub fn has_route(&self, method: &str, resource: &str) -> bool {
        self.routes.iter().any(|route| {
            route.resource == resource
                && if method == "ANY" {
                    route.methods.is_empty()
                } else {
                    route.methods.contains(method)
                }
        })
    }

    /// What is set about the APIs that these routes belong to.
    #[must_use]
    pub fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// The same routes, of APIs with these settings.
    #[must_use]
    pub fn with_api(self, api: Api) -> Self {
        Self {
            api: Arc::new(api),
            ..self
        }
    }

    /// Whether there is no route at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

/// A parsed pattern.
struct Pattern(Vec<Segment>);

enum Segment {
    Exact(String),
    Parameter(String),
    Greedy(String),
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("it does not begin with `/`".to_owned());
        };
        let mut segments = Vec::new();
        let mut names = BTreeSet::new();
        let parts: Vec<&str> = rest.split('/').collect();
        for (at, part) in parts.iter().enumerate() {
            let Some(inner) = part
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'))
            else {
                if part.contains(['{', '}']) {
                    return Err(format!("`{part}`: a parameter is a whole path segment"));
                }
                segments.push(Segment::Exact((*part).to_owned()));
                continue;
            };
            let (name, greedy) = match (inner.strip_suffix('+'), inner.strip_prefix('*')) {
                (Some(name), _) | (None, Some(name)) => (name, true),
                (None, None) => (inner, false),
            };
            if name.is_empty() || name.contains(['{', '}', '*', '+']) {
                return Err(format!("`{part}` has no usable name"));
            }
            if !names.insert(name.to_owned()) {
                return Err(format!("`{name}` is named twice"));
            }
            if greedy && at + 1 != parts.len() {
                return Err(format!(
                    "`{part}` takes all that follows and must come last"
                ));
            }
            segments.push(if greedy {
                Segment::Greedy(name.to_owned())
            } else {
                Segment::Parameter(name.to_owned())
            });
        }
        Ok(Self(segments))
    }

    fn render(
        &self,
        greedy: impl Fn(&str) -> String,
        parameter: impl Fn(&str) -> String,
    ) -> String {
        self.0.iter().fold(String::new(), |mut text, segment| {
            text.push('/');
            match segment {
                Segment::Exact(exact) => text.push_str(exact),
                Segment::Parameter(name) => text.push_str(&parameter(name)),
                Segment::Greedy(name) => text.push_str(&greedy(name)),
            }
            text
        })
    }

    /// AWS's spelling.
    fn aws(&self) -> String {
        self.render(|name| format!("{{{name}+}}"), |name| format!("{{{name}}}"))
    }

    /// The matcher's spelling.
    fn matchit(&self) -> String {
        self.render(|name| format!("{{*{name}}}"), |name| format!("{{{name}}}"))
    }

    /// The pattern without its parameters' names: two routes of one shape are the same.
    fn shape(&self) -> String {
        self.render(|_| "{+}".to_owned(), |_| "{}".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &[(&str, &str, &str)]) -> (RouteTable, Vec<String>) {
        let (table, problems) =
            RouteTable::new(
                routes
                    .iter()
                    .map(|(methods, path, function)| RouteDeclaration {
                        resource: (*path).to_owned(),
                        methods: methods.split_whitespace().map(str::to_owned).collect(),
                        function: function.parse().unwrap(),
                    }),
            );
        (table, problems.iter().map(ToString::to_string).collect())
    }

    /// `function resource name=value,…`, or why there is no route.
    fn resolve(table: &RouteTable, method: &str, path: &str) -> String {
        match table.resolve(method, path) {
            Ok(route) => {
                let parameters: Vec<String> = route
                    .parameters
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                format!(
                    "{} {} {}",
                    route.function,
                    route.resource,
                    parameters.join(",")
                )
                .trim_end()
                .to_owned()
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_most_specific_pattern_that_takes_the_method_wins() {
        let (table, problems) = table(&[
            ("", "/", "root"),
            ("GET", "/orders", "list"),
            ("POST PUT", "/orders", "write"),
            ("", "/orders/{id}", "order"),
            ("GET", "/orders/latest", "latest"),
            ("", "/orders/{order}/lines/{line}", "line"),
            ("", "/files/{*path}", "files"),
            ("", "/hook/{proxy+}", "hook"),
            ("DELETE", "/hook/old", "sweeper"),
            ("get", "/lower", "lower"),
        ]);
        assert_eq!(problems, Vec::<String>::new());
        for (method, path, expected) in [
            ("GET", "/", "root /"),
            ("GET", "/orders", "list /orders"),
            ("PUT", "/orders", "write /orders"),
            ("DELETE", "/orders", "the path takes GET, POST, PUT"),
            ("GET", "/orders/latest", "latest /orders/latest"),
            ("POST", "/orders/latest", "order /orders/{id} id=latest"),
            ("GET", "/orders/7", "order /orders/{id} id=7"),
            ("PATCH", "/orders/a%20b", "order /orders/{id} id=a%20b"),
            (
                "GET",
                "/orders/7/lines/2",
                "line /orders/{order}/lines/{line} line=2,order=7",
            ),
            ("GET", "/files/a/b.csv", "files /files/{path+} path=a/b.csv"),
            ("GET", "/files", "no route matches the path"),
            ("GET", "/hook/old", "hook /hook/{proxy+} proxy=old"),
            ("DELETE", "/hook/old", "sweeper /hook/old"),
            ("GET", "/lower", "lower /lower"),
            ("GET", "/nowhere", "no route matches the path"),
        ] {
            assert_eq!(resolve(&table, method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn the_default_route_takes_the_rest() {
        let (table, problems) = table(&[
            ("GET", "/orders", "list"),
            ("", "$default", "rest"),
            ("", "$default", "other"),
        ]);
        assert_eq!(
            problems,
            ["`ANY $default` is routed twice: to `rest` and to `other`"]
        );
        assert_eq!(resolve(&table, "GET", "/orders"), "list /orders");
        assert_eq!(resolve(&table, "POST", "/orders"), "rest $default");
        assert_eq!(resolve(&table, "GET", "/a/b"), "rest $default");
    }

    #[test]
    fn what_cannot_be_routed_is_reported_and_the_rest_still_works() {
        let (table, problems) = table(&[
            ("GET", "/a/{id}", "first"),
            ("GET POST", "/a/{other}", "second"),
            ("", "relative", "third"),
            ("", "/b/{proxy+}/c", "third"),
            ("", "/b/x{id}", "third"),
            ("", "/b/{}", "third"),
            ("", "/b/{id}/{id}", "third"),
        ]);
        assert_eq!(problems.len(), 6, "{problems:#?}");
        assert_eq!(
            problems[0],
            "`GET /a/{other}` is routed twice: to `first` and to `second`"
        );
        assert!(
            problems[1].starts_with("`relative` is no route pattern"),
            "{}",
            problems[1]
        );
        assert_eq!(resolve(&table, "GET", "/a/1"), "first /a/{id} id=1");
        assert_eq!(resolve(&table, "POST", "/a/1"), "second /a/{other} other=1");
    }
}
