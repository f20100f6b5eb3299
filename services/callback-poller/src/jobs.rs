//! All jobs, by webhook id: the one owner of their state. Clones are handles.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal::{LedgerError, NotWritten, Place, Writing, Written};
use pipeline_contract::WebhookId;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::Config;
use crate::job::{Job, Phase};
use crate::kept::{self, Kept, Marks};
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
    /// The same on disk, if it is to outlive the process.
    kept: Option<Kept>,
    /// Wakes who waits for a job; carries nothing.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) by_id: HashMap<WebhookId, Numbered>,
    /// The same ids in order of first report.
    pub(crate) order: VecDeque<WebhookId>,
    /// The newest number given.
    pub(crate) last: u64,
    pub(crate) evicted: u64,
}

/// A job and the number it goes by on disk.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) job: Job,
}

impl Known {
    /// The job of this id, and the numbers of those that had to go for it.
    fn job(&mut self, id: &WebhookId, config: &Config) -> (&mut Numbered, Vec<u64>) {
        let mut gone = Vec::new();
        if !self.by_id.contains_key(id) {
            gone = self.make_room(config.max_jobs);
            self.order.push_back(id.clone());
            self.last += 1;
        }
        let number = self.last;
        let job = self.by_id.entry(id.clone()).or_insert_with(|| Numbered {
            number,
            job: Job::new(config.patience(), config.max_reports_per_job),
        });
        (job, gone)
    }

    /// Lets go of ended jobs first, then of the oldest.
    fn make_room(&mut self, max_jobs: usize) -> Vec<u64> {
        let mut gone = Vec::new();
        while self.order.len() >= max_jobs.max(1) {
            let ended = self.order.iter().position(|id| {
                self.by_id
                    .get(id)
                    .is_none_or(|numbered| numbered.job.phase != Phase::Running)
            });
            let Some(id) = self.order.remove(ended.unwrap_or(0)) else {
                break;
            };
            gone.extend(self.by_id.remove(&id).map(|numbered| numbered.number));
            self.evicted += 1;
            tracing::warn!(webhook_id = %id, "too many jobs: forgot this one");
        }
        gone
    }
}

