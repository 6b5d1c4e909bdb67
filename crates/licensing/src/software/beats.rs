//! The count of heartbeats of licenses, of which each tenth costs.
//!
//! It is kept in memory, and in the tokens of the sessions: so no heartbeat writes anything, and a
//! gate that starts anew, or another gate of the fleet, goes on from what a token says.

use std::collections::HashMap;
use std::time::Duration;

use model::{LicenseId, Moment};
use parking_lot::Mutex;

use super::session::SoftwareSession;

/// The numbers of heartbeats by license, and the last heartbeats of sessions.
#[derive(Debug, Default)]
pub struct Heartbeats(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    by_license: HashMap<LicenseId, Count>,
    last: HashMap<SessionKey, Last>,
    /// The moment from which on heartbeats that are too old to be repeated are looked for again.
    sweep_at: Moment,
}

/// The heartbeats of a license.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    number: u64,
    /// Those that were refused since they could not be paid, after which others were counted.
    owed: u64,
}

/// A session, by its license and the fingerprint of its device.
type SessionKey = (LicenseId, u64);

/// The last heartbeat of a session.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// The SHA-256 of its body.
    content: [u8; 32],
    number: u64,
    at: Moment,
}

/// A heartbeat that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedBeat {
    /// The number of it among those of its license.
    pub number: u64,
    /// Whether it costs.
    pub costs: bool,
}

impl Heartbeats {
    /// One of so many heartbeats costs.
    pub const PER_CREDIT: u64 = 10;
    /// The time within which the same request is the same heartbeat.
    pub const REPEATABLE: Duration = Duration::from_secs(60);
    /// The number of licenses that are counted at once. A further one is counted by its tokens.
    const MOST: usize = 1_000_000;
    /// The number of sessions whose last heartbeat is known. One of a further session that is sent
    /// again counts again.
    const MOST_SESSIONS: usize = 200_000;
    /// The time between two searches for heartbeats that are too old.
    const SWEEP_PAUSE: Duration = Duration::from_secs(1);

    /// Counts a heartbeat of a session, by the SHA-256 of its body. Its number is one more than the
    /// larger of what is known and what the token says; that of the last heartbeat of the session,
    /// free, if it is the same again. It costs if its number says so, or if an earlier one is owed.
    pub fn count(&self, session: &SoftwareSession, content: [u8; 32], now: Moment) -> CountedBeat {
        let mut counts = self.0.lock();
        let key = (session.license_id, session.device);
        if let Some(last) = counts.last.get(&key)
            && last.content == content
            && now.since(last.at) < Self::REPEATABLE
        {
            return CountedBeat {
                number: last.number,
                costs: false,
            };
        }
        let beat = counts.next(session.license_id, session.beats);
        counts.remember(
            key,
            Last {
                content,
                number: beat.number,
                at: now,
            },
        );
        beat
    }

    /// Takes back a heartbeat that was to cost and was refused: the next one costs in its place.
    pub fn refuse(&self, session: &SoftwareSession, beat: CountedBeat) {
        let mut counts = self.0.lock();
        let key = (session.license_id, session.device);
        if counts
            .last
            .get(&key)
            .is_some_and(|last| last.number == beat.number)
        {
            counts.last.remove(&key);
        }
        if let Some(known) = counts.by_license.get_mut(&session.license_id) {
            let costs_by_number = beat.number.is_multiple_of(Self::PER_CREDIT);
            let is_last = known.number == beat.number;
            known.number -= u64::from(is_last);
            known.owed += u64::from(!(is_last && costs_by_number));
        }
    }

    /// Returns the number of heartbeats of a license, as far as this gate knows.
    #[must_use]
    pub fn of(&self, license: LicenseId) -> u64 {
        let counts = self.0.lock();
        let known = counts.by_license.get(&license);
        known.map_or(0, |known| known.number)
    }
}

impl Counts {
    /// Counts a heartbeat of a license whose token says `told`.
    fn next(&mut self, license: LicenseId, told: u64) -> CountedBeat {
        let is_full = self.by_license.len() >= Heartbeats::MOST;
        let mut uncounted = Count::default();
        let known = match self.by_license.get_mut(&license) {
            Some(known) => known,
            None if is_full => &mut uncounted,
            None => self.by_license.entry(license).or_default(),
        };
        known.number = known.number.max(told).saturating_add(1);
        let by_number = known.number.is_multiple_of(Heartbeats::PER_CREDIT);
        let costs = by_number || known.owed > 0;
        known.owed -= u64::from(costs && !by_number);
        CountedBeat {
            number: known.number,
            costs,
        }
    }

