//! The exchange of counts with the other gates, once an interval for all licenses that were called
//! since.

use std::sync::Arc;

use super::CounterReport;
use crate::cached_license::LicenseState;
use crate::licensing::Licensing;

impl Licensing {
    /// Serves the queue of meters with counts to report, for ever. While the shared service cannot
    /// be asked, reports wait in the queue, and every gate goes by its own count and what it
    /// learned before.
    pub(crate) async fn serve_counter_reports(&self) {
        let Some((shared, _)) = &self.fleet.shared else {
            return std::future::pending().await;
        };
        let mut turns = tokio::time::interval(self.fleet.exchange);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            if !shared.is_up() {
                continue;
            }
            let (states, reports) = self.collect_reports();
            if reports.is_empty() {
                continue;
            }
            let Ok(peers) = shared.exchange_counts(self.instance, &reports).await else {
                for state in &states {
                    if state.meter().wants_report() {
                        self.lease_queue.enqueue_unreported(state);
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
        for state in self.lease_queue.take_unreported() {
            let (own, again) = state.meter().reports(now, hold);
            if again {
                self.lease_queue.enqueue_unreported(&state);
            }
            states.extend(own.iter().map(|_| state.clone()));
            reports.extend(own);
        }
        (states, reports)
    }
}
