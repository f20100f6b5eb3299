//! Runs one job from its first report to its last.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use pipeline_contract::{StatusReport, WebhookPayload};

use crate::batch::Batch;
use crate::client::HttpClient;
use crate::deadline::Deadline;
use crate::deliver::{Deliver, Delivery};
use crate::error_log::ErrorLog;
use crate::event::BadRequest;
use crate::outcome::{Ending, Outcome};
use crate::reader::{BatchReader, End, Filled};
use crate::report::{Reporter, web_url};
use crate::settings::RunnerSettings;
use crate::source::Source;

const DOWNLOAD_FAILED: &str = "Failed to download file.";

/// The base runner: reads a job's file and hands it over in batches.
#[derive(Clone, Debug)]
pub struct Runner {
    client: HttpClient,
    settings: RunnerSettings,
}

impl Runner {
    /// A runner with the reference's settings.
    #[must_use]
    pub fn new(client: HttpClient) -> Self {
        Self {
            client,
            settings: RunnerSettings::REFERENCE,
        }
    }

    /// Works with these settings instead.
    #[must_use]
    pub fn settings(mut self, settings: RunnerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Runs the job: reports `running`, reads the file, delivers it batch by batch with a
    /// report after each full one, and reports how it ended.
    ///
    /// Batches go out in order and one at a time. While one is under way, the next is
    /// read and the report on the one before is sent. A report that is refused or does not
    /// arrive stops the run only if it is the first; the errors it carried go into the next.
    ///
    /// It ends as [`Ending::Failed`] when the file cannot be had, is cut short (what came
    /// whole is delivered first), every batch was refused or no record was JSON, or time ran
    /// out; some refused batches or bad records leave it [`Ending::Succeeded`] with errors.
    ///
    /// # Errors
    /// [`BadRequest`] if the payload's URLs or tokens cannot be used; nothing was sent then.
    pub async fn run(
        &self,
        payload: &WebhookPayload,
        destination: &mut impl Deliver,
        deadline: Deadline,
    ) -> Result<Outcome, BadRequest> {
        let skip = payload.batch_offset.unwrap_or(0);
        let data_url = web_url("data_url", &payload.data_url)?;
        let reporter = Reporter::new(
            self.client.clone(),
            payload,
            self.settings.clone(),
            deadline,
        )?;
        let mut job = Job {
            reporter,
            deadline,
            errors: ErrorLog::default(),
            progress: 0.0,
            offset: skip,
            delivered: 0,
            batches: 0,
            refused: 0,
        };
        if !job.begin().await {
            return Ok(job.end(Ending::Unreported));
        }
        let settings = &self.settings;
        let opened = Source::open(
            &self.client,
            data_url,
            settings.answer_timeout,
            settings.idle_timeout,
        )
        .await;
        let source = match opened {
            Ok(source) => source,
            Err(error) => {
                job.errors.add(error.to_string());
                return Ok(job.fail(DOWNLOAD_FAILED.to_owned()).await);
            }
        };
        let reader = BatchReader::new(source, settings, skip);
        let stop = job.pump(reader, destination).await;
        Ok(job.finish(stop).await)
    }
}

/// Why no more batches follow.
enum Stop {
    SourceEnded(End),
    OutOfTime,
}

/// The state of one run.
struct Job {
    reporter: Reporter,
    deadline: Deadline,
    errors: ErrorLog,
    progress: f64,
    offset: u64,
    delivered: u64,
    batches: u64,
    refused: u64,
}

impl Job {
    /// The first report; without it the platform would not know of the job.
    async fn begin(&self) -> bool {
        match self
            .reporter
            .send(&StatusReport::running(0.0, Vec::new()))
            .await
        {
            Ok(status) => status.is_success(),
            Err(error) => {
                tracing::error!(%error, "the callback cannot be reached");
                false
            }
        }
    }

    /// Moves batches from the reader to the destination until either ends it. Delivering a
    /// batch, reading the next and reporting the last go on at the same time.
    async fn pump(&mut self, mut reader: BatchReader, destination: &mut impl Deliver) -> Stop {
        let mut filled = reader.fill(BytesMut::new()).await;
        let mut spare = BytesMut::new();
        let mut due: Option<Due> = None;
        loop {
            let Filled {
                batch,
                full,
                problems,
                progress,
                offset,
                end,
            } = filled;
            if batch.is_some() && !self.deadline.leaves(std::time::Duration::ZERO) {
                self.settle_report(due.take()).await;
                return Stop::OutOfTime;
            }
            let records = batch.as_ref().map_or(0, |batch| batch.len() as u64);
            let buffer = batch.as_ref().map(Batch::as_json_array);
            let reporter = &self.reporter;
            let (delivery, next, unsent) = tokio::join!(
                async {
                    match batch {
                        Some(batch) => Some(destination.deliver(batch, self.deadline).await),
                        None => None,
                    }
                },
                async {
                    match end {
                        None => Ok(reader.fill(std::mem::take(&mut spare)).await),
                        Some(end) => Err(end),
                    }
                },
                async {
                    match due.take() {
                        Some(due) => due.send(reporter).await,
                        None => Vec::new(),
                    }
                },
            );
            self.errors.put_back(unsent);
            if delivery == Some(Delivery::OutOfTime) {
                return Stop::OutOfTime;
            }
            problems
                .into_iter()
                .for_each(|problem| self.errors.add(problem));
            if let Some(delivery) = delivery {
                self.settle(delivery, records);
            }
            spare = buffer.map(reuse).unwrap_or_default();
            self.offset = offset.max(self.offset);
            self.progress = progress.max(self.progress);
            if full {
                due = Some(Due {
                    progress: self.progress,
                    errors: self.errors.take(),
                });
            }
            match next {
                Ok(next) => filled = next,
                Err(end) => {
                    self.settle_report(due.take()).await;
                    return Stop::SourceEnded(end);
                }
            }
        }
    }

