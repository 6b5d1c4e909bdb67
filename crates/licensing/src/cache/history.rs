//! The recent changes of the store, as this gate read them, by which a snapshot of another gate is
//! judged.

use std::collections::{HashMap, VecDeque};

use model::{Fingerprint, LicenseId, Timestamp};
use store::{Change, ChangeNumber};

/// A point in the history of a store: its last change. The time distinguishes histories that share
/// numbers, as after a restore from a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) number: ChangeNumber,
    pub(crate) at: Timestamp,
}

/// The relation of a point to what is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The point is in this history: everything that changed since is known.
    Known,
    /// The point is too long ago, or was not read here yet.
    Beyond,
    /// This store had no such change.
    Elsewhere,
}

/// The last changes without a gap, and the last change of each license among them.
#[derive(Debug)]
pub(crate) struct History {
    changes: VecDeque<Change>,
    /// The last change of a license, also of those made here and not read back yet.
    latest: HashMap<LicenseId, ChangeNumber>,
    /// The point up to which all changes are known.
    reached: Point,
    longest: usize,
}

impl Point {
    /// The point before the first change.
    const BEGINNING: Self = Self {
        number: ChangeNumber(0),
        at: Timestamp::from_micros(0),
    };
}

impl History {
    /// The number of changes that are kept: 56 bytes each, and as many for the license.
    pub(crate) const CAPACITY: usize = 65_536;

    pub(crate) fn new(longest: usize) -> Self {
        Self {
            changes: VecDeque::new(),
            latest: HashMap::new(),
            reached: Point::BEGINNING,
            longest: longest.max(1),
        }
    }

    /// Returns the point up to which all changes are known.
    pub(crate) const fn reached(&self) -> Point {
        self.reached
    }

    /// Returns the last change that was read.
    pub(crate) fn last(&self) -> Option<Change> {
        self.changes.back().copied()
    }

    /// Adds a change that was read from the store, in its order. After a gap all earlier changes
    /// are forgotten.
    pub(crate) fn push(&mut self, change: &Change) {
        if change.number <= self.reached.number {
            return;
        }
        if change.number.0 != self.reached.number.0 + 1 {
            self.clear();
        }
        if self.changes.len() == self.longest {
            self.drop_oldest();
        }
        self.changes.push_back(*change);
        self.reached = Point {
            number: change.number,
            at: change.at,
        };
        self.note(change.license_id, change.number);
    }

    /// Records a change that was made here, before it is read back.
    pub(crate) fn note(&mut self, id: LicenseId, number: ChangeNumber) {
        // What has left the history already would never leave the map.
        if number.0 + self.changes.len() as u64 <= self.reached.number.0 {
            return;
        }
        let latest = self.latest.entry(id).or_insert(number);
        *latest = (*latest).max(number);
    }

    /// Removes all changes, as when the store went back to an older copy.
    pub(crate) fn clear(&mut self) {
        self.changes.clear();
        self.latest.clear();
        self.reached = Point::BEGINNING;
    }

    /// Returns where a point lies.
    pub(crate) fn place(&self, point: Point) -> Place {
        let first = self.changes.front().map_or(1, |change| change.number.0);
        match point.number.0 {
            0 if first == 1 => Place::Known,
            number if number < first || number > self.reached.number.0 => Place::Beyond,
            number => {
                let at = usize::try_from(number - first).unwrap_or(usize::MAX);
                match self.changes.get(at) {
                    Some(change) if change.at == point.at => Place::Known,
                    Some(_) => Place::Elsewhere,
                    None => Place::Beyond,
                }
            }
        }
    }

    /// Returns whether a license was changed after `version`, within this history.
    pub(crate) fn is_outdated(&self, id: LicenseId, version: ChangeNumber) -> bool {
        self.latest.get(&id).is_some_and(|latest| *latest > version)
    }

    /// Returns whether a credential of this fingerprint came in after a point.
    pub(crate) fn is_added(&self, fingerprint: Fingerprint, since: Point) -> bool {
        let later = self.changes.iter().rev();
        later
            .take_while(|change| change.number > since.number)
            .any(|change| change.added == Some(fingerprint))
    }

    /// Returns whether this license is known to have changed up to this number.
    pub(crate) fn knows(&self, change: &Change) -> bool {
        let latest = self.latest.get(&change.license_id);
        latest.is_some_and(|latest| *latest >= change.number)
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.changes.pop_front() else {
            return;
        };
        if self.latest.get(&oldest.license_id) == Some(&oldest.number) {
            self.latest.remove(&oldest.license_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: u64, license: u128) -> Change {
        Change {
            number: ChangeNumber(number),
            license_id: LicenseId::from_u128(license),
            added: Some(Fingerprint(number)),
            at: Timestamp::from_micros(1_000 + number as i64),
        }
    }

    fn point(number: u64) -> Point {
        Point {
            number: ChangeNumber(number),
            at: Timestamp::from_micros(1_000 + number as i64),
        }
    }

    #[test]
    fn a_point_is_known_only_within_the_history_and_at_its_time() {
        let mut history = History::new(3);
        assert_eq!(history.place(Point::BEGINNING), Place::Known);
        for number in 1..=5 {
            history.push(&change(number, 7));
        }
        assert_eq!(history.place(Point::BEGINNING), Place::Beyond);
        assert_eq!(history.place(point(2)), Place::Beyond);
        assert_eq!(history.place(point(3)), Place::Known);
        assert_eq!(history.place(point(5)), Place::Known);
        assert_eq!(history.place(point(6)), Place::Beyond);
        let elsewhere = Point {
            at: Timestamp::from_micros(1),
            ..point(4)
        };
        assert_eq!(history.place(elsewhere), Place::Elsewhere);
    }

    #[test]
    fn a_license_is_outdated_by_its_own_later_changes_and_by_those_made_here() {
        let mut history = History::new(10);
        history.push(&change(1, 7));
        history.push(&change(2, 8));
        let (seven, eight) = (LicenseId::from_u128(7), LicenseId::from_u128(8));
        assert!(!history.is_outdated(seven, ChangeNumber(1)));
        assert!(history.is_outdated(eight, ChangeNumber(1)));
        history.note(seven, ChangeNumber(9));
        assert!(history.is_outdated(seven, ChangeNumber(1)));
        assert!(history.knows(&change(9, 7)));
        assert!(history.is_added(Fingerprint(2), point(1)));
        assert!(!history.is_added(Fingerprint(2), point(2)));
    }

    #[test]
    fn after_a_gap_nothing_before_counts() {
        let mut history = History::new(10);
        history.push(&change(1, 7));
        history.push(&change(3, 8));
        assert_eq!(history.place(point(1)), Place::Beyond);
        assert_eq!(history.place(point(3)), Place::Known);
        assert_eq!(history.reached(), point(3));
    }
}
