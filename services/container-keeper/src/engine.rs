//! The container engine at its socket: its events, a look at a container, a start.

use std::collections::HashMap;
use std::path::Path;

use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, EventMessage, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, StartContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::{Stream, StreamExt};

use crate::life::{Event, Inspected, Observed, Signal, Status};

/// How long an answer may take to begin, in seconds.
const ANSWER_WITHIN: u64 = 10;

/// A connection to the engine. What it may do is what is here: listen, look, start.
#[derive(Clone, Debug)]
pub(crate) struct Engine(Docker);

impl Engine {
    /// Connects, and agrees on what both speak.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, Error> {
        let socket = socket.display().to_string();
        let docker = Docker::connect_with_unix(&socket, ANSWER_WITHIN, API_DEFAULT_VERSION)?;
        Ok(Self(docker.negotiate_version().await?))
    }

    /// Whether it is there.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        self.0.ping().await.map(drop)
    }

    /// What happens to the containers of this compose project, and what happened since
    /// (nanoseconds since 1970; as far back as the engine remembers).
    pub(crate) fn events(
        &self,
        project: &str,
        since: i64,
    ) -> impl Stream<Item = Result<Observed, Error>> {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let filters = HashMap::from([
            ("type", words(&["container"])),
            ("event", words(&["start", "kill", "die", "destroy"])),
            (
                "label",
                vec![
                    format!("com.docker.compose.project={project}"),
                    // Not what `compose run` started: whoever did waits for its end.
                    "com.docker.compose.oneoff=False".to_owned(),
                ],
            ),
        ]);
        let since = since.max(0);
        let options = EventsOptionsBuilder::new()
            .since(&format!(
                "{}.{:09}",
                since / 1_000_000_000,
                since % 1_000_000_000
            ))
            .filters(&filters)
            .build();
        let events = self.0.events(Some(options));
        events.filter_map(async |event| event.map(|event| observed(&event)).transpose())
    }

    pub(crate) async fn inspect(&self, id: &str) -> Result<Inspected, Error> {
        let found = self
            .0
            .inspect_container(id, None::<InspectContainerOptions>);
        Ok(inspected(&found.await?))
    }

    /// Starts it; does nothing if it runs.
    pub(crate) async fn start(&self, id: &str) -> Result<(), Error> {
        let start = self.0.start_container(id, None::<StartContainerOptions>);
        start.await
    }
}

/// The container is gone, or going: no later attempt would find it.
pub(crate) fn is_gone(error: &Error) -> bool {
    matches!(
        error,
        Error::DockerResponseServerError {
            status_code: 404 | 409,
            ..
        }
    )
}

/// What an event of the engine says, if it is one that counts.
pub(crate) fn observed(message: &EventMessage) -> Option<Observed> {
    let actor = message.actor.as_ref()?;
    let attribute = |name: &str| actor.attributes.as_ref()?.get(name);
    let event = match message.action.as_deref()? {
        "start" => Event::Started,
        "kill" => Event::Signalled(Signal::of_event(attribute("signal")?)?),
        "die" => Event::Ended,
        "destroy" => Event::Removed,
        _ => return None,
    };
    let id = actor.id.clone()?;
    Some(Observed {
        name: attribute("name").unwrap_or(&id).clone(),
        at: message.time_nano?,
        id,
        event,
    })
}

fn inspected(found: &ContainerInspectResponse) -> Inspected {
    use ContainerStateStatusEnum as Is;
    let state = found.state.as_ref();
    let host = found.host_config.as_ref();
    let policy = host.and_then(|host| host.restart_policy.as_ref()?.name);
    let stop_signal = found
        .config
        .as_ref()
        .and_then(|config| config.stop_signal.clone());
    Inspected {
        status: match state.and_then(|state| state.status) {
            Some(Is::EXITED | Is::CREATED) => Status::Exited,
            Some(Is::RUNNING | Is::PAUSED | Is::RESTARTING) => Status::Running,
            Some(Is::REMOVING | Is::DEAD | Is::STOPPING | Is::EMPTY) | None => Status::Going,
        },
        restarts: policy.is_some_and(|policy| {
            use RestartPolicyNameEnum as Policy;
            !matches!(policy, Policy::NO | Policy::EMPTY)
        }),
        stop_signal: stop_signal.unwrap_or_default(),
    }
}
