//! `PUT /2022-07-01/telemetry` and `PUT /2020-08-15/logs`.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use super::NotTaken;
use super::subscription::{Api, Subscription};
use crate::extensions_api::{identifier, unknown};
use crate::platform_event::PlatformEvent;
use crate::runtime_api::{RuntimeApi, error, json_response, read_body};

/// The largest body that these calls take, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Which of the two APIs is called by this path.
pub(crate) fn called(path: &str) -> Option<Api> {
    match path.strip_suffix('/').unwrap_or(path) {
        "/2022-07-01/telemetry" => Some(Api::Telemetry),
        "/2020-08-15/logs" => Some(Api::Logs),
        _ => None,
    }
}

impl Api {
    /// As its errors are called.
    fn error_type(self, what: &str) -> String {
        match (self, what) {
            (Self::Telemetry, "ValidationError") => what.to_owned(),
            (Self::Telemetry, _) => format!("Telemetry.{what}"),
            (Self::Logs, _) => format!("Logs.{what}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "Telemetry",
            Self::Logs => "Logs",
        }
    }
}

/// Answers a subscription of an extension.
pub(crate) async fn subscribe(
    runtime: &RuntimeApi,
    request: Request<Incoming>,
    api: Api,
) -> Response<Full<Bytes>> {
    let id = match identifier(&request) {
        Ok(id) => id,
        Err(refused) => return *refused,
    };
    let Some((name, sandbox)) = runtime.broker.subscriber(runtime.key, id) else {
        return unknown(&id.to_string());
    };
    let invalid = |why: &str| {
        let error_type = api.error_type("ValidationError");
        error(StatusCode::BAD_REQUEST, &error_type, why)
    };
    let Ok(body) = read_body(request.into_body(), MAX_BODY_BYTES).await else {
        return invalid("the body is cut short or too large");
    };
    let subscription = match Subscription::read(api, name.clone(), &body.bytes) {
        Ok(subscription) => subscription,
        Err(why) => return invalid(&why),
    };
    let (types, port) = (subscription.kinds.clone(), subscription.destination.port());
    match sandbox.telemetry().add(subscription) {
        Ok(None) => {}
        Ok(Some(delivery)) => {
            runtime.broker.listens(runtime.key, port);
            runtime.broker.run(delivery);
            let event = PlatformEvent::Subscribed {
                api,
                name: &name,
                types: &types,
            };
            sandbox.say(&event, None);
        }
        Err(NotTaken::Closed) => {
            return error(
                StatusCode::FORBIDDEN,
                &api.error_type("SubscriptionClosed"),
                &format!("{} API subscription is closed already", api.name()),
            );
        }
        Err(NotTaken::Other(other)) => {
            return invalid(&format!(
                "{name} has subscribed with the {} API: use one of the two",
                other.name()
            ));
        }
    }
    json_response(StatusCode::OK, Bytes::from_static(b"\"OK\""))
}
