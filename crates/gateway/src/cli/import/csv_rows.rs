//! Rows of a file of comma-separated values.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read};
use std::rc::Rc;

use csv::{ByteRecord, Position, Reader, ReaderBuilder, Terminator};

use super::columns::{self, Column, Columns};
use super::row::{Fields, Place, Row, Wrong};
use super::source::unreadable;
use crate::cli::Error;

/// The size of the largest record, in bytes: one with a quotation mark that is left open would go on
/// to the end of the file.
const MAX_RECORD: usize = 1 << 20;

/// A reader of rows.
pub(super) struct CsvRows {
    name: String,
    reader: Reader<Bounded<Box<dyn Read>>>,
    budget: Rc<Cell<usize>>,
    quotes: Rc<Cell<Quotes>>,
    header: Vec<(String, Column)>,
    columns: Columns,
    record: ByteRecord,
}

/// A reader that fails once its budget is used up.
struct Bounded<R> {
    inner: R,
    budget: Rc<Cell<usize>>,
    quotes: Rc<Cell<Quotes>>,
}

/// Where in a value the bytes that were read so far end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Quotes {
    /// Before its first byte.
    #[default]
    Before,
    /// In one without quotation marks around it, or behind them.
    Without,
    /// Within quotation marks.
    Within,
    /// Behind a quotation mark that ends them, or is the first of two that stand for one.
    Perhaps,
    /// The file ended within quotation marks.
    LeftOpen,
}

impl Quotes {
    const fn with(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Before, b'"') | (Self::Perhaps, b'"') => Self::Within,
            (Self::Within, b'"') => Self::Perhaps,
            (Self::Within, _) => Self::Within,
            (Self::LeftOpen, _) => Self::LeftOpen,
            (_, b',' | b'\n') => Self::Before,
            // Of the mark in front of UTF-8.
            (Self::Before, 0xef | 0xbb | 0xbf) => Self::Before,
            _ => Self::Without,
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.budget.get() == 0 {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let read = self.inner.read(buffer)?;
        let quotes = buffer[..read].iter().copied();
        let quotes = quotes.fold(self.quotes.get(), Quotes::with);
        self.quotes.set(match (read, quotes) {
            (0, Quotes::Within) => Quotes::LeftOpen,
            _ => quotes,
        });
        self.budget.set(self.budget.get().saturating_sub(read));
        Ok(read)
    }
}

impl CsvRows {
    /// Reads the header.
    ///
    /// # Errors
    /// The file cannot be read, a column is not known or there twice, or none has keys.
    pub(super) fn new(
        from: impl Read + 'static,
        name: &str,
        columns: Columns,
    ) -> Result<Self, Error> {
        let budget = Rc::new(Cell::new(MAX_RECORD));
        let quotes = Rc::new(Cell::new(Quotes::default()));
        let bounded = Bounded {
            inner: Box::new(from) as Box<dyn Read>,
            budget: Rc::clone(&budget),
            quotes: Rc::clone(&quotes),
        };
        let mut builder = ReaderBuilder::new();
        // What ends a line is a line feed, so that lines are counted alike however they end. A
        // carriage return before it is trimmed with the blanks around a value.
        let ends = Terminator::Any(b'\n');
        builder.has_headers(false).flexible(true).terminator(ends);
        let mut rows = Self {
            name: name.to_owned(),
            reader: builder.from_reader(bounded),
            budget,
            quotes,
            header: Vec::new(),
            columns,
            record: ByteRecord::new(),
        };
        rows.read_header()?;
        Ok(rows)
    }

    fn read_header(&mut self) -> Result<(), Error> {
        let wrong =
            |file: &str, Wrong { field, reason }| Error::No(format!("{file}:1: {field}: {reason}"));
        if !self.advance()? {
            let reason = format!("it is empty: begin with a header of {}", columns::known());
            return Err(Error::No(format!("{}:1: {reason}", self.name)));
        }
        for name in &self.record {
            let name = String::from_utf8_lossy(name).trim().to_owned();
            let found = self.columns.find(&name);
            let column = found.map_err(|mut error| {
                if name.contains([';', '\t']) {
                    error.reason = "put commas between the columns".to_owned();
                }
                wrong(&self.name, error)
            })?;
            if self.header.iter().any(|(other, _)| *other == name) {
                let reason = "it is there twice: leave one of them out".to_owned();
                return Err(wrong(&self.name, Wrong::of(&name, reason)));
            }
            self.header.push((name, column));
        }
        let has_keys =
            |(_, column): &(String, Column)| matches!(column, Column::Field("key" | "key_sha256"));
        if !self.header.iter().any(has_keys) {
            let reason = "no column has this name: name the one with the keys so, or key_sha256 if it has their SHA-256";
            return Err(wrong(&self.name, Wrong::of("key", reason.to_owned())));
        }
        Ok(())
    }

    /// Reads the next record that is not blank; `false` at the end.
    fn advance(&mut self) -> Result<bool, Error> {
        loop {
            self.budget.set(MAX_RECORD);
            let read = self.reader.read_byte_record(&mut self.record);
            let is_there = read.map_err(|error| self.unreadable(error.into_kind()))?;
            if self.quotes.get() == Quotes::LeftOpen {
                return Err(Error::No(format!(
                    "{}:{}: a quotation mark is left open to the end of the file, which may have been cut off: close it, or copy the file anew",
                    self.name,
                    self.line()
                )));
            }
            let is_blank = self.record.len() == 1 && self.record[0].trim_ascii().is_empty();
            if !is_there || !is_blank {
                return Ok(is_there);
            }
        }
    }

