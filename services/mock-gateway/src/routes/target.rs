//! Which front a request came to, and where it goes.

use std::sync::Arc;

use app_model::{Api, PayloadFormat, RouteOptions, TransferMode};

use super::streamed::Streams;
use crate::event::TargetGroup;
use crate::faults::Speaker;

/// Which front a request came to.
pub(super) enum Front {
    Rest,
    Http(PayloadFormat),
    FunctionUrl,
    LoadBalancer(TargetGroup),
}

impl Front {
    /// Whose words it uses.
    pub(super) fn speaker(&self) -> Speaker {
        match self {
            Self::Rest => Speaker::Rest,
            Self::Http(_) => Speaker::Http,
            Self::FunctionUrl => Speaker::FunctionUrl,
            Self::LoadBalancer(_) => Speaker::LoadBalancer,
        }
    }
}

/// Where a request goes.
pub(super) struct Target {
    pub(super) front: Front,
    pub(super) api: Arc<Api>,
    pub(super) function: String,
    pub(super) resource: String,
    pub(super) path: String,
    pub(super) parameters: Vec<(String, String)>,
    /// What is set about the route, if anything is.
    pub(super) options: Option<RouteOptions>,
}

impl Target {
    /// Whether, and as whose, an answer is passed on while it is written.
    pub(super) fn streams(&self) -> Option<Streams> {
        let mode = self
            .options
            .as_ref()
            .map(|options| options.response_transfer_mode);
        match (&self.front, mode) {
            (Front::FunctionUrl, _) => Some(Streams::FunctionUrl),
            (Front::Rest, Some(TransferMode::Stream)) => Some(Streams::Rest),
            _ => None,
        }
    }
}