    fn remember(&mut self, key: SessionKey, last: Last) {
        if self.last.len() >= Heartbeats::MOST_SESSIONS && self.sweep_at <= last.at {
            self.sweep_at = last.at.plus(Heartbeats::SWEEP_PAUSE);
            let is_new = |known: &Last| last.at.since(known.at) < Heartbeats::REPEATABLE;
            self.last.retain(|_, known| is_new(known));
        }
        if self.last.len() < Heartbeats::MOST_SESSIONS || self.last.contains_key(&key) {
            self.last.insert(key, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(device: u64, told: u64) -> SoftwareSession {
        SoftwareSession {
            app: "api".parse().expect("valid"),
            license_id: LicenseId::from_u128(1),
            device,
            ttl: 3_600,
            expires_at: 0,
            beats: told,
        }
    }

    /// Heartbeats with bodies of their own.
    struct Bodies(Heartbeats, u8);

    impl Bodies {
        fn new() -> Self {
            Self(Heartbeats::default(), 0)
        }

        fn count(&mut self, told: u64) -> CountedBeat {
            self.1 += 1;
            self.0.count(&session(7, told), [self.1; 32], Moment(0))
        }
    }

    #[test]
    fn the_count_goes_on_from_the_larger_of_memory_and_token() {
        let mut beats = Bodies::new();
        assert_eq!(beats.count(0).number, 1);
        assert_eq!(beats.count(0).number, 2, "an old token counts no beat anew");
        assert_eq!(beats.count(8).number, 9, "another gate counted more");
        let tenth = beats.count(0);
        assert!(tenth.costs);
        beats.0.refuse(&session(7, 0), tenth);
        assert_eq!(beats.count(0), tenth, "a refused beat is counted again");
        assert_eq!(beats.0.of(LicenseId::from_u128(1)), 10);
        let costly = (1..=100).filter(|_| beats.count(0).costs).count();
        assert_eq!(costly, 10);
    }

    #[test]
    fn a_beat_that_was_refused_after_others_were_counted_is_paid_by_the_next() {
        let mut beats = Bodies::new();
        let tenth = beats.count(9);
        let (eleventh, twelfth) = (beats.count(0), beats.count(0));
        assert!(tenth.costs && !eleventh.costs && !twelfth.costs);
        beats.0.refuse(&session(7, 0), tenth);
        for _ in 0..3 {
            let next = beats.count(0);
            assert_eq!((next.number, next.costs), (13, true), "until it is paid");
            beats.0.refuse(&session(7, 0), next);
        }
        assert!(beats.count(0).costs);
        let costly = (14..=113).filter(|_| beats.count(0).costs).count();
        assert_eq!(costly, 10);
    }

    #[test]
    fn the_same_heartbeat_within_a_minute_is_counted_once() {
        let beats = Heartbeats::default();
        let at = |seconds| Moment(0).plus(Duration::from_secs(seconds));
        let tenth = beats.count(&session(7, 9), [1; 32], at(0));
        let again = beats.count(&session(7, 9), [1; 32], at(59));
        assert_eq!((again.number, again.costs), (10, false));
        assert!(tenth.costs);
        // Another device of the license has a heartbeat of its own.
        assert_eq!(beats.count(&session(8, 9), [1; 32], at(59)).number, 11);
        assert_eq!(beats.count(&session(7, 9), [1; 32], at(60)).number, 12);
        // What was refused was none.
        let refused = beats.count(&session(7, 19), [2; 32], at(61));
        beats.refuse(&session(7, 19), refused);
        let next = beats.count(&session(7, 19), [2; 32], at(62));
        assert_eq!((refused.costs, next), (true, refused));
    }

    #[test]
    fn a_flood_of_sessions_takes_bounded_memory_and_makes_room_when_it_is_over() {
        let beats = Heartbeats::default();
        for device in 0..Heartbeats::MOST_SESSIONS as u64 + 10 {
            beats.count(&session(device, 0), [1; 32], Moment(0));
        }
        assert_eq!(beats.0.lock().last.len(), Heartbeats::MOST_SESSIONS);
        let later = Moment(0).plus(Heartbeats::REPEATABLE);
        beats.count(&session(u64::MAX, 0), [1; 32], later);
        assert_eq!(beats.0.lock().last.len(), 1);
    }
}
