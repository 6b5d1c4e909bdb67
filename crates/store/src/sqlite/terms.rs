//! The terms of balances, which the ledger's side reads in the licenses' file.
//!
//! They are read within the write transaction of the ledger, so that stamps come in the order in
//! which they were given.

use std::collections::HashMap;

use model::{LicenseId, Timestamp};
use rusqlite::{Connection, Row};

use super::backend_error::BackendError;
use super::convert::{MAX_COUNT, counted, id, read_optional_text};
use super::file::{Access, DatabaseFile, OpenFile};
use crate::error::Error;
use crate::rules::refill::Terms;

/// A reading connection to the licenses, opened when it is needed.
pub(super) struct TermsSource {
    file: DatabaseFile,
    open: Option<OpenFile>,
}

impl TermsSource {
    pub(super) fn new(file: DatabaseFile) -> Self {
        Self { file, open: None }
    }

    /// Returns the terms of these licenses, as of one moment; unknown licenses are left out.
    ///
    /// # Errors
    /// Those of the licenses' file; the ledger's own connection is not concerned.
    pub(super) fn of(
        &mut self,
        licenses: impl Iterator<Item = LicenseId>,
    ) -> Result<HashMap<LicenseId, Terms>, Error> {
        let file = self.open()?;
        let terms = read(&file.connection.raw(), licenses);
        match terms {
            Ok(terms) => Ok(terms),
            Err(backend_error) => {
                let found = backend_error.classify(&self.file.path);
                if found.reopen {
                    self.open = None;
                }
                Err(found.error)
            }
        }
    }

    fn open(&mut self) -> Result<&mut OpenFile, Error> {
        if !self.open.as_mut().is_some_and(OpenFile::is_current) {
            self.open = None;
            self.open = Some(self.file.open(Access::Read)?);
        }
        Ok(self.open.as_mut().expect("it was opened just now"))
    }
}

fn read(
    connection: &Connection,
    licenses: impl Iterator<Item = LicenseId>,
) -> Result<HashMap<LicenseId, Terms>, BackendError> {
    let snapshot = connection.unchecked_transaction()?;
    let sql = "SELECT remaining, refill, created_at, balance_stamp, refill_stamp, credited, debited
        FROM licenses WHERE id = ?1";
    let mut statement = snapshot.prepare_cached(sql)?;
    let mut terms = HashMap::new();
    for license in licenses {
        if terms.contains_key(&license) {
            continue;
        }
        let mut found = statement.query([id(license.as_u128())])?;
        if let Some(row) = found.next()? {
            terms.insert(license, read_terms(row)?);
        }
    }
    Ok(terms)
}

fn read_terms(row: &Row<'_>) -> Result<Terms, BackendError> {
    let remaining: Option<i64> = row.get(0)?;
    Ok(Terms {
        remaining: remaining.map(|bits| (bits as u64).min(MAX_COUNT)),
        refill: read_optional_text(row, 1)?,
        created_at: Timestamp::from_micros(row.get(2)?),
        balance_stamp: row.get(3)?,
        refill_stamp: row.get(4)?,
        credited: counted(row.get(5)?),
        debited: counted(row.get(6)?),
    })
}
