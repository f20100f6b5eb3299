//! Tables: what was measured, how it compares, and whether the target is met.

use std::fmt::Write as _;
use std::time::Duration;

use crate::arena::Arena;
use crate::machine::Machine;
use crate::samples::Samples;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Millis,
    Micros,
    PerSecond,
    /// Of 1,000,000 bytes, as Lambda's own limits are told.
    Megabytes,
    Mebibytes,
    MebibytesPerSecond,
    Count,
    Times,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 0.01 => format!("{value:.4} s"),
            Self::Seconds => format!("{value:.2} s"),
            Self::Millis => format!("{value:.1} ms"),
            Self::Micros => format!("{value:.0} µs"),
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Megabytes => format!("{value:.2} MB"),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::MebibytesPerSecond => format!("{value:.1} MiB/s"),
            Self::Count => format!("{value:.0}"),
            Self::Times => format!("{value:.2}x"),
        }
    }
}

/// One figure of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// Shown as median (min–max).
    Measured(Samples),
    /// Why there is no figure, or what was seen instead of one.
    Said(String),
}

impl Cell {
    pub(crate) fn one(value: f64) -> Self {
        Self::Measured([value].into_iter().collect())
    }

    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(crate) fn count(value: usize) -> Self {
        Self::one(value as f64)
    }

    /// Times in seconds; if there are none, that there was none this long.
    pub(crate) fn times(took: Vec<Duration>, patience: Duration) -> Self {
        if took.is_empty() {
            return Self::Said(format!("never within {} s", patience.as_secs()));
        }
        Self::Measured(took.into_iter().collect())
    }

    pub(crate) fn said(text: impl Into<String>) -> Self {
        Self::Said(text.into())
    }

    pub(crate) fn median(&self) -> Option<f64> {
        match self {
            Self::Measured(samples) => samples.median(),
            Self::Said(_) => None,
        }
    }

    fn show(&self, unit: Unit) -> String {
        let samples = match self {
            Self::Said(text) => return text.clone(),
            Self::Measured(samples) => samples,
        };
        let (Some(median), Some(min), Some(max)) = (samples.median(), samples.min(), samples.max())
        else {
            return "nothing was measured".to_owned();
        };
        if samples.len() == 1 {
            unit.show(median)
        } else {
            format!(
                "{} ({}–{}, n={})",
                unit.show(median),
                unit.show(min),
                unit.show(max),
                samples.len()
            )
        }
    }
}

/// What the first column must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    fn show(self, unit: Unit, cell: &Cell) -> String {
        let (sign, limit, met) = match self {
            Self::AtMost(limit) => ("≤", limit, cell.median().map(|value| value <= limit)),
            Self::AtLeast(limit) => ("≥", limit, cell.median().map(|value| value >= limit)),
        };
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "not measured",
        };
        format!("{sign} {}: {verdict}", unit.show(limit))
    }
}

/// One line of a table: a cell for each column.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    measure: String,
    unit: Unit,
    cells: Vec<Cell>,
    target: Option<Target>,
}

