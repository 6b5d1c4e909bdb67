//! The steps of families that SQLite has by a way of its own.

use std::future::{Future, ready};

use model::{AuditEntry, InstanceId, KeyHash, LicenseId};

use super::conn::SqliteConn;
use super::{audit, licenses, tokens};
use crate::licenses::{ChangeNumber, NewLicense};
use crate::sql::{Outcome, Sql, Twins};

impl Twins for SqliteConn {
    fn add_lines(&self, lines: &[AuditEntry]) -> impl Future<Output = Outcome<(), Self>> + Send {
        ready(audit::add_lines(&self.raw(), lines))
    }

    fn record_changes(
        &self,
        changes: &[(LicenseId, Option<&KeyHash>)],
    ) -> impl Future<Output = Outcome<ChangeNumber, Self>> + Send {
        let (connection, now) = (self.raw(), self.now());
        let mut changes = changes.iter();
        ready(changes.try_fold(ChangeNumber(0), |_, (license, added)| {
            licenses::touch(&connection, *license, *added, now)
        }))
    }

    fn move_units(
        &self,
        license: LicenseId,
        units: (u32, u64),
        from: InstanceId,
        to: InstanceId,
    ) -> impl Future<Output = Outcome<bool, Self>> + Send {
        ready(tokens::move_units(&self.raw(), license, units, from, to))
    }

    fn create_licenses(
        &self,
        new: &[NewLicense],
    ) -> impl Future<Output = Outcome<ChangeNumber, Self>> + Send {
        ready(licenses::create(self, new, self.now()))
    }
}
