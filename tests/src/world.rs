//! Where a test runs: what starts a sandbox, and in what.

use std::path::Path;

use anyhow::Result;

use crate::in_process;
use crate::sandbox::Sandbox;

/// Starts sandboxes for one test.
#[derive(Debug)]
pub struct World(pub(crate) Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    /// The services run in this process, the S3 is the embedded one.
    InProcess,
    /// The services and LocalStack run in containers.
    #[cfg(feature = "docker")]
    Containers(crate::containers::Containers),
}

impl World {
    /// A sandbox with this repository's own functions. Its destination, its poller and the
    /// content of its fixtures are this test's alone until it is stopped.
    ///
    /// # Errors
    /// If a service cannot start.
    pub async fn start(&self) -> Result<Sandbox> {
        match &self.0 {
            Kind::InProcess => in_process::start(&crate::repository(), &[]).await,
            #[cfg(feature = "docker")]
            Kind::Containers(containers) => containers.start().await,
        }
    }

    /// The same, with variables of the functions that are other than usual.
    ///
    /// # Errors
    /// If a service cannot start.
    pub async fn start_with(&self, variables: &[(&str, &str)]) -> Result<Sandbox> {
        match &self.0 {
            Kind::InProcess => in_process::start(&crate::repository(), variables).await,
            #[cfg(feature = "docker")]
            Kind::Containers(containers) => containers.start_with(variables).await,
        }
    }

    /// The functions of another workspace. In containers its destination and poller are
    /// shared with other tests.
    ///
    /// # Errors
    /// If a service cannot start.
    pub async fn of_workspace(&self, workspace: &Path) -> Result<Sandbox> {
        match &self.0 {
            Kind::InProcess => in_process::start(workspace, &[]).await,
            #[cfg(feature = "docker")]
            Kind::Containers(containers) => containers.of_workspace(workspace).await,
        }
    }
}
