//! What goes wrong on demand: throttling, errors, latency, crashes, duplicates and cold
//! starts, asked for by a request's header or drawn by rules from a seed.
//!
//! Where nothing is asked for this costs a look at a flag and at one header.

mod answer;
mod kind;
mod plan;
pub(crate) mod routes;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use app_model::FunctionName;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Response};

pub(crate) use answer::Speaker;
pub(crate) use kind::{Fault, InvalidFault, Refused};
pub(crate) use plan::Plan;

use crate::broker::{Answer, Broker, Doom};
use crate::invocation::Invocation;
use crate::outcome::Outcome;
use plan::Moment;

/// The header with which a request asks for faults, and an answer tells of them.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-longshore-fault");

/// The rules that are in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Whether there is any rule: read with every request, and so apart from them.
    armed: AtomicBool,
    plan: RwLock<Arc<Plan>>,
}

/// How a caller takes an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Whole,
    /// While the function writes it.
    AsWritten,
}

/// What is to go wrong with one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Injected(Vec<Fault>);

impl Faults {
    /// What is to go wrong with this request: what it asks for itself, and what the rules
    /// draw.
    pub(crate) fn of(
        &self,
        headers: &HeaderMap,
        function: &FunctionName,
    ) -> Result<Injected, InvalidFault> {
        let mut faults = Vec::new();
        for value in headers.get_all(HEADER) {
            let text = String::from_utf8_lossy(value.as_bytes());
            for fault in text.split(',').map(str::trim).filter(|t| !t.is_empty()) {
                faults.push(fault.parse()?);
            }
        }
        if self.armed.load(Ordering::Relaxed) {
            faults.extend(self.plan().draw(function, Moment::Request));
        }
        Ok(Injected(faults))
    }

    /// What is to go wrong with the n-th delivery of an event, from 1: what the rules draw,
    /// and with the first one what was `left` when the event came in.
    pub(crate) fn of_delivery(
        &self,
        function: &FunctionName,
        number: u32,
        left: &[String],
    ) -> Injected {
        let mut faults = Vec::new();
        if number == 1 {
            // Written by this or another version of Longshore, which may know others.
            faults.extend(left.iter().filter_map(|text| text.parse::<Fault>().ok()));
        }
        if self.armed.load(Ordering::Relaxed) {
            faults.extend(self.plan().draw(function, Moment::Delivery(number)));
        }
        Injected(faults)
    }

    pub(crate) fn plan(&self) -> Arc<Plan> {
        let plan = self.plan.read();
        plan.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, plan: Plan) {
        let armed = !plan.is_empty();
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plan);
        self.armed.store(armed, Ordering::Relaxed);
    }
}

impl Injected {
    /// The request is answered with this, and no function hears of it.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.0.iter().find_map(|fault| match fault {
            Fault::Refused(refused) => Some(*refused),
            _ => None,
        })
    }

    /// An accepted event is delivered twice.
    pub(crate) fn duplicates(&self) -> bool {
        self.0.contains(&Fault::Duplicate)
    }

    /// What cannot strike an event when it comes in, as text: it strikes the first delivery.
    pub(crate) fn left_for_delivery(&self) -> Vec<String> {
        let left = self.0.iter().filter(|fault| match fault {
            Fault::Refused(_) | Fault::Duplicate => false,
            Fault::Latency(_) | Fault::Crash(_) | Fault::Timeout(_) | Fault::ColdStart => true,
        });
        left.map(ToString::to_string).collect()
    }

    fn latency(&self) -> Option<Duration> {
        self.0.iter().find_map(|fault| match fault {
            Fault::Latency(latency) => Some(*latency),
            _ => None,
        })
    }

    fn crash(&self) -> Option<Duration> {
        self.0.iter().find_map(|fault| match fault {
            Fault::Crash(after) => Some(*after),
            _ => None,
        })
    }

    fn timeout(&self) -> Option<Duration> {
        self.0.iter().find_map(|fault| match fault {
            Fault::Timeout(after) => Some(*after),
            _ => None,
        })
    }

    /// Tells the caller what was done to him.
    pub(crate) fn mark<B>(&self, response: &mut Response<B>) {
        if self.0.is_empty() {
            return;
        }
        let told: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        if let Ok(value) = HeaderValue::from_str(&told.join(", ")) {
            response.headers_mut().insert(HEADER, value);
        }
    }
}

impl Broker {
    /// [`invoke`](Self::invoke), with what is to go wrong.
    pub(crate) async fn invoke_with(
        &self,
        invocation: Invocation,
        patience: Duration,
        injected: &Injected,
        taken: Taken,
    ) -> Answer {
        if injected.0.is_empty() {
            return self.invoke_as(invocation, patience, taken).await;
        }
        let latency = injected.latency().unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(latency.min(patience)) => {}
            // No work is taken any longer: the caller is told at once.
            () = self.shared.closing.cancelled() => {}
        }
        if latency >= patience {
            return Answer::refusal(Outcome::IntegrationTimeout);
        }
        let function = invocation.function.clone();
        if injected.0.contains(&Fault::ColdStart) {
            self.let_go(&function);
        }
        let request_id = invocation.request_id;
        let Some(doom) = Doom::of(request_id, injected.crash(), injected.timeout()) else {
            return self.invoke_as(invocation, patience - latency, taken).await;
        };
        self.doom(&function, doom);
        let answer = self.invoke_as(invocation, patience - latency, taken).await;
        self.pardon(&function, request_id);
        answer
    }

    async fn invoke_as(&self, invocation: Invocation, patience: Duration, taken: Taken) -> Answer {
        match taken {
            Taken::Whole => self.invoke(invocation, patience).await,
            Taken::AsWritten => self.invoke_streaming(invocation, patience).await,
        }
    }
}
