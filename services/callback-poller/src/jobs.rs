//! All jobs, by webhook id: the one owner of their state. Clones are handles.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline_contract::WebhookId;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::Config;
use crate::job::{Job, Phase};
use crate::report::{ReceivedReport, Rejection};
use crate::view::{JobList, JobSummary, JobView};

/// A handle on all jobs.
#[derive(Clone, Debug)]
pub struct Jobs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    /// A plain mutex: held for a look-up and a push, never over an await.
    known: Mutex<Known>,
    /// Wakes who waits for a job; carries nothing.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<WebhookId, Job>,
    /// The same ids in order of first report.
    order: VecDeque<WebhookId>,
    evicted: u64,
}

impl Known {
    fn job(&mut self, id: &WebhookId, config: &Config) -> &mut Job {
        if !self.by_id.contains_key(id) {
            self.make_room(config.max_jobs);
            self.order.push_back(id.clone());
        }
        self.by_id
            .entry(id.clone())
            .or_insert_with(|| Job::new(config.job_deadline, config.max_reports_per_job))
    }

    /// Lets go of ended jobs first, then of the oldest.
    fn make_room(&mut self, max_jobs: usize) {
        while self.order.len() >= max_jobs.max(1) {
            let ended = self.order.iter().position(|id| {
                self.by_id
                    .get(id)
                    .is_none_or(|job| job.phase != Phase::Running)
            });
            let Some(id) = self.order.remove(ended.unwrap_or(0)) else {
                return;
            };
            self.by_id.remove(&id);
            self.evicted += 1;
            tracing::warn!(webhook_id = %id, "too many jobs: forgot this one");
        }
    }
}

impl Jobs {
    /// No jobs yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            shared: Arc::new(Shared {
                config,
                known: Mutex::default(),
                changed: watch::Sender::new(()),
            }),
        }
    }

    /// Takes a report; returns every breach of the contract.
    pub(crate) fn take(&self, id: &WebhookId, report: ReceivedReport) -> Vec<String> {
        let (state, progress) = (report.report.state, report.report.progress);
        let violations = self.lock().job(id, &self.shared.config).take(report);
        self.shared.changed.send_replace(());
        tracing::info!(webhook_id = %id, %state, progress, "status report");
        for violation in &violations {
            tracing::warn!(webhook_id = %id, %violation, "a status report breaks the contract");
        }
        violations
    }

    /// Notes that a report for this job was refused.
    pub(crate) fn reject(&self, id: &WebhookId, why: &Rejection) {
        self.lock().job(id, &self.shared.config).reject(why);
        self.shared.changed.send_replace(());
        tracing::warn!(webhook_id = %id, %why, "refused a status report");
    }

    /// What is known of this job now.
    #[must_use]
    pub fn view(&self, id: &WebhookId) -> Option<JobView> {
        self.look(id).map(|job| JobView::new(id.clone(), &job))
    }

    /// What is known of this job once it has ended, or at `until` if that comes first.
    /// A job nothing was heard of yet is waited for. Cancel-safe.
    pub async fn wait(&self, id: &WebhookId, until: Instant) -> Option<JobView> {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let job = self.look(id);
            let ended = job.as_ref().is_some_and(|job| job.phase != Phase::Running);
            if ended || Instant::now() >= until {
                return job.map(|job| JobView::new(id.clone(), &job));
            }
            let next = job.map_or(until, |job| job.deadline_at.min(until));
            // A report or the time being up: either way, look again.
            match timeout_at(next, changed.changed()).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(_)) => return self.view(id),
            }
        }
    }

    /// One line for each job.
    #[must_use]
    pub fn list(&self) -> JobList {
        let mut known = self.lock();
        let Known {
            by_id,
            order,
            evicted,
        } = &mut *known;
        let jobs = order
            .iter()
            .filter_map(|id| {
                let job = by_id.get_mut(id)?;
                job.settle();
                Some(JobSummary::new(id.clone(), job))
            })
            .collect();
        JobList {
            jobs,
            evicted: *evicted,
            complete: *evicted == 0,
        }
    }

    /// Forgets all jobs, on request.
    pub fn clear(&self) {
        *self.lock() = Known::default();
    }

    /// Forgets this job, on request. Whether it was known.
    pub fn forget(&self, id: &WebhookId) -> bool {
        let mut known = self.lock();
        known.order.retain(|other| other != id);
        known.by_id.remove(id).is_some()
    }

    /// The job as it is now. The copy shares the job's records, so it costs little.
    fn look(&self, id: &WebhookId) -> Option<Job> {
        let mut known = self.lock();
        let job = known.by_id.get_mut(id)?;
        job.settle();
        Some(job.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere leaves at worst one job half noted; the others are still good.
        self.shared
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
