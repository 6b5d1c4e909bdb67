//! The conversions between SQLite's columns and the types of `model`.

use std::str::FromStr;

use rusqlite::Row;
use rusqlite::types::FromSql;

use super::backend_error::BackendError;
pub(super) use crate::sql::{MAX_COUNT, count, list, rows};

/// Returns a count that a column stored.
pub(super) fn counted(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(0)
}

/// Returns an id as a column stores it.
pub(super) fn id(bits: u128) -> [u8; 16] {
    bits.to_be_bytes()
}

/// Reads an id.
pub(super) fn read_id(row: &Row<'_>, column: usize) -> rusqlite::Result<u128> {
    row.get::<_, [u8; 16]>(column).map(u128::from_be_bytes)
}

/// Reads an id from a column that may be NULL.
pub(super) fn read_optional_id(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u128>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    Ok(bytes.map(u128::from_be_bytes))
}

/// Reads a count.
pub(super) fn read_count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(counted)
}

/// Reads a value by its text form.
pub(super) fn read_text<T: FromStr>(row: &Row<'_>, column: usize) -> Result<T, BackendError> {
    parse(row, column, row.get_ref(column)?.as_str().ok())
}

/// Reads a value by its text form from a column that may be NULL.
pub(super) fn read_optional_text<T: FromStr>(
    row: &Row<'_>,
    column: usize,
) -> Result<Option<T>, BackendError> {
    match row.get_ref(column)?.as_str_or_null() {
        Ok(None) => Ok(None),
        Ok(text) => parse(row, column, text).map(Some),
        Err(_) => Err(unreadable(row, column)),
    }
}

fn parse<T: FromStr>(row: &Row<'_>, column: usize, text: Option<&str>) -> Result<T, BackendError> {
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| unreadable(row, column))
}

/// Reads a word stored as a number.
pub(super) fn read_word<N: FromSql, T>(
    row: &Row<'_>,
    column: usize,
    word: impl FnOnce(N) -> Option<T>,
) -> Result<T, BackendError> {
    word(row.get(column)?).ok_or_else(|| unreadable(row, column))
}

/// Returns the error of a column that does not hold what it should.
pub(super) fn unreadable(row: &Row<'_>, column: usize) -> BackendError {
    let name = row.as_ref().column_name(column).unwrap_or("?");
    BackendError::corrupt(format!("column {name} has an unknown value"))
}
