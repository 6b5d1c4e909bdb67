//! The rows of a file of licenses, in order, whatever its form.

use std::collections::BTreeSet;

use super::columns::Columns;
use super::csv_rows::CsvRows;
use super::json_rows::JsonRows;
use super::row::Row;
use super::source::{FileFormat, Source};
use crate::cli::Error;

/// A reader of rows. Its memory does not grow with the file.
pub(super) enum Rows {
    Csv(Box<CsvRows>),
    Json(JsonRows),
}

impl Rows {
    /// Begins at the beginning of a file.
    ///
    /// # Errors
    /// The file cannot be read, or its header has columns that are not known.
    pub(super) fn of(source: &mut Source, format: FileFormat, hashed: bool) -> Result<Self, Error> {
        let columns = Columns {
            hashed,
            ..Columns::default()
        };
        let reader = source.read()?;
        Ok(match format {
            FileFormat::Csv => Self::Csv(Box::new(CsvRows::new(reader, &source.name, columns)?)),
            FileFormat::Jsonl => Self::Json(JsonRows::new(reader, &source.name, columns)),
        })
    }

    /// Returns the next row; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Row>, Error> {
        match self {
            Self::Csv(rows) => rows.next(),
            Self::Json(rows) => rows.next(),
        }
    }

    /// Returns the columns that had values and have no field here.
    pub(super) fn not_taken(&self) -> &BTreeSet<String> {
        match self {
            Self::Csv(rows) => rows.not_taken(),
            Self::Json(rows) => rows.not_taken(),
        }
    }
}
