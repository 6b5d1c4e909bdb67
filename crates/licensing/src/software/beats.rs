//! The count of heartbeats of licenses, of which each tenth costs.
//!
//! It is kept in memory, and in the tokens of the sessions: so no heartbeat writes anything, and a
//! gate that starts anew, or another gate of the fleet, goes on from what a token says.

use std::collections::HashMap;

use model::LicenseId;
use parking_lot::Mutex;

/// The numbers of heartbeats by license.
#[derive(Debug, Default)]
pub struct Heartbeats(Mutex<HashMap<LicenseId, u64>>);

impl Heartbeats {
    /// One of so many heartbeats costs.
    pub const PER_CREDIT: u64 = 10;
    /// The number of licenses that are counted at once. A further one is counted by its tokens.
    const MOST: usize = 1_000_000;

    /// Counts a heartbeat of a license whose token says `told`. Returns its number, which is one
    /// more than the larger of what is known and what was told.
    pub fn count(&self, license: LicenseId, told: u64) -> u64 {
        let mut counts = self.0.lock();
        let next = |known: u64| known.max(told).saturating_add(1);
        if let Some(known) = counts.get_mut(&license) {
            *known = next(*known);
            return *known;
        }
        if counts.len() < Self::MOST {
            counts.insert(license, next(0));
        }
        next(0)
    }

    /// Takes back a heartbeat that was counted with this number and refused, unless others were
    /// counted since.
    pub fn take_back(&self, license: LicenseId, number: u64) {
        let mut counts = self.0.lock();
        if let Some(known) = counts.get_mut(&license)
            && *known == number
        {
            *known -= 1;
        }
    }

    /// Returns the number of heartbeats of a license, as far as this gate knows.
    #[must_use]
    pub fn of(&self, license: LicenseId) -> u64 {
        self.0.lock().get(&license).copied().unwrap_or_default()
    }

    /// Returns whether the heartbeat with this number costs.
    #[must_use]
    pub const fn costs(number: u64) -> bool {
        number.is_multiple_of(Self::PER_CREDIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_goes_on_from_the_larger_of_memory_and_token() {
        let (beats, license) = (Heartbeats::default(), LicenseId::from_u128(1));
        assert_eq!(beats.count(license, 0), 1);
        assert_eq!(
            beats.count(license, 0),
            2,
            "an old token counts no beat anew"
        );
        assert_eq!(beats.count(license, 8), 9, "another gate counted more");
        let tenth = beats.count(license, 0);
        assert!(Heartbeats::costs(tenth));
        beats.take_back(license, tenth);
        assert_eq!(
            beats.count(license, 0),
            10,
            "a refused beat is counted again"
        );
        assert_eq!(beats.of(license), 10);
        let costly = (1..=100)
            .filter(|number| Heartbeats::costs(*number))
            .count();
        assert_eq!(costly, 10);
    }
}