impl Row {
    pub(crate) fn new(measure: impl Into<String>, unit: Unit, cells: Vec<Cell>) -> Self {
        Self {
            measure: measure.into(),
            unit,
            cells,
            target: None,
        }
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    fn markdown(&self) -> String {
        let first = self.cells.first().and_then(Cell::median);
        let mut line = format!("| {} |", self.measure);
        for (index, cell) in self.cells.iter().enumerate() {
            write_cell(
                &mut line,
                &cell.show(self.unit),
                ratio(index, first, cell, self.unit),
            );
        }
        let target = self
            .target
            .zip(self.cells.first())
            .map(|(target, cell)| target.show(self.unit, cell));
        write_cell(&mut line, &target.unwrap_or_default(), None);
        line
    }
}

/// How much of the first column's figure a later column's is.
fn ratio(index: usize, first: Option<f64>, cell: &Cell, unit: Unit) -> Option<f64> {
    let (first, other) = (first?, cell.median()?);
    (index > 0 && first > 0.0 && !matches!(unit, Unit::Count | Unit::Times))
        .then_some(other / first)
}

fn write_cell(line: &mut String, text: &str, ratio: Option<f64>) {
    // Writing to a String cannot fail.
    match ratio {
        Some(ratio) => write!(line, " {text} [{ratio:.2}x] |").ok(),
        None => write!(line, " {text} |").ok(),
    };
}

/// One experiment's table.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) method: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

impl Section {
    /// What the page says of an experiment that did not come to its end.
    pub(crate) fn stopped(name: String, error: &anyhow::Error) -> Self {
        let method = format!("**Stopped before the end:** {error:#}.");
        Self {
            title: name,
            method,
            columns: Vec::new(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n", self.title, self.method);
        if self.rows.is_empty() {
            return text;
        }
        text.push_str("\n| |");
        for column in &self.columns {
            write_cell(&mut text, column, None);
        }
        text.push_str(" target |\n|");
        text.push_str(&"---|".repeat(self.columns.len() + 2));
        for row in &self.rows {
            text.push('\n');
            text.push_str(&row.markdown());
        }
        text.push('\n');
        text
    }
}

/// The whole page.
pub(crate) fn document(machine: &Machine, arena: &Arena, sections: &[Section]) -> String {
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC");
    let quick = if arena.settings().quick {
        "\n**A quick run with small counts: it shows that the harness works, and is not to be quoted.**\n"
    } else {
        ""
    };
    let mut text = format!(
        "# Longshore beside its peers\n\nWritten by `make bench` on {date}; do not edit.\n{quick}\n\
         - Machine: {machine}\n{}\n\
         Both tools serve the same two functions (`lambda_http`, payload 2.0 at `/lambda-url/<function>/`) from \
         copies of one generated workspace, built by the same toolchain with the same profile. Every \
         caller keeps one HTTP/1.1 connection alive, on loopback. A figure is the median, with minimum and maximum in \
         round brackets; `[2.00x]` is that column divided by the first one. Only one tool is under load at \
         any time.\n",
        arena.versions(),
    );
    for section in sections {
        text.push('\n');
        text.push_str(&section.markdown());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(values: &[f64]) -> Vec<Cell> {
        values.iter().map(|value| Cell::one(*value)).collect()
    }

    #[test]
    fn rows_show_spread_ratio_and_verdict() {
        let spread = Cell::Measured([0.6, 0.5, 0.9].into_iter().collect());
        for (row, expected) in [
            (
                Row::new("a", Unit::Seconds, vec![spread, Cell::one(3.0)])
                    .target(Target::AtMost(1.0)),
                "| a | 0.60 s (0.50 s–0.90 s, n=3) | 3.00 s [5.00x] | ≤ 1.00 s: met |",
            ),
            (
                Row::new("b", Unit::PerSecond, cells(&[100.0, 50.0]))
                    .target(Target::AtLeast(200.0)),
                "| b | 100/s | 50/s [0.50x] | ≥ 200/s: **missed** |",
            ),
            (
                Row::new(
                    "c",
                    Unit::Count,
                    vec![Cell::said("not run"), Cell::count(2)],
                )
                .target(Target::AtMost(0.0)),
                "| c | not run | 2 | ≤ 0: not measured |",
            ),
        ] {
            assert_eq!(row.markdown(), expected);
        }
    }

    #[test]
    fn a_section_is_a_table_of_even_rows() {
        let section = Section {
            title: "t".to_owned(),
            method: "m".to_owned(),
            columns: vec!["x".to_owned(), "y".to_owned()],
            rows: vec![Row::new("r", Unit::Count, cells(&[1.0, 2.0]))],
        };
        let text = section.markdown();
        let bars: Vec<usize> = text
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.matches('|').count())
            .collect();
        assert_eq!(bars, [5, 5, 5]);
    }
}
