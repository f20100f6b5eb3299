//! Tenants: an environment that has worked for one works for no other, as on AWS where a
//! function's tenancy is isolated.

use function_supervisor::Artifact;

use super::environment_state::{Environment, Phase, StopReason};
use super::pool::Pool;
use crate::invocation::TenantId;

impl Environment {
    /// Whether it may work for this tenant, or for none.
    pub(crate) fn is_for(&self, tenant: Option<&TenantId>) -> bool {
        self.invocations == 0 || self.tenant.as_ref() == tenant
    }
}

impl Pool {
    /// Lets go so many environments, at most, that are free, and not for those who wait.
    /// Says how many.
    pub(super) fn make_room(&mut self, wanted: usize, artifact: &Artifact) -> usize {
        let free = self.environments.iter_mut().filter(|environment| {
            environment.generation() == artifact.generation
                && environment.invocations > 0
                && matches!(environment.phase, Phase::Idle)
        });
        let mut made = 0;
        for environment in free.take(wanted) {
            environment.stop(StopReason::Spindown);
            made += 1;
        }
        made
    }
}
