//! The event of a function URL: format 2.0 with one route, one stage and no account.

use super::headers::EmptyLength;
use super::http_v2::{Front, format_2};
use super::{EventContext, GatewayRequest};

/// The event as JSON. Of the context's route, stage and account nothing shows: a function
/// URL without IAM authorisation has none of them.
#[must_use]
pub fn function_url(request: &GatewayRequest, context: &EventContext) -> Vec<u8> {
    format_2(
        request,
        context,
        &Front {
            route_key: "$default",
            account_id: "anonymous",
            stage: "$default",
            path_parameters: None,
            stage_variables: None,
            empty_length: EmptyLength::Left,
        },
    )
}
