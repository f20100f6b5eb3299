//! Rules that draw faults: the same seed and the same requests draw the same ones.

use std::sync::atomic::{AtomicU64, Ordering};

use app_model::FunctionName;
use serde::{Deserialize, Serialize};

use super::kind::{Fault, InvalidFault};

/// As many rules as there may be.
const MAX_RULES: usize = 100;

/// Rules as the control API takes them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Drawn if none is given, and told, so that a run can be repeated.
    seed: Option<u64>,
    rules: Vec<WantedRule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedRule {
    fault: String,
    /// All functions unless named.
    function: Option<String>,
    /// Of the requests that it is about: 0 to 100; 100 unless said.
    percent: Option<f64>,
    /// So often at most.
    times: Option<u64>,
    /// It is about these deliveries of every event that nobody waits for, counted from 1,
    /// and not about requests.
    deliveries: Option<Vec<u32>>,
}

/// What is wrong with rules.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum InvalidPlan {
    #[error("{0} rules are too many: use at most {MAX_RULES}")]
    TooMany(usize),
    #[error(transparent)]
    Fault(#[from] InvalidFault),
    #[error(transparent)]
    Function(#[from] app_model::InvalidFunctionName),
    #[error("{0} is no percentage: use 0 to 100")]
    Percent(f64),
    #[error("deliveries of an event are counted from 1: use a list such as [1, 2]")]
    Deliveries,
    #[error("`duplicate` strikes an event when it comes in: leave `deliveries` away")]
    DuplicateDelivery,
}

/// What a rule may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A request comes in.
    Request,
    /// An event that nobody waits for is delivered, for the n-th time, from 1.
    Delivery(u32),
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    seed: u64,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    function: Option<FunctionName>,
    percent: f64,
    times: Option<u64>,
    deliveries: Option<Vec<u32>>,
    /// Requests, or deliveries, that it was about.
    matched: AtomicU64,
    /// Those that it struck.
    injected: AtomicU64,
}

/// The rules as the control API shows them.
#[derive(Debug, Serialize)]
pub(crate) struct PlanView {
    seed: u64,
    rules: Vec<RuleView>,
}

#[derive(Debug, Serialize)]
struct RuleView {
    fault: String,
    function: Option<String>,
    percent: f64,
    times: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<Vec<u32>>,
    matched: u64,
    injected: u64,
}

impl Plan {
    /// Rules, with `random` as the seed if none is wanted.
    pub(crate) fn new(wanted: Wanted, random: u64) -> Result<Self, InvalidPlan> {
        if wanted.rules.len() > MAX_RULES {
            return Err(InvalidPlan::TooMany(wanted.rules.len()));
        }
        let rules = wanted.rules.into_iter().map(|rule| {
            let percent = rule.percent.unwrap_or(100.0);
            if !(0.0..=100.0).contains(&percent) {
                return Err(InvalidPlan::Percent(percent));
            }
            let fault = rule.fault.parse()?;
            if let Some(deliveries) = &rule.deliveries {
                if fault == Fault::Duplicate {
                    return Err(InvalidPlan::DuplicateDelivery);
                }
                if deliveries.is_empty() || deliveries.contains(&0) {
                    return Err(InvalidPlan::Deliveries);
                }
            }
            Ok(Rule {
                fault,
                function: rule.function.as_deref().map(str::parse).transpose()?,
                percent,
                times: rule.times,
                deliveries: rule.deliveries,
                matched: AtomicU64::new(0),
                injected: AtomicU64::new(0),
            })
        });
        Ok(Self {
            seed: wanted.seed.unwrap_or(random),
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What the rules do to the next request for this function, or to this delivery.
    pub(crate) fn draw(&self, function: &FunctionName, moment: Moment) -> Vec<Fault> {
        let rules = self.rules.iter().zip(0_u64..);
        let struck = rules.filter(|(rule, index)| {
            rule.is_about(function, moment) && rule.strikes(self.seed, *index)
        });
        struck.map(|(rule, _)| rule.fault).collect()
    }

    pub(crate) fn view(&self) -> PlanView {
        let rules = self.rules.iter().map(|rule| RuleView {
            fault: rule.fault.to_string(),
            function: rule.function.as_ref().map(ToString::to_string),
            percent: rule.percent,
            times: rule.times,
            deliveries: rule.deliveries.clone(),
            matched: rule.matched.load(Ordering::Relaxed),
            injected: rule.injected.load(Ordering::Relaxed),
        });
        PlanView {
            seed: self.seed,
            rules: rules.collect(),
        }
    }
}

impl Rule {
    fn is_about(&self, function: &FunctionName, moment: Moment) -> bool {
        let time = match (moment, &self.deliveries) {
            (Moment::Request, deliveries) => deliveries.is_none(),
            (Moment::Delivery(number), Some(deliveries)) => deliveries.contains(&number),
            (Moment::Delivery(_), None) => false,
        };
        time && self.function.as_ref().is_none_or(|name| name == function)
    }

    /// Decided by the seed and how many requests came before, and by nothing else.
    fn strikes(&self, seed: u64, index: u64) -> bool {
        let number = self.matched.fetch_add(1, Ordering::Relaxed);
        let drawn = mixed(mixed(seed ^ mixed(index)) ^ number);
        // 53 bits fill a float's fraction: evenly drawn from 0 to 100.
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let drawn = (drawn >> 11) as f64 / (1_u64 << 53) as f64 * 100.0;
        if drawn >= self.percent {
            return false;
        }
        let within = self
            .injected
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                self.times
                    .is_none_or(|times| count < times)
                    .then_some(count + 1)
            });
        within.is_ok()
    }
}

/// SplitMix64's finisher: every bit of the result hangs on every bit of the input.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
