//! Plays every case, each with a function of its own: at one gateway as it is by default, or
//! at one that enforces what would fail on AWS.

use std::collections::BTreeMap;
use std::sync::Arc;

use mock_gateway::Parity;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::script::play;
use crate::stage::{Stage, extensions_of};
use crate::table::{Case, Played, sections};

/// Cases that are played at the same time.
const AT_ONCE: usize = 6;

/// A case and the row it is of.
struct Listed {
    row: String,
    conforms: bool,
    case: Played,
}

fn listed() -> BTreeMap<String, Listed> {
    let mut cases = BTreeMap::new();
    for section in sections() {
        for row in section.rows {
            for case in row.cases {
                let Case::Played(case) = case else { continue };
                let function = format!("case-{}", cases.len());
                let listed = Listed {
                    row: format!("{} {}", section.section, row.row),
                    conforms: row.reason.is_none(),
                    case,
                };
                cases.insert(function, listed);
            }
        }
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_that_conforms_does_and_no_other() {
    let cases = listed();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    let (mut stages, mut playing) = (Vec::new(), JoinSet::new());
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let (enforced, usual): (Vec<_>, Vec<_>) = cases
        .into_iter()
        .partition(|(_, listed)| listed.case.enforced);
    for (parity, cases) in [(Parity::Warn, usual), (Parity::Enforce, enforced)] {
        let functions = cases
            .iter()
            .map(|(name, listed)| (name.clone(), listed.case.function.clone()));
        let (stage, mut arrivals) = Stage::start(&functions.collect(), parity).await;
        for (function, listed) in cases {
            let (turns, gateway) = (turns.clone(), stage.gateway);
            let arrivals = [function.clone(), extensions_of(&function)]
                .map(|name| arrivals.remove(&name).unwrap());
            playing.spawn(async move {
                let _turn = turns.acquire().await.unwrap();
                let played = play(gateway, function, arrivals, listed.case).await;
                match (listed.conforms, played) {
                    (true, Err(why)) => Some(format!("{}: {why}", listed.row)),
                    (false, Ok(())) => Some(format!(
                        "{}: conforms now: take its reason away",
                        listed.row
                    )),
                    (true, Ok(())) | (false, Err(_)) => None,
                }
            });
        }
        stages.push(stage);
    }
    let mut wrong: Vec<String> = playing.join_all().await.into_iter().flatten().collect();
    for stage in stages {
        stage.stop().await;
    }
    wrong.sort();
    assert!(
        wrong.is_empty(),
        "{} cases:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}