    fn settle(&mut self, delivery: Delivery, records: u64) {
        self.batches += 1;
        match delivery {
            Delivery::Accepted => self.delivered += records,
            Delivery::Partly(errors) => {
                self.delivered += records.saturating_sub(errors.len() as u64);
                errors.into_iter().for_each(|error| self.errors.add(error));
            }
            Delivery::Refused(error) => {
                self.refused += 1;
                self.errors.add(error);
            }
            Delivery::OutOfTime => {}
        }
    }

    async fn settle_report(&mut self, due: Option<Due>) {
        if let Some(due) = due {
            let unsent = due.send(&self.reporter).await;
            self.errors.put_back(unsent);
        }
    }

    async fn finish(self, stop: Stop) -> Outcome {
        let offset = self.offset;
        match stop {
            Stop::OutOfTime => {
                self.fail(format!(
                    "the invocation's time ran out after {offset} records; send the webhook again with \"batch_offset\": {offset} to go on"
                ))
                .await
            }
            Stop::SourceEnded(End::CutShort(why)) => self.fail(why).await,
            Stop::SourceEnded(End::Complete) => {
                if self.batches > 0 && self.refused == self.batches {
                    let reason = format!("the destination refused every batch ({})", self.batches);
                    return self.fail(reason).await;
                }
                if self.batches == 0 && self.errors.total() > 0 {
                    return self.fail("no line of the file is JSON".to_owned()).await;
                }
                self.succeed().await
            }
        }
    }

    async fn succeed(mut self) -> Outcome {
        self.flush_errors().await;
        let report = StatusReport::succeeded(as_json(self.errors.take()));
        match self.reporter.send(&report).await {
            Ok(status) => self.end(Ending::Succeeded(status)),
            Err(error) => {
                tracing::error!(%error, "the job is done but the callback cannot be told");
                self.end(Ending::Unreported)
            }
        }
    }

    async fn fail(mut self, reason: String) -> Outcome {
        self.flush_errors().await;
        let report = StatusReport::failed(self.progress, as_json(self.errors.take()), &reason);
        if let Err(error) = self.reporter.send(&report).await {
            tracing::error!(%error, reason, "the job failed and the callback cannot be told");
        }
        self.end(Ending::Failed(reason))
    }

    /// Sends reports until the last one can carry the errors that are left.
    async fn flush_errors(&mut self) {
        while !self.errors.fits_one_report() {
            let due = Due {
                progress: self.progress,
                errors: self.errors.take(),
            };
            let unsent = due.send(&self.reporter).await;
            if !unsent.is_empty() {
                return self.errors.put_back(unsent);
            }
        }
    }

    fn end(self, ending: Ending) -> Outcome {
        let error_count = self.errors.total();
        let outcome = Outcome {
            ending,
            batch_offset: self.offset,
            delivered: self.delivered,
            batches: self.batches,
            refused: self.refused,
            errors: self.errors.into_first(),
            error_count,
        };
        tracing::info!(
            ending = ?outcome.ending,
            batch_offset = outcome.batch_offset,
            delivered = outcome.delivered,
            batches = outcome.batches,
            refused = outcome.refused,
            errors = outcome.error_count,
            "job ended"
        );
        outcome
    }
}

/// A `running` report that is to be sent.
struct Due {
    progress: f64,
    errors: Vec<String>,
}

impl Due {
    /// Sends it; if it does not arrive, gives its errors back.
    async fn send(self, reporter: &Reporter) -> Vec<String> {
        let report = StatusReport::running(self.progress, as_json(self.errors.clone()));
        match reporter
            .send(&report)
            .await
            .as_ref()
            .map(StatusCode::is_success)
        {
            Ok(true) => Vec::new(),
            Ok(false) => self.errors,
            Err(error) => {
                tracing::warn!(%error, "a report did not arrive; its errors go into the next");
                self.errors
            }
        }
    }
}

fn as_json(errors: Vec<String>) -> Vec<serde_json::Value> {
    errors.into_iter().map(Into::into).collect()
}

/// The buffer of a delivered batch, if nobody holds on to it.
fn reuse(array: Bytes) -> BytesMut {
    array.try_into_mut().unwrap_or_default()
}
