//! Exchanges counts with the other gates, once a turn for all licenses that were called since.

use std::sync::Arc;

use super::CounterReport;
use crate::entry::LicenseState;
use crate::licensing::Licensing;

impl Licensing {
    /// Serves the queue of meters that have something to tell for ever. While the others cannot be told, it waits in the
    /// queue, and every gate goes by its own count and what it learned before.
    pub(crate) async fn serve_tallies(&self) {
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
            let (states, tallies) = self.collect_tallies();
            if tallies.is_empty() {
                continue;
            }
            let Ok(others) = shared.tally(self.instance, &tallies).await else {
                for state in &states {
                    if state.meter().wants_telling() {
                        self.hub.enqueue_untold(state);
                    }
                }
                continue;
            };
            let now = self.clock.now();
            for ((state, tally), others) in states.iter().zip(&tallies).zip(others) {
                state.meter().learn(tally.counted, others, now);
            }
        }
    }

    /// Each tally with the state that it is of.
    fn collect_tallies(&self) -> (Vec<Arc<LicenseState>>, Vec<CounterReport>) {
        let (now, hold) = (self.clock.now(), self.fleet.hold());
        let (mut states, mut tallies) = (Vec::new(), Vec::new());
        for state in self.hub.take_untold() {
            let (own, again) = state.meter().tallies(now, hold);
            if again {
                self.hub.enqueue_untold(&state);
            }
            states.extend(own.iter().map(|_| state.clone()));
            tallies.extend(own);
        }
        (states, tallies)
    }
}
