//! Rows of a file with JSON on each line: one row, several of them, or an answer of another system's
//! list.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use serde_json::{Deserializer, Value};

use super::columns::{self, Columns};
use super::row::{Fields, Place, Row, Wrong};
use super::source::{BOM, unreadable};
use crate::cli::Error;

/// The length of the longest line, in bytes, without its end. A line is held in memory.
const MAX_LINE: u64 = 16 << 20;
/// The members that hold the rows in answers of AuthForge and better-auth.
const PAGES: [&str; 2] = ["licenses", "apiKeys"];

/// A reader of rows.
pub(super) struct JsonRows {
    name: String,
    reader: Box<dyn BufRead>,
    columns: Columns,
    line: u64,
    text: Vec<u8>,
    /// The rows of the line that were not returned yet.
    waiting: VecDeque<Row>,
}

impl JsonRows {
    pub(super) fn new(reader: BufReader<File>, name: &str, columns: Columns) -> Self {
        Self::from_reader(Box::new(reader), name, columns)
    }

    fn from_reader(reader: Box<dyn BufRead>, name: &str, columns: Columns) -> Self {
        Self {
            name: name.to_owned(),
            reader,
            columns,
            line: 0,
            text: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Returns the next row; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Row>, Error> {
        loop {
            if let Some(row) = self.waiting.pop_front() {
                return Ok(Some(row));
            }
            if !self.advance()? {
                return Ok(None);
            }
            self.read_line();
        }
    }

    pub(super) fn not_taken(&self) -> &BTreeSet<String> {
        &self.columns.not_taken
    }

    /// Reads the next line; `false` at the end.
    fn advance(&mut self) -> Result<bool, Error> {
        self.text.clear();
        self.line += 1;
        let mut bounded = (&mut self.reader).take(MAX_LINE + 1);
        let read = bounded.read_until(b'\n', &mut self.text);
        let length = read.map_err(|error| unreadable(&self.name, &error))?;
        let content = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        if content.len() as u64 > MAX_LINE {
            return Err(Error::No(format!(
                "{}:{}: the line has more than {MAX_LINE} bytes: write each row on a line of its own, as `jq -c '.[]'` does",
                self.name, self.line
            )));
        }
        if self.line == 1 && self.text.starts_with(BOM) {
            self.text.drain(..BOM.len());
        }
        Ok(length > 0)
    }

    /// Puts the rows of the line among those that wait.
    fn read_line(&mut self) {
        let (mut items, mut broken, mut repeated) = (Vec::new(), None, None);
        let mut values = Deserializer::from_slice(&self.text).into_iter::<Value>();
        let mut from = 0;
        while let Some(value) = values.next() {
            let through = values.byte_offset();
            match value {
                Ok(value) => {
                    unfold(value, &mut items);
                    let text = self.text.get(from..through).unwrap_or_default();
                    repeated = repeated.or_else(|| model::repeated_member(text));
                }
                Err(error) => broken = Some(error.column()),
            }
            from = through;
        }
        if let Some(name) = repeated {
            // Which of the values was meant is not known, nor which rows they made.
            let reason = "it is there twice on this line: leave one of them out";
            let place = Place {
                line: self.line,
                item: None,
            };
            let fields = Err(Wrong::of(&columns::name_or_key(&name), reason));
            self.waiting.push_back(Row { place, fields });
            return;
        }
        let several = items.len() > 1;
        for (at, item) in items.into_iter().enumerate() {
            let place = Place {
                line: self.line,
                item: several.then_some(at + 1),
            };
            let fields = fields(&mut self.columns, item);
            self.waiting.push_back(Row { place, fields });
        }
        if let Some(column) = broken {
            let reason = format!(
                "it is no JSON from character {column} on: write each row as an object on a line of its own, as `jq -c` does"
            );
            let place = Place {
                line: self.line,
                item: None,
            };
            let fields = Err(Wrong::of("row", reason));
            self.waiting.push_back(Row { place, fields });
        }
    }
}

/// Adds the rows that a value is or holds.
fn unfold(value: Value, items: &mut Vec<Value>) {
    match value {
        Value::Array(rows) => items.extend(rows),
        Value::Object(mut object) => {
            for name in PAGES {
                if let Some(Value::Array(rows)) = object.get_mut(name) {
                    items.append(rows);
                    return;
                }
            }
            items.push(Value::Object(object));
        }
        other => items.push(other),
    }
}

/// Reads the fields of a row.
fn fields(columns: &mut Columns, item: Value) -> Result<Fields, Wrong> {
    let Value::Object(members) = item else {
        let reason = "write an object, such as {\"key\": \"…\"}".to_owned();
        return Err(Wrong::of("row", reason));
    };
    let mut row = Fields::new();
    for (name, value) in members {
        let column = columns.find(&name)?;
        columns.add(&mut row, &name, column, value)?;
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the places of rows with their keys, or with what is wrong.
    fn read(text: &'static str) -> Vec<(String, String)> {
        let reader = Box::new(text.as_bytes());
        let mut rows = JsonRows::from_reader(reader, "FILE", Columns::default());
        let mut seen = Vec::new();
        while let Some(row) = rows.next().expect("memory") {
            let shown = match row.fields {
                Ok(fields) => fields["key"].as_str().unwrap_or_default().to_owned(),
                Err(wrong) => format!("{}: {}", wrong.field, wrong.reason),
            };
            seen.push((row.place.to_string(), shown));
        }
        seen
    }

    #[test]
    fn rows_and_answers_with_many_rows_are_read_line_by_line() {
        let text = concat!(
            "\u{feff}{\"key\":\"k1\"}\n",
            "\r\n",
            "{\"licenses\":[{\"licenseKey\":\"k2\",\"appId\":\"a\"},{\"licenseKey\":\"k3\"}],\"cursor\":null}",
            "{\"licenses\":[],\"cursor\":null}\n",
            "[{\"key\":\"k4\"}]",
        );
        let of = |place: &str, key: &str| (place.to_owned(), key.to_owned());
        let expected = [
            of("1", "k1"),
            of("3 (item 1)", "k2"),
            of("3 (item 2)", "k3"),
            of("4", "k4"),
        ];
        assert_eq!(read(text), expected);
    }

    #[test]
    fn a_line_with_a_member_that_is_there_twice_makes_no_row() {
        let text = concat!(
            "{\"key\":\"k1\",\"label\":\"a\",\"label\":\"b\"}\n",
            "{\"key\":\"k2\"}{\"key\":\"k3\",\"variables\":{\"x\":1,\"x\":2}}\n",
            "{\"key\":\"k4\"}{\"key\":\"k5\"}\n",
        );
        let seen = read(text);
        let twice = ": it is there twice on this line: leave one of them out";
        assert_eq!(seen[0], ("1".to_owned(), format!("label{twice}")));
        assert_eq!(seen[1], ("2".to_owned(), format!("x{twice}")));
        let keys: Vec<_> = seen[2..].iter().map(|(_, key)| key.as_str()).collect();
        assert_eq!(keys, ["k4", "k5"]);
    }

    #[test]
    fn a_line_may_have_16_mib_and_no_more() {
        let most = usize::try_from(MAX_LINE).expect("it fits");
        for (length, end, fits) in [(most, "\n", true), (most, "", true), (most + 1, "", false)] {
            let row = "{\"key\":\"k1\"}";
            let mut text = format!("{row}{}{end}", " ".repeat(length - row.len()));
            text.push_str("{\"key\":\"k2\"}");
            if end.is_empty() {
                text.truncate(length);
            }
            let reader = Box::new(std::io::Cursor::new(text));
            let mut rows = JsonRows::from_reader(reader, "FILE", Columns::default());
            assert_eq!(rows.next().is_ok(), fits, "{length} {end:?}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_does_not_hide_the_next() {
        let seen = read("{\"key\":\"k1\"\n7\n{\"colour\":1}\n{\"key\":\"k2\"}\n");
        let places: Vec<_> = seen.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["1", "2", "3", "4"]);
        assert!(seen[0].1.starts_with("row: it is no JSON"), "{seen:?}");
        assert!(seen[1].1.starts_with("row: write an object"), "{seen:?}");
        assert!(seen[2].1.starts_with("colour: "), "{seen:?}");
        assert_eq!(seen[3].1, "k2");
    }
}
