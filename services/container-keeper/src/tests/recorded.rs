//! Events that an engine has sent, and what follows from them.

use std::collections::HashMap;

use bollard::models::EventMessage;
use serde::Deserialize;

use crate::engine::observed;
use crate::life::{Event, Inspected, Lives, Observed, Signal, Status, Verdict};

#[derive(Deserialize)]
struct Recorded {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    /// How containers are found that were killed, by service.
    found: HashMap<String, String>,
    /// The services whose containers are to be started, in this order.
    started: Vec<String>,
    events: Vec<EventMessage>,
}

fn cases() -> Vec<Case> {
    let text = include_str!("../../cases/recorded.json");
    let recorded: Recorded = serde_json::from_str(text).unwrap();
    assert!(recorded.cases.len() >= 18);
    recorded.cases
}

impl Case {
    fn observed(&self) -> Vec<Observed> {
        self.events.iter().filter_map(observed).collect()
    }

    /// The services that would be started, with this stop signal in the containers' settings.
    fn started(&self, lives: &mut Lives, events: &[Observed], stop: &str) -> Vec<String> {
        let killed = events.iter().filter_map(|event| lives.observe(event));
        let started = killed.filter_map(|killed| {
            let service = killed.name.split('-').nth(2).unwrap().to_owned();
            let removed = events
                .iter()
                .any(|event| event.id == killed.id && event.event == Event::Removed);
            let status = match self.found.get(&service).map(String::as_str) {
                Some("removing") => Status::Going,
                _ if removed => Status::Going,
                _ => Status::Exited,
            };
            let found = Inspected {
                status,
                restarts: true,
                stop_signal: stop.to_owned(),
            };
            (killed.verdict(&found) == Verdict::Start).then_some(service)
        });
        started.collect()
    }
}

#[test]
fn what_was_killed_is_started_and_what_was_stopped_is_not() {
    for case in cases() {
        let started = case.started(&mut Lives::new(0), &case.observed(), "");
        assert_eq!(started, case.started, "{}", case.name);
    }
}

#[test]
fn a_break_in_the_events_and_their_repetition_change_nothing() {
    for case in cases() {
        let events = case.observed();
        for cut in 0..events.len() {
            for again in 0..=cut {
                let mut lives = Lives::new(0);
                let mut started = case.started(&mut lives, &events[..cut], "");
                started.extend(case.started(&mut lives, &events[again..], ""));
                let name = &case.name;
                assert_eq!(started, case.started, "{name}, cut at {cut}, from {again}");
            }
        }
    }
}

#[test]
fn what_ended_before_we_came_is_left_and_a_stop_under_way_is_seen() {
    for case in cases() {
        let events = case.observed();
        let after_all = events.iter().map(|event| event.at).max().unwrap() + 1;
        let started = case.started(&mut Lives::new(after_all), &events, "");
        assert!(started.is_empty(), "{}: {started:?}", case.name);
        // Whenever we come, the events from before are told first.
        for event in &events {
            let started = case.started(&mut Lives::new(event.at), &events, "");
            let (name, at) = (&case.name, event.at);
            assert!(
                case.started.ends_with(&started),
                "{name}, since {at}: {started:?}"
            );
        }
    }
}

#[test]
fn the_signal_that_asks_to_stop_is_the_containers_own() {
    let case = |name: &str| cases().into_iter().find(|case| case.name == name).unwrap();
    for (name, stop, starts) in [
        ("kill-hup-then-kill", "", true),
        ("kill-hup-then-kill", "SIGTERM", true),
        ("kill-hup-then-kill", "SIGHUP", false),
        ("kill-hup-then-kill", "1", false),
        // Not known here: whatever came first may have been it.
        ("kill-hup-then-kill", "SIGRTMIN+7", false),
        ("kill-term-then-kill", "", false),
        ("kill-term-then-kill", "QUIT", true),
        ("docker-kill", "SIGRTMIN+7", true),
        ("docker-kill", "SIGKILL", false),
    ] {
        let case = case(name);
        let started = case.started(&mut Lives::new(0), &case.observed(), stop);
        assert_eq!(!started.is_empty(), starts, "{name} with {stop:?}");
    }
}

#[test]
fn signals_are_read_as_numbers_and_names() {
    for (text, same_as) in [
        ("", Some("15")),
        ("SIGTERM", Some("15")),
        ("term", Some("15")),
        ("SIGINT", Some("2")),
        ("3", Some("3")),
        ("SIGRTMIN+3", Some("37")),
        ("SIGRTMIN+4", None),
        ("no signal", None),
    ] {
        let expected = same_as.and_then(Signal::of_event);
        assert_eq!(Signal::of_setting(text), expected, "{text:?}");
    }
}

#[test]
fn what_is_not_wanted_running_is_left() {
    let kill = cases().into_iter().find(|case| case.name == "docker-kill");
    let mut lives = Lives::new(0);
    let events = kill.unwrap().observed();
    let killed = events
        .iter()
        .find_map(|event| lives.observe(event))
        .unwrap();
    for (status, restarts, starts) in [
        (Status::Exited, true, true),
        (Status::Exited, false, false),
        (Status::Running, true, false),
        (Status::Going, true, false),
    ] {
        let verdict = killed.verdict(&Inspected {
            status,
            restarts,
            stop_signal: String::new(),
        });
        let of = format!("{status:?}, {restarts}");
        assert_eq!(verdict == Verdict::Start, starts, "{of}");
    }
}
