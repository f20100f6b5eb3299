//! What stays of an execution environment when its process is killed and started again: its
//! `/tmp` and its log.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use app_model::{FunctionName, LogFormat};
use function_supervisor::{Artifact, Generation, OutputLine, OutputStream};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tempfile::TempDir;
use uuid::Uuid;

use crate::function_logs::{FunctionLog, LogLine, Origin};
use crate::invocation::RequestId;
use crate::logs::LogTail;
use crate::platform_event::PlatformEvent;

/// A place for one process after the other. Its folder goes with it.
#[derive(Debug)]
pub(crate) struct Sandbox {
    function: FunctionName,
    generation: Generation,
    format: LogFormat,
    log: FunctionLog,
    log_stream: Arc<str>,
    scratch: OnceLock<TempDir>,
}

impl Sandbox {
    /// A new one, without its folder yet.
    pub(crate) fn new(started: Timestamp, artifact: &Artifact, log: FunctionLog) -> Self {
        let day = started.to_zoned(TimeZone::UTC).date();
        Self {
            function: artifact.function.name.clone(),
            generation: artifact.generation,
            format: artifact.function.settings.log_format,
            log,
            log_stream: format!(
                "{:04}/{:02}/{:02}/[$LATEST]{}",
                day.year(),
                day.month(),
                day.day(),
                Uuid::new_v4().simple()
            )
            .into(),
            scratch: OnceLock::new(),
        }
    }

    /// `YYYY/MM/DD/[$LATEST]<32 hex digits>`.
    pub(crate) fn log_stream(&self) -> &str {
        &self.log_stream
    }

    /// Whether somebody wants events as records, with all they say.
    pub(crate) fn wants_records(&self) -> bool {
        self.format == LogFormat::Json
    }

    /// An event as the log has it; none if that has it elsewhere.
    pub(crate) fn rendered(&self, event: &PlatformEvent<'_>, at: Timestamp) -> Option<String> {
        match self.format {
            LogFormat::Text => Some(event.text()),
            LogFormat::Json => event.json(at),
        }
    }

    /// Logs what the platform says, and adds it to the tail of an invocation's log.
    pub(crate) fn say(&self, event: &PlatformEvent<'_>, tail: Option<&mut LogTail>) {
        let now = Timestamp::now();
        let Some(message) = self.rendered(event, now) else {
            return;
        };
        if let Some(tail) = tail {
            tail.push_line(&message);
        }
        // The target is `function`, as for what the function prints itself.
        tracing::info!(
            target: "function",
            function = %self.function,
            generation = %self.generation,
            "{message}"
        );
        self.append(now, event.request_id(), Origin::Platform, message);
    }

    /// Logs what the process printed.
    pub(crate) fn print(&self, request: Option<RequestId>, line: OutputLine) {
        let function = &self.function;
        let (stream, origin) = match line.stream {
            OutputStream::Stdout => ("stdout", Origin::Stdout),
            OutputStream::Stderr => ("stderr", Origin::Stderr),
        };
        match request {
            Some(request_id) => {
                tracing::info!(target: "function", %function, %request_id, stream, "{}", line.text);
            }
            None => tracing::info!(target: "function", %function, stream, "{}", line.text),
        }
        self.append(Timestamp::now(), request, origin, line.text);
    }

    fn append(
        &self,
        at: Timestamp,
        request_id: Option<RequestId>,
        origin: Origin,
        message: String,
    ) {
        self.log.append(LogLine {
            timestamp: at.as_millisecond(),
            stream: self.log_stream.clone(),
            request_id,
            origin,
            message,
        });
    }

    /// Makes its folder, unless it is there.
    pub(crate) fn open(&self) -> io::Result<()> {
        if self.scratch.get().is_none() {
            let folder = tempfile::Builder::new().prefix("longshore-").tempdir()?;
            if let Err(surplus) = self.scratch.set(folder) {
                drop(surplus);
            }
        }
        Ok(())
    }

    /// Its folder, once open.
    pub(crate) fn scratch(&self) -> Option<&Path> {
        self.scratch.get().map(TempDir::path)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let Some(folder) = self.scratch.take() else {
            return;
        };
        // A function may leave a lot: the threads that serve requests do not clean up.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(folder)));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing;

    #[test]
    fn its_folder_is_its_own_and_goes_with_it() {
        let [one, other] = [(); 2].map(|()| testing::sandbox(&testing::artifact("demo", 1)));
        assert_eq!(one.scratch(), None);
        for sandbox in [&one, &other] {
            sandbox.open().unwrap();
        }
        let folder = one.scratch().unwrap().to_owned();
        assert_ne!(Some(folder.as_path()), other.scratch());
        std::fs::write(folder.join("left"), "behind").unwrap();
        one.open().unwrap();
        assert!(folder.join("left").exists(), "opened again, it is the same");
        drop(one);
        assert!(!folder.exists());
    }
}
