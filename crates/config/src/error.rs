//! Problems of a configuration file, with their places.

use std::fmt;

/// A problem of a configuration file. Shown as `FILE:LINE:COLUMN: message`.
///
/// The message says what is wrong and what is allowed; it never holds a value that came from the
/// environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct Error {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// A sentence on what is wrong and what to do.
    pub message: String,
}

/// All problems that were found, at least one, in the order of the file. Shown one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(Vec<Error>);

/// A problem that another part of the program finds in a configuration that reads well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The table, such as `store`.
    pub section: &'static str,
    /// The key in it.
    pub key: &'static str,
    /// A sentence on what is wrong and what to do, without a value that came from the environment.
    pub message: String,
}

/// A problem whose place is still an offset in bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl Errors {
    /// The highest number of problems that are listed; more are counted.
    const MAX_LISTED: usize = 50;

    /// Makes one problem of the file as a whole.
    pub(crate) fn whole_file(file: &str, message: String) -> Self {
        Self::of(file, "", vec![Problem { at: 0, message }])
    }

    pub(crate) fn of(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        let more = problems.len().saturating_sub(Self::MAX_LISTED);
        problems.truncate(Self::MAX_LISTED);
        if more > 0
            && let Some(last) = problems.last_mut()
        {
            last.message
                .push_str(&format!(" (and {more} more problems)"));
        }
        let place = |problem: Problem| {
            let (line, column) = line_and_column(text, problem.at);
            Error {
                file: file.to_owned(),
                line,
                column,
                message: problem.message,
            }
        };
        Self(problems.into_iter().map(place).collect())
    }

    /// Returns the problems.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.0.iter()
    }
}

impl IntoIterator for Errors {
    type Item = Error;
    type IntoIter = std::vec::IntoIter<Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// Returns the line and the column of an offset in bytes, both from 1, the column in characters.
pub(crate) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = String::from_utf8_lossy(&before[line_start..])
        .chars()
        .count()
        + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_begin_at_one() {
        let text = "é = 1\nab";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, 3), (1, 3));
        assert_eq!(line_and_column(text, 7), (2, 1));
        assert_eq!(line_and_column(text, 99), (2, 3));
        assert_eq!(line_and_column("", 0), (1, 1));
    }
}
