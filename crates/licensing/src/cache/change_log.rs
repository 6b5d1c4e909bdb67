//! The log of changes, by which a fill that raced with a change is recognised.

use std::collections::VecDeque;

use model::{Fingerprint, LicenseId};
use store::ChangeNumber;

use super::history::History;

/// The recent changes, in the order in which this gate learned of them.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    recent: VecDeque<LoggedChange>,
    /// The number of changes ever recorded. The last of `recent` has this number.
    count: u64,
    /// The changes that were read from the store. What other gates shared is placed in them.
    pub(crate) history: History,
}

/// A recorded change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoggedChange {
    pub(crate) number: ChangeNumber,
    pub(crate) license_id: LicenseId,
    /// The fingerprint of the credential that the change added.
    pub(crate) added: Option<Fingerprint>,
}

/// A point in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPosition(u64);

impl ChangeLog {
    const MAX_CHANGES: usize = 8_192;

    /// Returns the end of the log, after the last change.
    pub(crate) const fn end(&self) -> LogPosition {
        LogPosition(self.count)
    }

    /// Records a change. Beyond 8,192 the oldest is dropped.
    pub(super) fn record(&mut self, change: LoggedChange) {
        if self.recent.len() == Self::MAX_CHANGES {
            self.recent.pop_front();
        }
        self.recent.push_back(change);
        self.count += 1;
    }

    /// Makes everything that was read so far superseded.
    pub(super) fn supersede_all(&mut self) {
        self.recent.clear();
        self.count += 1;
        self.history.clear();
    }

    /// Returns whether a credential of this fingerprint came in lately.
    pub(crate) fn is_added(&self, fingerprint: Fingerprint) -> bool {
        let mut recent = self.recent.iter();
        recent.any(|change| change.added == Some(fingerprint))
    }

    /// Returns whether something that was read after `position` may be older than a change that
    /// matters to it.
    pub(crate) fn is_superseded(
        &self,
        position: LogPosition,
        matters: impl Fn(&LoggedChange) -> bool,
    ) -> bool {
        let since = usize::try_from(self.count - position.0).unwrap_or(usize::MAX);
        since > self.recent.len() || self.recent.iter().rev().take(since).any(matters)
    }
}

impl Default for ChangeLog {
    fn default() -> Self {
        Self {
            recent: VecDeque::new(),
            count: 0,
            history: History::new(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: u64) -> LoggedChange {
        LoggedChange {
            number: ChangeNumber(number),
            license_id: LicenseId::from_u128(number.into()),
            added: None,
        }
    }

    fn is_of(number: u64) -> impl Fn(&LoggedChange) -> bool {
        move |change| change.number == ChangeNumber(number)
    }

    #[test]
    fn only_changes_recorded_since_a_position_supersede_what_was_read_after_it() {
        let mut log = ChangeLog::default();
        log.record(change(1));
        let position = log.end();
        assert!(!log.is_superseded(position, |_| true));
        log.record(change(2));
        assert!(log.is_superseded(position, is_of(2)));
        assert!(!log.is_superseded(position, is_of(1)));
        assert!(!log.is_superseded(log.end(), |_| true));
    }

    #[test]
    fn what_was_read_before_more_changes_than_are_kept_is_superseded() {
        let mut log = ChangeLog::default();
        let position = log.end();
        let count = ChangeLog::MAX_CHANGES as u64;
        (1..=count).for_each(|number| log.record(change(number)));
        assert!(!log.is_superseded(position, |_| false));
        log.record(change(count + 1));
        assert!(log.is_superseded(position, |_| false));
    }

    #[test]
    fn all_that_was_read_is_superseded_at_once() {
        let mut log = ChangeLog::default();
        let position = log.end();
        log.supersede_all();
        assert!(log.is_superseded(position, |_| false));
        assert!(!log.is_superseded(log.end(), |_| true));
    }
}
