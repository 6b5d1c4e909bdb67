//! The look-ups under way: one for a key, however many calls wait for it.

use std::collections::HashMap;
use std::sync::Arc;

use model::{KeyHash, Refusal};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::license::CachedLicense;

/// The outcome of a look-up. `Ok(None)`: no license has the key.
pub(crate) type Outcome = Result<Option<Arc<CachedLicense>>, Refusal>;

/// The end of a look-up under way; `None` until then.
pub(super) type Flight = watch::Receiver<Option<Outcome>>;

/// The look-ups under way, at most `max`.
pub(super) struct SingleFlight {
    flights: Mutex<HashMap<KeyHash, Flight>>,
    max: usize,
}

/// The part of a call in a look-up.
pub(super) enum Join {
    /// The call begins the look-up: carry it out and finish the guard with its outcome. The call
    /// waits for it like all others.
    Begin(FlightGuard, Flight),
    /// The call waits for a look-up that is under way.
    Wait(Flight),
    /// The call has its license: another look-up has just filled the cache.
    Landed(Arc<CachedLicense>),
    /// The call is refused: too many look-ups are under way.
    Full,
}

/// A look-up under way. It leaves the list when it is finished or dropped.
pub(super) struct FlightGuard {
    flights: Arc<SingleFlight>,
    hash: KeyHash,
    outcome: watch::Sender<Option<Outcome>>,
}

impl SingleFlight {
    /// Returns a list for at most `max` look-ups at a time.
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            flights: Mutex::default(),
            max,
        })
    }

    /// Joins the look-up of a key, or begins one unless `cached` has the license by then.
    pub(super) fn join(
        self: &Arc<Self>,
        hash: KeyHash,
        cached: impl FnOnce() -> Option<Arc<CachedLicense>>,
    ) -> Join {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&hash) {
            return Join::Wait(flight.clone());
        }
        // Looked at after the list of flights, which a flight leaves once it has filled the cache.
        if let Some(license) = cached() {
            return Join::Landed(license);
        }
        if flights.len() >= self.max {
            return Join::Full;
        }
        let (outcome, flight) = watch::channel(None);
        flights.insert(hash, flight.clone());
        let guard = FlightGuard {
            flights: self.clone(),
            hash,
            outcome,
        };
        Join::Begin(guard, flight)
    }
}

impl FlightGuard {
    /// Ends the look-up and tells its outcome to all who wait for it.
    pub(super) fn finish(self, outcome: Outcome) {
        let sender = self.outcome.clone();
        // Out of the list first: a call that comes later finds the cache filled or begins a look-up
        // of its own.
        drop(self);
        sender.send_replace(Some(outcome));
    }
}

impl Drop for FlightGuard {
    fn drop(&mut self) {
        self.flights.flights.lock().remove(&self.hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(flights: &Arc<SingleFlight>, bytes: [u8; 32]) -> Option<(FlightGuard, Flight)> {
        match flights.join(KeyHash::from_bytes(bytes), || None) {
            Join::Begin(guard, flight) => Some((guard, flight)),
            Join::Wait(_) | Join::Landed(_) | Join::Full => None,
        }
    }

    #[test]
    fn a_key_has_one_look_up_whose_outcome_all_get_that_wait_for_it() {
        let flights = SingleFlight::new(2);
        let (guard, first) = begin(&flights, [1; 32]).expect("the first one begins");
        let Join::Wait(second) = flights.join(KeyHash::from_bytes([1; 32]), || None) else {
            panic!("the second one waits for the first");
        };
        assert!(first.borrow().is_none() && second.borrow().is_none());
        guard.finish(Ok(None));
        for flight in [first, second] {
            assert!(matches!(*flight.borrow(), Some(Ok(None))));
        }
        assert!(begin(&flights, [1; 32]).is_some(), "it left the list");
    }

    #[test]
    fn look_ups_are_bounded_and_one_that_is_dropped_makes_room() {
        let flights = SingleFlight::new(1);
        let (guard, flight) = begin(&flights, [1; 32]).expect("there is room");
        assert!(begin(&flights, [2; 32]).is_none());
        drop(guard);
        assert!(flight.has_changed().is_err(), "those who wait learn of it");
        assert!(begin(&flights, [2; 32]).is_some());
    }
}