impl Jobs {
    /// No jobs yet, and none that outlive the process.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with(config, Known::default(), None)
    }

    /// Those that are in the state folder, if there is one, and the thread that writes
    /// there: it is to be finished once nothing more is reported.
    ///
    /// # Errors
    /// [`LedgerError`] if the folder cannot be used.
    pub async fn open(config: Config) -> Result<(Self, Option<Writing>), LedgerError> {
        let Some(folder) = &config.state_dir else {
            return Ok((Self::new(config), None));
        };
        match Kept::open(folder, &config).await {
            Ok((kept, known, writing)) => {
                Ok((Self::with(config, known, Some(kept)), Some(writing)))
            }
            Err(LedgerError::InUse(file)) => {
                tracing::warn!(file = %file.display(), "another Longshore keeps its jobs there: those of this one end with it");
                Ok((Self::new(config), None))
            }
            Err(error) => Err(error),
        }
    }

    fn with(config: Config, known: Known, kept: Option<Kept>) -> Self {
        Self {
            shared: Arc::new(Shared {
                config,
                known: Mutex::new(known),
                kept,
                changed: watch::Sender::new(()),
            }),
        }
    }

    /// Takes a report; returns every breach of the contract. Once this returns, the report
    /// outlives the process, if it is to.
    pub(crate) async fn take(
        &self,
        id: &WebhookId,
        report: ReceivedReport,
    ) -> Result<Vec<String>, NotWritten> {
        let (state, progress) = (report.report.state, report.report.progress);
        let violations = self.change(id, |job| job.take(report)).await?;
        tracing::info!(webhook_id = %id, %state, progress, "status report");
        for violation in &violations {
            tracing::warn!(webhook_id = %id, %violation, "a status report breaks the contract");
        }
        Ok(violations)
    }

    /// Notes that a report for this job was refused.
    pub(crate) async fn reject(&self, id: &WebhookId, why: &Rejection) -> Result<(), NotWritten> {
        self.change(id, |job| job.reject(why)).await?;
        tracing::warn!(webhook_id = %id, %why, "refused a status report");
        Ok(())
    }

    async fn change<R>(
        &self,
        id: &WebhookId,
        change: impl FnOnce(&mut Job) -> R,
    ) -> Result<R, NotWritten> {
        let place = self.place().await?;
        let (result, written) = {
            let mut known = self.lock();
            let (numbered, gone) = known.job(id, &self.shared.config);
            let before = Marks::of(&numbered.job);
            let result = change(&mut numbered.job);
            let changes = place
                .is_some()
                .then(|| kept::changed(id, numbered, &before, &gone))
                .transpose()?;
            let evicted = known.evicted;
            let written = place.zip(changes).map(|(place, mut changes)| {
                changes.push(kept::evicted(evicted));
                place.write(changes)
            });
            (result, written)
        };
        self.shared.changed.send_replace(());
        on_disk(written).await?;
        Ok(result)
    }

    async fn place(&self) -> Result<Option<Place<'_>>, NotWritten> {
        match &self.shared.kept {
            Some(kept) => kept.place().await.map(Some),
            None => Ok(None),
        }
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
            let next = job.map_or(until, |job| job.times_out_at().min(until));
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
            ..
        } = &mut *known;
        let jobs = order
            .iter()
            .filter_map(|id| {
                let job = &mut by_id.get_mut(id)?.job;
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
    ///
    /// # Errors
    /// [`NotWritten`] if they would come back.
    pub async fn clear(&self) -> Result<(), NotWritten> {
        let place = self.place().await?;
        let written = {
            let mut known = self.lock();
            // Numbers are not given twice: a row of before cannot be taken for one of now.
            *known = Known {
                last: known.last,
                ..Known::default()
            };
            place.map(|place| place.write(kept::cleared()))
        };
        on_disk(written).await
    }

    /// Forgets this job, on request. Whether it was known.
    ///
    /// # Errors
    /// [`NotWritten`] if it would come back.
    pub async fn forget(&self, id: &WebhookId) -> Result<bool, NotWritten> {
        let place = self.place().await?;
        let (forgotten, written) = {
            let mut known = self.lock();
            known.order.retain(|other| other != id);
            let forgotten = known.by_id.remove(id).map(|numbered| numbered.number);
            let written = place.zip(forgotten);
            let written = written.map(|(place, number)| place.write(kept::without(number).into()));
            (forgotten, written)
        };
        on_disk(written).await?;
        Ok(forgotten.is_some())
    }

    /// The job as it is now. The copy shares the job's records, so it costs little.
    fn look(&self, id: &WebhookId) -> Option<Job> {
        let mut known = self.lock();
        let job = &mut known.by_id.get_mut(id)?.job;
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

async fn on_disk(written: Option<Written>) -> Result<(), NotWritten> {
    match written {
        Some(written) => written.on_disk().await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use http::HeaderMap;

    use super::*;

    fn config(folder: &Path) -> Config {
        Config {
            job_deadline: Config::PLATFORM_DEADLINE,
            job_silence: Config::LONGEST_SILENCE,
            max_jobs: 3,
            max_reports_per_job: 2,
            state_dir: Some(folder.to_owned()),
            drain: Duration::from_secs(1),
        }
    }

    fn id(text: &str) -> WebhookId {
        WebhookId::new(text)
    }

    async fn report(jobs: &Jobs, webhook_id: &str, body: &str) {
        match ReceivedReport::read(&HeaderMap::new(), body.as_bytes()) {
            Ok(report) => drop(jobs.take(&id(webhook_id), report).await.unwrap()),
            Err(why) => jobs.reject(&id(webhook_id), &why).await.unwrap(),
        }
    }

    /// Everything that can be seen of the jobs.
    fn seen(jobs: &Jobs) -> Vec<String> {
        let list = serde_json::to_string(&jobs.list()).unwrap();
        let order = jobs.lock().order.clone().into_iter();
        let views = order.map(|id| serde_json::to_string(&jobs.view(&id)).unwrap());
        std::iter::once(list).chain(views).collect()
    }

    #[tokio::test]
    async fn jobs_are_there_after_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let (jobs, writing) = Jobs::open(config(folder.path())).await.unwrap();
        for (webhook_id, body) in [
            (
                "a",
                r#"{"state":"succeeded","progress":1,"errors":["gone"]}"#,
            ),
            ("b", r#"{"state":"running","progress":0.1,"errors":["x"]}"#),
            ("c", "{oops"),
            ("b", r#"{"state":"running","progress":0.2,"errors":["y"]}"#),
            ("b", r#"{"state":"running","progress":"half"}"#),
            (
                "d",
                r#"{"state":"failed","progress":0.2,"reason":"no file"}"#,
            ),
        ] {
            report(&jobs, webhook_id, body).await;
        }
        let before = seen(&jobs);
        assert!(before[0].contains(r#""evicted":1,"complete":false"#));
        assert!(before[1].contains(r#""evicted_reports":1"#), "{before:?}");
        writing.unwrap().finish().await;

        let (jobs, writing) = Jobs::open(config(folder.path())).await.unwrap();
        // Of a report that is no longer kept the errors are not either.
        let before: Vec<_> = before
            .iter()
            .map(|text| {
                text.replace(r#""errors":["x","y"]"#, r#""errors":["y"]"#)
                    .replace(
                        r#""evicted_reports":1,"evicted_errors":0"#,
                        r#""evicted_reports":1,"evicted_errors":1"#,
                    )
            })
            .collect();
        assert_eq!(seen(&jobs), before);
        // The job goes on: its progress and its end are those of before.
        report(&jobs, "b", r#"{"state":"succeeded","progress":1}"#).await;
        report(&jobs, "d", r#"{"state":"running","progress":0}"#).await;
        assert_eq!(
            jobs.view(&id("b")).unwrap().state(),
            crate::State::Succeeded
        );
        assert_eq!(jobs.view(&id("d")).unwrap().state(), crate::State::Failed);
        assert!(jobs.forget(&id("c")).await.unwrap());
        let before = seen(&jobs);
        let (other, none) = Jobs::open(config(folder.path())).await.unwrap();
        assert!(none.is_none() && other.lock().order.is_empty());
        writing.unwrap().finish().await;

        let (jobs, writing) = Jobs::open(config(folder.path())).await.unwrap();
        assert_eq!(seen(&jobs)[0], before[0]);
        jobs.clear().await.unwrap();
        writing.unwrap().finish().await;
        let (jobs, writing) = Jobs::open(config(folder.path())).await.unwrap();
        assert_eq!(seen(&jobs), [r#"{"jobs":[],"evicted":0,"complete":true}"#]);
        writing.unwrap().finish().await;
    }

    #[tokio::test]
    async fn a_job_that_was_overdue_meanwhile_has_timed_out() {
        let folder = tempfile::tempdir().unwrap();
        let (jobs, writing) = Jobs::open(config(folder.path())).await.unwrap();
        report(&jobs, "a", r#"{"state":"running","progress":0}"#).await;
        writing.unwrap().finish().await;
        let impatient = Config {
            job_silence: Duration::ZERO,
            ..config(folder.path())
        };
        let (jobs, writing) = Jobs::open(impatient).await.unwrap();
        let job = serde_json::to_value(jobs.view(&id("a"))).unwrap();
        assert_eq!(job["state"], "timed_out");
        assert_eq!(
            job["reason"],
            "no report for 0 s: whoever ran the job is gone"
        );
        writing.unwrap().finish().await;
    }
}
