//! What works here and would fail on AWS: told in the log and in `x-longshore-parity`, or,
//! where that is asked for, failing as on AWS. The rules are [`app_model::parity::RULES`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use app_model::parity::{MEMORY_USED, TMP_SIZE};
use app_model::{Excess, FunctionName, Parity};
use function_supervisor::{BuildState, FunctionEntry};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::logs::Report;
use crate::outcome::header_text;

const HEADER: HeaderName = HeaderName::from_static("x-longshore-parity");

/// One line a minute for each rule and function.
const QUIET: Duration = Duration::from_secs(60);

/// Who was told of what, so that no log is flooded.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    /// By rule and function. Held for a lookup, and only where something is beyond a limit.
    told: Mutex<BTreeMap<(&'static str, FunctionName), Told>>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    left_out: u64,
}

impl Notices {
    /// Logs it, unless the same was logged a moment ago.
    pub(crate) fn tell(&self, function: &FunctionName, excess: &Excess) {
        if let Some(left_out) = self.due(Instant::now(), function, excess.rule.name) {
            let rule = excess.rule.name;
            tracing::warn!(%function, rule, left_out, "fails on AWS: {excess}");
        }
    }

    /// How many were left out since the last line; none if this one is, too.
    pub(crate) fn due(
        &self,
        now: Instant,
        function: &FunctionName,
        rule: &'static str,
    ) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let last = told.entry((rule, function.clone()));
        let mut is_first = false;
        let last = last.or_insert_with(|| {
            is_first = true;
            Told {
                at: now,
                left_out: 0,
            }
        });
        if !is_first && now.duration_since(last.at) < QUIET {
            last.left_out += 1;
            return None;
        }
        last.at = now;
        Some(std::mem::take(&mut last.left_out))
    }
}

/// Tells a caller.
pub(crate) fn mark(headers: &mut HeaderMap, excess: &Excess) {
    if let Some(value) = header(std::slice::from_ref(excess)) {
        headers.append(HEADER, value);
    }
}

/// Tells a caller what [`header`] made.
pub(crate) fn mark_with(headers: &mut HeaderMap, value: &HeaderValue) {
    headers.append(HEADER, value.clone());
}

/// As callers are told; nothing if there is nothing to tell.
pub(crate) fn header(excesses: &[Excess]) -> Option<HeaderValue> {
    if excesses.is_empty() {
        return None;
    }
    HeaderValue::from_str(&header_text(&lines(excesses).join(" | "))).ok()
}

/// As people read them.
pub(crate) fn lines(excesses: &[Excess]) -> Vec<String> {
    excesses.iter().map(ToString::to_string).collect()
}

/// A function that AWS would not take, as one that does not build: what was taken before
/// serves on, as on AWS after an update that was refused. None where it is served.
pub(crate) fn refused(
    parity: Parity,
    entry: &FunctionEntry,
    excesses: &[Excess],
) -> Option<FunctionEntry> {
    if parity == Parity::Warn || excesses.is_empty() {
        return None;
    }
    let diagnostics = format!(
        "AWS would not take this function, and so it is not served (LONGSHORE_PARITY=enforce):\n{}\n",
        lines(excesses).join("\n")
    );
    Some(FunctionEntry {
        function: entry.function.clone(),
        build: BuildState::Failed {
            diagnostics: diagnostics.into(),
            at: SystemTime::now(),
        },
        artifact: None,
    })
}

/// A function that used more memory than it is set to.
pub(crate) fn of_memory(report: &Report) -> Option<Excess> {
    let (used, has) = (report.max_memory_mb(), report.memory_size_mb);
    (used > u64::from(has)).then(|| {
        MEMORY_USED.broken(format!(
            "the process used {used} MB of {has}: give it more, or see what a release build uses"
        ))
    })
}

/// Looks at what an environment has left in its folder. Blocks.
pub(crate) fn look_at_scratch(function: &FunctionName, folder: &Path) {
    if let Some(excess) = of_scratch(bytes_below(folder)) {
        let rule = excess.rule.name;
        tracing::warn!(%function, rule, "fails on AWS: {excess}");
    }
}

fn of_scratch(bytes: u64) -> Option<Excess> {
    (bytes > TMP_SIZE.most).then(|| TMP_SIZE.broken(format!("an environment left {bytes} bytes")))
}

/// Bytes of all files below a folder; what cannot be read counts for nothing.
fn bytes_below(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use app_model::parity::{ENVIRONMENT_SIZE, HTTP_HEADERS, ZIP_SIZE};

    use super::*;
    use crate::testing;

    #[test]
    fn a_rule_is_told_of_once_a_minute_for_each_function() {
        let notices = Notices::default();
        let [demo, other]: [FunctionName; 2] = ["demo", "other"].map(|name| name.parse().unwrap());
        let start = Instant::now();
        let rule = HTTP_HEADERS.name;
        assert_eq!(notices.due(start, &demo, rule), Some(0));
        assert_eq!(notices.due(start, &demo, rule), None);
        assert_eq!(notices.due(start, &demo, ZIP_SIZE.name), Some(0));
        assert_eq!(notices.due(start, &other, rule), Some(0));
        assert_eq!(notices.due(start + QUIET / 2, &demo, rule), None);
        assert_eq!(notices.due(start + QUIET, &demo, rule), Some(2));
        assert_eq!(notices.due(start + QUIET, &demo, rule), None);
    }

    #[test]
    fn a_function_that_aws_would_refuse_is_refused_where_that_is_asked_for() {
        let entry = testing::built(1).functions.into_values().next().unwrap();
        let excesses = [
            ENVIRONMENT_SIZE.broken("they have 5000 bytes"),
            ZIP_SIZE.broken("it has 60 MB"),
        ];
        assert!(refused(Parity::Enforce, &entry, &[]).is_none());
        assert!(refused(Parity::Warn, &entry, &excesses).is_none());
        let refused = refused(Parity::Enforce, &entry, &excesses).unwrap();
        let BuildState::Failed { diagnostics, .. } = refused.build else {
            panic!("it is served");
        };
        for part in [
            "environment-size: they have 5000 bytes",
            "zip-size: ",
            "https://docs.aws",
        ] {
            assert!(
                diagnostics.contains(part),
                "{part} is not in: {diagnostics}"
            );
        }
        let header = header(&excesses).unwrap();
        assert!(
            header
                .to_str()
                .unwrap()
                .contains(" | zip-size: it has 60 MB; ")
        );
    }

    #[test]
    fn what_an_environment_leaves_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("below")).unwrap();
        for (name, bytes) in [("a", 10), ("below/b", 7)] {
            std::fs::write(folder.path().join(name), vec![0; bytes]).unwrap();
        }
        assert_eq!(bytes_below(folder.path()), 17);
        assert_eq!(bytes_below(&folder.path().join("nowhere")), 0);
        assert_eq!(of_scratch(TMP_SIZE.most), None);
        assert_eq!(of_scratch(TMP_SIZE.most + 1).unwrap().rule.name, "tmp-size");
    }
}
