//! The rules by which a license changes.

use model::{LicenseStatus, Limits};

use crate::licenses::{LicenseChange, StoredLicense};

/// Returns whether a change has an effect. A revoked license stays revoked, and a credential that
/// the license does not have cannot be revoked.
pub(crate) fn changes_anything(stored: &StoredLicense, change: &LicenseChange) -> bool {
    match change {
        LicenseChange::Status(_) => stored.license.status != LicenseStatus::Revoked,
        LicenseChange::RevokeCredential(gone) => {
            stored.credentials.iter().any(|info| info.id == *gone)
        }
        LicenseChange::ResetDevices => !stored.devices.is_empty(),
        LicenseChange::Together(parts) => parts.iter().any(|part| changes_anything(stored, part)),
        _ => true,
    }
}

/// Returns the changes that a change consists of: those of [`LicenseChange::Together`], else it
/// alone.
pub(crate) fn parts(change: &LicenseChange) -> Vec<&LicenseChange> {
    match change {
        LicenseChange::Together(parts) => parts.iter().flat_map(self::parts).collect(),
        _ => vec![change],
    }
}

/// The stamps of a license that new limits renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renewed {
    /// Whether the balance begins a new epoch with the next lease.
    pub(crate) balance: bool,
    /// Whether refills that fell due until now are past.
    pub(crate) refill: bool,
}

impl Renewed {
    /// Returns the stamps that a change from one set of limits to another renews; `balance`: the
    /// units left are set by hand.
    pub(crate) fn by(before: &Limits, after: &Limits, balance: bool) -> Self {
        // Units that were not counted before leave nothing that could be kept.
        let balance = balance || (before.remaining.is_none() && after.remaining.is_some());
        let every = |limits: &Limits| limits.refill.map(|refill| refill.every);
        Self {
            balance,
            refill: balance || every(before) != every(after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(remaining: Option<u64>, refill: Option<&str>) -> Limits {
        Limits {
            remaining,
            refill: refill.map(|refill| refill.parse().expect("valid")),
            ..Limits::default()
        }
    }

    #[test]
    fn an_epoch_begins_where_units_are_set_by_hand_or_counted_for_the_first_time() {
        let counted = limits(Some(5), None);
        let more = limits(Some(9), None);
        let not_counted = limits(None, None);
        for (before, after, balance, renewed) in [
            (&counted, &more, false, false),
            (&counted, &more, true, true),
            (&not_counted, &counted, false, true),
            (&counted, &not_counted, false, false),
        ] {
            let by = Renewed::by(before, after, balance);
            assert_eq!((by.balance, by.refill), (renewed, renewed), "{after:?}");
        }
    }

    #[test]
    fn another_interval_of_refills_gives_nothing_for_the_past_and_another_amount_keeps_its_time() {
        let hourly = limits(Some(5), Some("5/1h"));
        let more = limits(Some(5), Some("9/1h"));
        let daily = limits(Some(5), Some("5/1d"));
        let none = limits(Some(5), None);
        for (after, refill) in [(&more, false), (&daily, true), (&none, true)] {
            let by = Renewed::by(&hourly, after, false);
            assert_eq!((by.balance, by.refill), (false, refill), "{after:?}");
        }
    }
}
