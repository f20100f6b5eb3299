//! The logs on disk: one file of JSON lines for each function, and the one before it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use app_model::FunctionName;
use journal::EntryId;

use super::line::WrittenLine;
use super::{FunctionLog, LogLine, Logs, Snapshot};

/// A file that is larger becomes the one before, and that one is forgotten.
const FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Lines are written together, at most this long after they came.
const GATHER: Duration = Duration::from_millis(200);

/// Writes the logs into a folder.
pub(super) struct Files {
    folder: PathBuf,
    /// The last line of each function that is written.
    written: BTreeMap<FunctionName, EntryId>,
}

impl Files {
    /// Makes the folder, and reads what is in it into the logs.
    pub(super) async fn open(folder: &Path, logs: &Logs) -> io::Result<Self> {
        let (folder, logs) = (folder.to_owned(), logs.clone());
        let opened = tokio::task::spawn_blocking(move || {
            fs::create_dir_all(&folder)?;
            let mut written = BTreeMap::new();
            for (name, files) in files_by_function(&folder)? {
                let log = logs.function(&name);
                for file in files {
                    read(&file, &log)?;
                }
                written.insert(name, log.newest());
            }
            Ok(Self { folder, written })
        });
        opened.await.map_err(io::Error::other)?
    }

    /// Writes what comes until the logs close, and what there is then.
    pub(super) async fn write(mut self, logs: Logs) {
        let mut is_open = true;
        while is_open {
            tokio::select! {
                () = logs.shared.fresh.notified() => {
                    tokio::select! {
                        () = tokio::time::sleep(GATHER) => {}
                        () = logs.shared.finished.cancelled() => is_open = false,
                    }
                }
                () = logs.shared.finished.cancelled() => is_open = false,
            }
            let source = logs.clone();
            let written = tokio::task::spawn_blocking(move || {
                let problem = self.write_fresh(&source).err();
                (self, problem)
            });
            match written.await {
                Ok((files, None)) => self = files,
                Ok((files, Some(error))) => {
                    tracing::warn!(
                        folder = %files.folder.display(),
                        %error,
                        "cannot write the functions' logs; they are in memory only"
                    );
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "the writer of the functions' logs ended badly");
                    return;
                }
            }
        }
    }

    fn write_fresh(&mut self, logs: &Logs) -> io::Result<()> {
        for (name, log) in logs.all() {
            let after = self.written.get(&name).copied().unwrap_or(EntryId::START);
            let lines = log.after(after);
            let Some(first) = lines.lines().next() else {
                continue;
            };
            let lost = first.id.get().saturating_sub(after.get() + 1);
            if lost > 0 {
                tracing::warn!(function = %name, lines = lost, "lines came faster than they could be written down");
            }
            self.append(&name, &lines)?;
            self.written.insert(name, lines.newest());
        }
        Ok(())
    }

    fn append(&self, name: &FunctionName, lines: &Snapshot) -> io::Result<()> {
        let path = self.folder.join(format!("{name}.ndjson"));
        let mut text = Vec::new();
        for numbered in lines.lines() {
            serde_json::to_writer(&mut text, &numbered.line)?;
            text.push(b'\n');
        }
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)?;
        file.write_all(&text)?;
        if file.metadata()?.len() > FILE_BYTES {
            fs::rename(&path, self.folder.join(format!("{name}.1.ndjson")))?;
        }
        Ok(())
    }
}

/// The files of each function, oldest first.
fn files_by_function(folder: &Path) -> io::Result<BTreeMap<FunctionName, Vec<PathBuf>>> {
    let mut found: BTreeMap<FunctionName, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(stem) = name.and_then(|name| name.strip_suffix(".ndjson")) else {
            continue;
        };
        if let Ok(function) = stem.strip_suffix(".1").unwrap_or(stem).parse() {
            found.entry(function).or_default().push(path);
        }
    }
    for files in found.values_mut() {
        // `demo.1.ndjson` is before `demo.ndjson`.
        files.sort();
    }
    Ok(found)
}

/// A line that was cut short, by a crash, is left out.
fn read(file: &Path, log: &FunctionLog) -> io::Result<()> {
    let mut is_whole = true;
    let mut stream: Arc<str> = Arc::default();
    for line in BufReader::new(fs::File::open(file)?).split(b'\n') {
        match serde_json::from_slice::<WrittenLine<'_>>(&line?) {
            Ok(line) => {
                if *stream != *line.stream {
                    stream = line.stream.into();
                }
                log.restore(LogLine {
                    timestamp: line.timestamp,
                    stream: &stream,
                    request_id: line.request_id,
                    origin: line.origin,
                    message: &line.message,
                });
                is_whole = true;
            }
            Err(error) => {
                tracing::debug!(file = %file.display(), %error, "a line of a log is left out");
                is_whole = false;
            }
        }
    }
    if !is_whole {
        fs::OpenOptions::new()
            .append(true)
            .open(file)?
            .write_all(b"\n")?;
    }
    Ok(())
}
