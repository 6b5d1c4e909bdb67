//! The rows of a sealed file by close number, read ahead: files are sorted by license, so that each
//! page would read the whole file.

use model::LicenseId;
use store::SealedFile;

use crate::calls::Smallest;
use crate::error::Error;
use crate::file::Filter;
use crate::ledger::{Shared, lock};
use crate::row::Row;

/// The number of rows that are read ahead of a page, about 400 bytes each.
const ROWS: usize = 32_768;

/// The rows of one file behind a close number, kept from one page to the next.
pub(crate) struct Ahead {
    name: String,
    license_id: Option<LicenseId>,
    /// The close number behind which all rows of the file and license are held …
    after: u64,
    /// … and the last one up to which they are.
    pub(super) through: u64,
    /// The rows, in order of their numbers.
    rows: Vec<Row>,
}

impl Ahead {
    /// Returns the rows behind `at`, from memory if the last page left them there.
    pub(super) fn take(
        shared: &Shared,
        file: &SealedFile,
        license_id: Option<LicenseId>,
        at: u64,
    ) -> Result<Self, Error> {
        let kept = lock(&shared.ahead).take();
        let fits = |kept: &Self| {
            kept.name == file.name
                && kept.license_id == license_id
                && (kept.after..kept.through).contains(&at)
        };
        match kept.filter(fits) {
            Some(kept) => Ok(kept),
            None => Self::read(shared, file, license_id, at),
        }
    }

    /// Keeps the rows that are not returned yet for the next page.
    pub(super) fn keep(self, shared: &Shared) {
        *lock(&shared.ahead) = Some(self);
    }

    pub(super) fn behind(&self, at: u64) -> impl Iterator<Item = &Row> {
        let first = self.rows.partition_point(|row| row.number <= at);
        self.rows[first..].iter()
    }

    fn read(
        shared: &Shared,
        file: &SealedFile,
        license_id: Option<LicenseId>,
        at: u64,
    ) -> Result<Self, Error> {
        let context = &shared.context;
        let filter = Filter {
            license_id,
            ..Filter::default()
        };
        let mut smallest = Smallest::new(|row| row.number, Some(at), ROWS);
        context
            .open(&file.name)?
            .scan(&context.names, &filter, &mut |row| {
                smallest.add(*row);
                Ok(())
            })?;
        let (rows, is_whole) = smallest.finish();
        let through = match rows.last() {
            Some(last) if !is_whole => last.number,
            _ => file.range.through,
        };
        Ok(Self {
            name: file.name.clone(),
            license_id,
            after: at,
            through,
            rows,
        })
    }
}
