//! What an import comes to: how many rows became what, and what is wrong with others.

use std::collections::BTreeSet;

use serde::Serialize;

use super::row::{Place, Wrong};
use crate::cli::progress::Progress;
use crate::cli::{Error, Format, Output, Table, units};

/// The number of errors that are shown where not all of them are.
pub(super) const SHOWN: usize = 20;

/// Which errors are shown on the way, on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// The first ones.
    First,
    /// Each.
    All,
}

/// The sums of a pass over a file.
#[derive(Debug, Serialize)]
pub(super) struct Tally {
    /// Whether something was to be written.
    pub(super) written: bool,
    /// The rows.
    pub(super) rows: u64,
    /// The rows of which licenses were made, or would be.
    pub(super) made: u64,
    /// The rows whose keys were there already.
    pub(super) there: u64,
    /// The rows that are wrong.
    pub(super) bad: u64,
    /// Those of the rows that are not wrong whose licenses have ended.
    pub(super) ended: u64,
    /// The columns with values that have no field.
    pub(super) not_taken: BTreeSet<String>,
    /// The first errors.
    problems: Vec<Problem>,
    #[serde(skip)]
    listing: Listing,
}

/// An error in a row, as programs read it.
#[derive(Debug, Serialize)]
struct Problem {
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<usize>,
    field: String,
    detail: String,
}

impl Tally {
    pub(super) const fn new(written: bool, listing: Listing) -> Self {
        Self {
            written,
            rows: 0,
            made: 0,
            there: 0,
            bad: 0,
            ended: 0,
            not_taken: BTreeSet::new(),
            problems: Vec::new(),
            listing,
        }
    }

    /// Counts a row that is wrong, and shows it.
    pub(super) fn bad(&mut self, file: &str, place: Place, wrong: Wrong, progress: &Progress) {
        self.bad += 1;
        let first = self.problems.len() < SHOWN;
        let Wrong { field, reason } = wrong;
        if first || self.listing == Listing::All {
            let line = super::super::error::one_line(&format!("{file}:{place}: {field}: {reason}"));
            progress.above(|| eprintln!("{line}"));
        }
        if first {
            self.problems.push(Problem {
                line: place.line,
                item: place.item,
                field,
                detail: reason,
            });
        }
    }

    /// Says how many errors were not shown.
    pub(super) fn tell_of_more(&self) {
        let more = self.bad - self.problems.len() as u64;
        if more > 0 && self.listing == Listing::First {
            eprintln!("and {} more", units::count(more));
        }
    }

    /// Prints the sums.
    pub(super) fn show(&self, format: Format, output: &mut Output) -> Result<(), Error> {
        if format == Format::Json {
            return Ok(output.json(self)?);
        }
        let mut table = Table::of_fields("IMPORT");
        let made = if self.written {
            "made"
        } else {
            "would be made"
        };
        table.field("rows", units::count(self.rows));
        table.field(made, units::count(self.made));
        table.field("there already", units::count(self.there));
        table.field("wrong", units::count(self.bad));
        if self.ended > 0 {
            table.field("ended already", units::count(self.ended));
        }
        let not_taken: Vec<_> = self.not_taken.iter().collect();
        table.field("columns not taken", units::words(&not_taken));
        Ok(output.table(&table)?)
    }
}
