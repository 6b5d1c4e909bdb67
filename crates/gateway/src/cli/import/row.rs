//! A row of a file of licenses.

use std::fmt;

use serde_json::{Map, Value};

/// The fields of a row as they are sent: those of the native API with their values.
pub(super) type Fields = Map<String, Value>;

/// A row of a file: its fields, or what is wrong with it.
#[derive(Debug)]
pub(super) struct Row {
    /// The place.
    pub(super) place: Place,
    /// The fields.
    pub(super) fields: Result<Fields, Wrong>,
}

/// The place of a row in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The line on which it begins, from 1.
    pub(super) line: u64,
    /// Which of the rows on this line it is, from 1, where there are several.
    pub(super) item: Option<usize>,
}

/// An error in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The field or column.
    pub(super) field: String,
    /// What is wrong, and what would work.
    pub(super) reason: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.item {
            Some(item) => write!(f, "{} (item {item})", self.line),
            None => write!(f, "{}", self.line),
        }
    }
}

impl Wrong {
    pub(super) fn of(field: &str, reason: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            reason: reason.into(),
        }
    }
}
