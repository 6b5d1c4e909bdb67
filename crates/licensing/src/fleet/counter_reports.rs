//! The exchange of counts with the other gates, once an interval for all licenses that were called
//! since.

use std::sync::Arc;

use model::{Clock, InstanceId};

use super::{CounterReport, FleetOptions};
use crate::license::{LicenseQueues, LicenseState};

/// The task that exchanges the counts of this gate's meters with the other gates.
pub(crate) struct CounterExchange {
    fleet: Arc<FleetOptions>,
    instance: InstanceId,
    clock: Arc<dyn Clock>,
    queues: Arc<LicenseQueues>,
}

impl CounterExchange {
    /// Returns the task for the counts of the gate `instance`.
    pub(crate) const fn new(
        fleet: Arc<FleetOptions>,
        instance: InstanceId,
        clock: Arc<dyn Clock>,
        queues: Arc<LicenseQueues>,
    ) -> Self {
        Self {
            fleet,
            instance,
            clock,
            queues,
        }
    }

    /// Serves the queue of meters with counts to report, for ever. While the shared service cannot
    /// be asked, reports wait in the queue, and every gate goes by its own count and what it
    /// learned before.
    pub(crate) async fn run(&self) {
        let Some(service) = self.fleet.service() else {
            return std::future::pending().await;
        };
        let mut turns = tokio::time::interval(self.fleet.exchange);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            if !service.is_up() {
                continue;
            }
            let (states, reports) = self.collect_reports();
            if reports.is_empty() {
                continue;
            }
            let Ok(peers) = service.exchange_counts(self.instance, &reports).await else {
                for state in &states {
                    if state.meter().wants_report() {
                        self.queues.enqueue_unreported(state);
                    }
                }
                continue;
            };
            let now = self.clock.now();
            for ((state, report), peers) in states.iter().zip(&reports).zip(peers) {
                state.meter().learn(report.counted, peers, now);
            }
        }
    }

    /// Returns the reports of all queued meters, each with the state that it is of.
    fn collect_reports(&self) -> (Vec<Arc<LicenseState>>, Vec<CounterReport>) {
        let (now, hold) = (self.clock.now(), self.fleet.hold());
        let (mut states, mut reports) = (Vec::new(), Vec::new());
        for state in self.queues.take_unreported() {
            let (own, again) = state.meter().reports(now, hold);
            if again {
                self.queues.enqueue_unreported(&state);
            }
            states.extend(own.iter().map(|_| state.clone()));
            reports.extend(own);
        }
        (states, reports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::FleetKey;
    use crate::testing::{Memory, Service, eventually_async, license};
    use model::Refusal;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    #[tokio::test]
    async fn the_calls_of_other_gates_count_against_a_limit_once_the_service_answers() {
        let memory = Memory::new(true);
        let service = Arc::new(Service::default());
        service.fails.store(true, Ordering::SeqCst);
        let fleet = FleetOptions {
            shared: Some((service.clone(), FleetKey::derive(&[3; 32]))),
            exchange: Duration::from_millis(1),
            ..FleetOptions::default()
        };
        let exchange = CounterExchange::new(
            Arc::new(fleet),
            InstanceId::generate(),
            memory.clock.clone(),
            memory.queues.clone(),
        );
        let task = tokio::spawn(async move { exchange.run().await });
        let mut limited = license();
        limited.spec.limits.concurrency = Some(2);
        let license = memory.fill("a", &limited, 1).expect("it is filled");
        let own = license.reserve(&memory.ask(0)).expect("2 calls may run");
        eventually_async("it is tried again", async || {
            service.asked.load(Ordering::SeqCst) > 2
        })
        .await;
        let second = license.reserve(&memory.ask(0)).expect("it knows of none");
        license.cancel(second);
        service.fails.store(false, Ordering::SeqCst);
        eventually_async("the other gate's call counts", async || {
            match license.reserve(&memory.ask(0)) {
                Ok(passed) => {
                    license.cancel(passed);
                    false
                }
                Err(error) => {
                    let refused = matches!(error, crate::ReserveError::Refused(refused)
                        if refused.refusal == Refusal::TooManyConcurrent);
                    assert!(refused);
                    true
                }
            }
        })
        .await;
        license.cancel(own);
        task.abort();
    }
}
