//! The conversions between PostgreSQL's columns and the types of `model`.

use std::str::FromStr;

use model::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::backend_error::BackendError;
pub(super) use crate::sql::{count, list, rows};

/// Returns an id as a column stores it.
pub(super) fn id(bits: u128) -> Uuid {
    Uuid::from_u128(bits)
}

/// Reads a column as it is.
pub(super) fn read<'row, T: FromSql<'row>>(
    row: &'row Row,
    column: usize,
) -> Result<T, BackendError> {
    row.try_get(column).map_err(|_| unreadable(row, column))
}

/// Reads an id.
pub(super) fn read_id(row: &Row, column: usize) -> Result<u128, BackendError> {
    read::<Uuid>(row, column).map(|id| id.as_u128())
}

/// Reads a time from a column that may be NULL.
pub(super) fn read_optional_time(
    row: &Row,
    column: usize,
) -> Result<Option<Timestamp>, BackendError> {
    Ok(read::<Option<i64>>(row, column)?.map(Timestamp::from_micros))
}

/// Reads a count.
pub(super) fn read_count(row: &Row, column: usize) -> Result<u64, BackendError> {
    Ok(u64::try_from(read::<i64>(row, column)?).unwrap_or(0))
}

/// Reads a number of 32 bits from a wider column.
pub(super) fn read_number(row: &Row, column: usize) -> Result<u32, BackendError> {
    u32::try_from(read::<i64>(row, column)?).map_err(|_| unreadable(row, column))
}

/// Reads a value by its text form.
pub(super) fn read_text<T: FromStr>(row: &Row, column: usize) -> Result<T, BackendError> {
    parse(row, column, read(row, column)?)
}

/// Reads a value by its text form; the empty text stands for none.
pub(super) fn read_nonempty<T: FromStr>(
    row: &Row,
    column: usize,
) -> Result<Option<T>, BackendError> {
    match read(row, column)? {
        "" => Ok(None),
        text => parse(row, column, text).map(Some),
    }
}

fn parse<T: FromStr>(row: &Row, column: usize, text: &str) -> Result<T, BackendError> {
    text.parse().map_err(|_| unreadable(row, column))
}

/// Reads a word stored as a number.
pub(super) fn read_word<'row, N: FromSql<'row>, T>(
    row: &'row Row,
    column: usize,
    word: impl FnOnce(N) -> Option<T>,
) -> Result<T, BackendError> {
    word(read(row, column)?).ok_or_else(|| unreadable(row, column))
}

/// Returns the error of a column that does not hold what it should.
pub(super) fn unreadable(row: &Row, column: usize) -> BackendError {
    let name = row
        .columns()
        .get(column)
        .map_or("?", |column| column.name());
    BackendError::corrupt(format!("column {name} has an unknown value"))
}