    fn unreadable(&self, kind: csv::ErrorKind) -> Error {
        match kind {
            csv::ErrorKind::Io(error) if error.kind() == ErrorKind::FileTooLarge => {
                let (name, line) = (&self.name, self.reader.position().line());
                Error::No(format!(
                    "{name}:{line}: the row has more than {MAX_RECORD} bytes: look for a quotation mark that is left open"
                ))
            }
            csv::ErrorKind::Io(error) => unreadable(&self.name, &error),
            // Records of any length are taken, as bytes, so that nothing else can be wrong.
            _ => Error::No(format!("{} is no CSV", self.name)),
        }
    }

    /// Returns the line on which the record begins. The reader counts empty lines before it to it.
    fn line(&self) -> u64 {
        let from = self.record.position().map_or(1, Position::line);
        let feeds = |field: &[u8]| field.iter().filter(|byte| **byte == b'\n').count() as u64;
        let own = self.record.iter().map(feeds).sum::<u64>() + 1;
        let passed = self.reader.position().line().saturating_sub(from);
        from + passed.saturating_sub(own)
    }

    /// Returns the next row; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Row>, Error> {
        if !self.advance()? {
            return Ok(None);
        }
        let place = Place {
            line: self.line(),
            item: None,
        };
        let fields = fields(&mut self.columns, &self.header, &self.record);
        Ok(Some(Row { place, fields }))
    }

    pub(super) fn not_taken(&self) -> &BTreeSet<String> {
        &self.columns.not_taken
    }
}

/// Reads the fields of a record.
fn fields(
    columns: &mut Columns,
    header: &[(String, Column)],
    record: &ByteRecord,
) -> Result<Fields, Wrong> {
    if record.len() != header.len() {
        let reason = format!(
            "there are {} columns and the header has {}: put values with commas into quotation marks",
            record.len(),
            header.len()
        );
        return Err(Wrong::of("row", reason));
    }
    let mut row = Fields::new();
    for ((name, column), cell) in header.iter().zip(record) {
        let cell = std::str::from_utf8(cell);
        let cell = cell.map_err(|_| Wrong::of(name, "save the file in UTF-8".to_owned()))?;
        columns.add_cell(&mut row, name, *column, cell.trim())?;
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<CsvRows, Error> {
        let text = io::Cursor::new(text.as_bytes().to_vec());
        CsvRows::new(text, "FILE", Columns::default())
    }

    fn error(text: &str) -> String {
        match rows(text) {
            Ok(_) => panic!("{text} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_row_knows_the_line_on_which_it_begins() {
        for end in ["\n", "\r\n"] {
            let lines = [
                "\u{feff}key,label",
                "k1,\"two",
                "lines\"",
                "",
                "k2,b",
                "k3,c,d",
                "k4,",
            ];
            let mut rows = rows(&lines.join(end)).expect("a header");
            let mut seen = Vec::new();
            while let Some(row) = rows.next().expect("memory") {
                let key = row
                    .fields
                    .map(|fields| fields["key"].as_str().map(str::to_owned));
                seen.push((row.place.line, key.map_err(|wrong| wrong.field)));
            }
            let key = |text: &str| Ok(Some(text.to_owned()));
            let expected = [
                (2, key("k1")),
                (5, key("k2")),
                (6, Err("row".to_owned())),
                (7, key("k4")),
            ];
            assert_eq!(seen, expected, "{end:?}");
        }
    }

    #[test]
    fn a_header_that_cannot_be_right_is_told_of_before_anything_is_read() {
        for (text, says) in [
            ("", "FILE:1: it is empty"),
            ("key,colour\n", "FILE:1: colour: there is no such column"),
            ("key;label\n", "commas between"),
            ("key,key\n", "key: it is there twice"),
            ("label\n", "FILE:1: key: no column"),
        ] {
            assert!(error(text).contains(says), "{text}: {}", error(text));
        }
    }

    #[test]
    fn a_file_that_ends_within_quotation_marks_is_not_whole() {
        for text in [
            "key,label\nk1,a\nk2,\"b",
            "key,label\nk1,a\nk2,\"b\n",
            "key,label\nk1,a\nk2,\"b \"\"c\"\"",
            "\u{feff}\"key\",label\nk1,a\n\"k2",
        ] {
            let mut rows = rows(text).expect("a header");
            assert!(rows.next().expect("whole").is_some(), "{text}");
            let error = rows.next().expect_err(text).to_string();
            assert!(error.starts_with("FILE:3: a quotation mark"), "{error}");
        }
        for text in [
            "key,label\nk1,\"a\"",
            "key,label\nk1,\"a \"\"b\"\"\"\n",
            "key,label\nk1,5\" wide",
            "key,label\nk1,\"\"",
        ] {
            let mut rows = rows(text).expect("a header");
            assert!(rows.next().expect(text).is_some(), "{text}");
            assert!(rows.next().expect(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_quotation_mark_that_is_left_open_takes_no_more_than_a_record() {
        let text = format!("key,label\nk1,\"{}", "x,\n".repeat(MAX_RECORD));
        let error = rows(&text).expect("a header").next().expect_err("too long");
        assert!(error.to_string().contains("left open"), "{error}");
    }
}
