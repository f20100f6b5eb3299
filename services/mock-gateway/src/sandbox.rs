//! Where an execution environment runs: its `/tmp` and its log, which stay when its
//! processes are killed and started again, and whoever has subscribed to what happens there.

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
use crate::parity;
use crate::platform_event::PlatformEvent;
use crate::telemetry::{Kind, Line, Telemetry};

/// A place for one environment; the next one may go on in it.
#[derive(Debug)]
pub(crate) struct Sandbox {
    function: FunctionName,
    generation: Generation,
    format: LogFormat,
    log: FunctionLog,
    log_stream: Arc<str>,
    scratch: Arc<Scratch>,
    telemetry: Telemetry,
}

/// A folder, which goes with the last environment that has it.
#[derive(Debug)]
struct Scratch {
    function: FunctionName,
    folder: OnceLock<TempDir>,
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
            scratch: Arc::new(Scratch {
                function: artifact.function.name.clone(),
                folder: OnceLock::new(),
            }),
            telemetry: Telemetry::default(),
        }
    }

    /// The same place for the next environment: nobody has subscribed in that one yet.
    pub(crate) fn next(&self) -> Self {
        Self {
            function: self.function.clone(),
            generation: self.generation,
            format: self.format,
            log: self.log.clone(),
            log_stream: self.log_stream.clone(),
            scratch: self.scratch.clone(),
            telemetry: Telemetry::default(),
        }
    }

    /// `YYYY/MM/DD/[$LATEST]<32 hex digits>`.
    pub(crate) fn log_stream(&self) -> &str {
        &self.log_stream
    }

    /// Who has subscribed to what happens here.
    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Whether somebody wants events as records, with all they say.
    pub(crate) fn wants_records(&self) -> bool {
        self.format == LogFormat::Json || self.telemetry.is_on()
    }

    /// An event as the log has it; none if that has it elsewhere.
    pub(crate) fn rendered(&self, event: &PlatformEvent<'_>, at: Timestamp) -> Option<String> {
        match self.format {
            LogFormat::Text => event.text(),
            LogFormat::Json => event.json(at),
        }
    }

    /// Logs what the platform says, adds it to the tail of an invocation's log and tells
    /// subscribers.
    pub(crate) fn say(&self, event: &PlatformEvent<'_>, tail: Option<&mut LogTail>) {
        self.tell(event);
        self.log(event, tail);
    }

    /// Tells subscribers alone.
    pub(crate) fn tell(&self, event: &PlatformEvent<'_>) {
        self.telemetry.tell(|| event.record());
    }

    /// Logs alone what the platform says, and adds it to the tail of an invocation's log.
    pub(crate) fn log(&self, event: &PlatformEvent<'_>, tail: Option<&mut LogTail>) {
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
        self.append(now, event.request_id(), Origin::Platform, &message);
    }

    /// Logs what a process printed, and tells subscribers.
    pub(crate) fn print(&self, kind: Kind, request: Option<RequestId>, line: &OutputLine) {
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
        let now = Timestamp::now();
        self.telemetry.print(
            now,
            Line {
                kind,
                text: &line.text,
                is_json: self.format == LogFormat::Json,
            },
        );
        self.append(now, request, origin, &line.text);
    }

    fn append(&self, at: Timestamp, request_id: Option<RequestId>, origin: Origin, message: &str) {
        self.log.append(LogLine {
            timestamp: at.as_millisecond(),
            stream: &self.log_stream,
            request_id,
            origin,
            message,
        });
    }

    /// Makes its folder, unless it is there.
    pub(crate) fn open(&self) -> io::Result<()> {
        if self.scratch.folder.get().is_none() {
            let folder = tempfile::Builder::new().prefix("longshore-").tempdir()?;
            if let Err(surplus) = self.scratch.folder.set(folder) {
                drop(surplus);
            }
        }
        Ok(())
    }

    /// Its folder, once open.
    pub(crate) fn scratch(&self) -> Option<&Path> {
        self.scratch.folder.get().map(TempDir::path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(folder) = self.folder.take() else {
            return;
        };
        let function = self.function.clone();
        // A function may leave a lot: the threads that serve requests do not clean up.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || {
                parity::look_at_scratch(&function, folder.path());
                drop(folder);
            }));
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
        let next = one.next();
        drop(one);
        assert_eq!(next.scratch(), Some(folder.as_path()));
        drop(next);
        assert!(!folder.exists());
    }
}
