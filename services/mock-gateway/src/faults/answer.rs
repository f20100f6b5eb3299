//! What a refused request hears, in the words of the front that it came to.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};

use super::kind::Refused;

const JSON: &str = "application/json";
const HTML: &str = "text/html";

/// A load balancer's page.
macro_rules! page {
    ($title:literal) => {
        concat!(
            "<html>\r\n<head><title>",
            $title,
            "</title></head>\r\n<body>\r\n<center><h1>",
            $title,
            "</h1></center>\r\n</body>\r\n</html>\r\n"
        )
    };
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    Rest,
    Http,
    FunctionUrl,
    LoadBalancer,
    /// Lambda's own API.
    Lambda,
}

impl Refused {
    fn status(self) -> http::StatusCode {
        match self {
            Self::Throttle => http::StatusCode::TOO_MANY_REQUESTS,
            Self::BadGateway => http::StatusCode::BAD_GATEWAY,
            Self::Unavailable => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => http::StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The answer of this front.
    pub(crate) fn answer(self, speaker: Speaker) -> Response {
        let (body, kind, error_type) = self.words(speaker);
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(error_type) = error_type {
            let name = HeaderName::from_static("x-amzn-errortype");
            headers.insert(name, HeaderValue::from_static(error_type));
        }
        if self == Self::Throttle && speaker == Speaker::Lambda {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// Body, content type and error type.
    fn words(self, speaker: Speaker) -> (&'static str, &'static str, Option<&'static str>) {
        const THROTTLED: &str =
            r#"{"Reason":"CallerRateLimitExceeded","Type":"User","message":"Rate Exceeded."}"#;
        const SERVICE: &str =
            r#"{"Type":"Service","Message":"asked for by x-longshore-fault or a rule"}"#;
        match (speaker, self) {
            (Speaker::Rest, Self::Throttle) => (
                r#"{"message":"Too Many Requests"}"#,
                JSON,
                Some("TooManyRequestsException"),
            ),
            (Speaker::Rest, Self::BadGateway) => (
                r#"{"message":"Internal server error"}"#,
                JSON,
                Some("InternalServerErrorException"),
            ),
            (Speaker::Rest, Self::Timeout) => (
                r#"{"message":"Endpoint request timed out"}"#,
                JSON,
                Some("InternalServerErrorException"),
            ),
            (Speaker::Rest | Speaker::Http, Self::Unavailable) => {
                (r#"{"message":"Service Unavailable"}"#, JSON, None)
            }
            (Speaker::Http, Self::Throttle) => (r#"{"message":"Too Many Requests"}"#, JSON, None),
            (Speaker::Http, Self::BadGateway) => (r#"{"message":"Bad Gateway"}"#, JSON, None),
            (Speaker::Http, Self::Timeout) => (r#"{"message":"Gateway Timeout"}"#, JSON, None),
            (Speaker::FunctionUrl | Speaker::Lambda, Self::Throttle) => {
                (THROTTLED, JSON, Some("TooManyRequestsException"))
            }
            (Speaker::FunctionUrl, Self::BadGateway) => {
                ("Internal Server Error", "text/plain; charset=utf-8", None)
            }
            (Speaker::FunctionUrl, Self::Unavailable) => {
                ("Service Unavailable", "text/plain; charset=utf-8", None)
            }
            (Speaker::FunctionUrl, Self::Timeout) => {
                ("Gateway Timeout", "text/plain; charset=utf-8", None)
            }
            (Speaker::Lambda, _) => (SERVICE, JSON, Some("ServiceException")),
            (Speaker::LoadBalancer, Self::Throttle) => (page!("429 Too Many Requests"), HTML, None),
            (Speaker::LoadBalancer, Self::BadGateway) => (page!("502 Bad Gateway"), HTML, None),
            (Speaker::LoadBalancer, Self::Unavailable) => {
                (page!("503 Service Temporarily Unavailable"), HTML, None)
            }
            (Speaker::LoadBalancer, Self::Timeout) => (page!("504 Gateway Time-out"), HTML, None),
        }
    }
}
