//! `docs/conformance.md`: the rows as a page.

use std::path::PathBuf;

use crate::table::{Case, Row, Section, folder, sections};

const HEAD: &str = "# What conforms to AWS, and what does not

Written by `make conformance` from `services/mock-gateway/cases/conformance/`; `make test`
plays every case and fails if this page is not what they say. A row that does not conform
says why.

Sources: AWS's documentation, and what it was recorded to do in public test suites. Where
the two differ the recordings count.
";

fn path() -> PathBuf {
    folder().join("../../docs/conformance.md")
}

/// Text fit for a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn proofs(row: &Row) -> String {
    let played = |enforced: bool| {
        let cases = row.cases.iter();
        let played =
            cases.filter(|case| matches!(case, Case::Played(case) if case.enforced == enforced));
        match (played.count(), enforced) {
            (0, _) => None,
            (count, false) => Some(format!("{count} played")),
            (count, true) => Some(format!("{count} played with `--parity enforce`")),
        }
    };
    let elsewhere = row.cases.iter().filter_map(|case| match case {
        Case::Played(_) => None,
        Case::Mapping { see } => see.split_once(": ").map(|(_, name)| name),
        Case::Test { test } => test.split_once(": ").map(|(_, name)| name),
    });
    let elsewhere = elsewhere.map(|name| name.replace('_', " "));
    let proofs = played(false).into_iter().chain(played(true));
    proofs.chain(elsewhere).collect::<Vec<_>>().join("; ")
}

fn page(sections: &[Section]) -> String {
    let mut page = HEAD.to_owned();
    let rows = || sections.iter().flat_map(|section| &section.rows);
    let conforming = rows().filter(|row| row.reason.is_none()).count();
    page += &format!("\n{conforming} of {} rows conform.\n", rows().count());
    for section in sections {
        page += &format!("\n## {} {}\n\n", section.section, section.title);
        page += "| row | AWS | conforms | shown by, or why not |\n|---|---|---|---|\n";
        for row in &section.rows {
            let (conforms, why) = match &row.reason {
                None => ("yes", proofs(row)),
                Some(reason) => ("**no**", reason.clone()),
            };
            page += &format!(
                "| {} | {} | {conforms} | {} |\n",
                cell(&row.row),
                cell(&row.aws),
                cell(&why)
            );
        }
    }
    page
}

#[test]
fn the_page_says_what_the_cases_say() {
    let there = std::fs::read_to_string(path()).unwrap_or_default();
    assert!(
        there == page(&sections()),
        "docs/conformance.md is stale: run `make conformance`"
    );
}

#[test]
#[ignore = "writes the page: `make conformance`"]
fn write() {
    std::fs::write(path(), page(&sections())).unwrap();
}
