//! The licenses that were used: each is noted once, with the roll-up of its first call.

use std::collections::{BTreeSet, HashSet};

use model::usage::{UsageKey, UsageSums};
use model::{LicenseId, Outcome as CallOutcome};
use parking_lot::Mutex;

use super::license_rows::ids_of;
use super::{Outcome, Sql, sql};

/// A cache of licenses that are noted, so that nothing is asked for those that are used all the
/// time. Nothing is ever taken back.
#[derive(Debug, Default)]
pub(crate) struct UsedLicenses(Mutex<HashSet<LicenseId>>);

impl UsedLicenses {
    /// The largest number of licenses that are remembered.
    const REMEMBERED: usize = 100_000;

    /// Returns the licenses that calls of these sums used and that may not be noted yet, in order.
    /// A refused call is no use.
    pub(crate) fn perhaps_new(&self, rows: &[(UsageKey, UsageSums)]) -> Vec<LicenseId> {
        let known = self.0.lock();
        let used = rows
            .iter()
            .filter(|(key, _)| key.outcome != CallOutcome::Refused)
            .filter_map(|(key, _)| key.license_id)
            .filter(|license| !known.contains(license));
        used.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Remembers licenses that are noted, once that is committed.
    pub(crate) fn learn(&self, licenses: &[LicenseId]) {
        let mut known = self.0.lock();
        if known.len() + licenses.len() > Self::REMEMBERED {
            known.clear();
        }
        known.extend(licenses.iter().take(Self::REMEMBERED));
    }
}

/// Notes licenses as used. Returns those that were not.
pub(crate) async fn note<S: Sql>(sql: &S, licenses: &[LicenseId]) -> Outcome<Vec<LicenseId>, S> {
    if licenses.is_empty() {
        return Ok(Vec::new());
    }
    let statement = sql!(
        postgres: "INSERT INTO used_licenses (license)
        SELECT g.license FROM unnest($1::uuid[]) AS g (license) ORDER BY g.license
        ON CONFLICT DO NOTHING RETURNING license",
        sqlite: "INSERT INTO used_licenses (license)
        SELECT unhex(value) FROM json_each($1) WHERE true ON CONFLICT DO NOTHING RETURNING license",
    );
    let found = sql.query(statement, &[ids_of(licenses)]).await?;
    let new = found.iter().map(|row| row.get(0));
    Ok(new.collect::<Result<_, _>>()?)
}
