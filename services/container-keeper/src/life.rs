//! A container's life as the engine's events tell it, and whether its end is to be undone.
//! Pure: who listens to the engine and who starts containers is elsewhere.

use std::collections::HashMap;

/// A signal's number on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal(u8);

impl Signal {
    const KILL: Self = Self(9);
    const TERM: Self = Self(15);

    /// What the engine writes in its events: a number.
    pub(crate) fn of_event(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    /// What an image or a compose file says a container is to be stopped with: a number or
    /// a name, with or without SIG; empty is TERM. `None` if it is a name not known here.
    pub(crate) fn of_setting(text: &str) -> Option<Self> {
        let upper = text.to_ascii_uppercase();
        let number = match upper.strip_prefix("SIG").unwrap_or(&upper) {
            "" | "TERM" => return Some(Self::TERM),
            "HUP" => 1,
            "INT" => 2,
            "QUIT" => 3,
            "KILL" => 9,
            "USR1" => 10,
            "USR2" => 12,
            "WINCH" => 28,
            "PWR" => 30,
            // What systemd is stopped with.
            "RTMIN+3" => 37,
            number => return Self::of_event(number),
        };
        Some(Self(number))
    }
}

/// What happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its process runs.
    Started,
    /// A signal was sent by way of the engine.
    Signalled(Signal),
    /// Its process is gone.
    Ended,
    /// It is gone itself.
    Removed,
}

/// An event, and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    /// The container's id.
    pub(crate) id: String,
    /// Its name, for people.
    pub(crate) name: String,
    /// When, in nanoseconds since 1970 on the engine's clock.
    pub(crate) at: i64,
    /// What.
    pub(crate) event: Event,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Life {
    /// It runs, or did when it was first heard of. The signals it was sent: a stop begins
    /// with one, and KILL comes after it only if the container takes too long.
    Running { signals: Vec<Signal> },
    /// KILL was sent, after those.
    BeingKilled { after: Vec<Signal> },
    /// It does not run.
    Ended,
}

/// A container that was killed, and may have been asked to stop before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Killed {
    /// The container's id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// What it was sent before, in the same life.
    pub(crate) after: Vec<Signal>,
}

/// All containers heard of.
#[derive(Debug)]
pub(crate) struct Lives {
    acting_from: i64,
    heard: HashMap<String, (i64, Life)>,
    latest: i64,
}

impl Lives {
    /// Nothing was heard yet. Ends before `acting_from` (nanoseconds since 1970) are
    /// remembered, and nobody's business.
    pub(crate) fn new(acting_from: i64) -> Self {
        Self {
            acting_from,
            heard: HashMap::new(),
            latest: i64::MIN,
        }
    }

    /// The time of the latest event heard, if there was one.
    pub(crate) fn latest(&self) -> Option<i64> {
        (self.latest > i64::MIN).then_some(self.latest)
    }

    /// Takes an event in; gives the container that has just been killed by it. One that was
    /// heard before changes nothing: after a break, the engine is asked to repeat itself.
    pub(crate) fn observe(&mut self, observed: &Observed) -> Option<Killed> {
        self.latest = self.latest.max(observed.at);
        if observed.event == Event::Removed {
            self.heard.remove(&observed.id);
            return None;
        }
        let running = Life::Running {
            signals: Vec::new(),
        };
        let (last, life) = self
            .heard
            .entry(observed.id.clone())
            .or_insert((i64::MIN, running.clone()));
        if observed.at <= *last {
            return None;
        }
        *last = observed.at;
        let before = std::mem::replace(life, Life::Ended);
        let (next, killed) = match (before, observed.event) {
            (_, Event::Started) => (running, None),
            (Life::Running { signals: after }, Event::Signalled(Signal::KILL)) => {
                (Life::BeingKilled { after }, None)
            }
            (Life::Running { mut signals }, Event::Signalled(signal)) => {
                if !signals.contains(&signal) {
                    signals.push(signal);
                }
                (Life::Running { signals }, None)
            }
            (Life::BeingKilled { after }, Event::Ended) => (Life::Ended, Some(after)),
            (life @ Life::BeingKilled { .. }, Event::Signalled(_)) => (life, None),
            // What ended by itself is the restart policy's.
            (Life::Running { .. } | Life::Ended, _) => (Life::Ended, None),
            (Life::BeingKilled { .. }, Event::Removed) => (Life::Ended, None),
        };
        *life = next;
        let after = killed.filter(|_| observed.at >= self.acting_from)?;
        Some(Killed {
            id: observed.id.clone(),
            name: observed.name.clone(),
            after,
        })
    }
}

/// How the engine finds a container after it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It does not run.
    Exited,
    /// It runs again, or is about to.
    Running,
    /// It is being removed: what `docker rm --force` kills it for.
    Going,
}

/// What the engine knows of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inspected {
    /// How it is.
    pub(crate) status: Status,
    /// Whether its restart policy wants it to run.
    pub(crate) restarts: bool,
    /// What it is stopped with, as it is set; empty is TERM.
    pub(crate) stop_signal: String,
}

/// What to do about a killed container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start it.
    Start,
    /// Leave it as it is, and why.
    Leave(&'static str),
}

impl Killed {
    /// What to do, now that the engine was asked how it is.
    pub(crate) fn verdict(&self, found: &Inspected) -> Verdict {
        let asked = match Signal::of_setting(&found.stop_signal) {
            // A stop cannot be told from a kill.
            Some(Signal::KILL) => true,
            Some(stop) => self.after.contains(&stop),
            // Any of them may have been it.
            None => !self.after.is_empty(),
        };
        match found.status {
            _ if asked => Verdict::Leave("it was asked to stop before it was killed"),
            _ if !found.restarts => Verdict::Leave("it has no restart policy"),
            Status::Going => Verdict::Leave("it is being removed"),
            Status::Running => Verdict::Leave("it runs already"),
            Status::Exited => Verdict::Start,
        }
    }
}
