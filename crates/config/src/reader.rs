//! A reader of a parsed file, table by table and key by key. It collects every problem with its
//! place instead of stopping at the first.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use model::RateLimit;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::bytes::ByteSize;
use crate::duration::Millis;
use crate::environment::{SubstituteError, check_url, substitute};
use crate::error::{Problem, line_and_column};
use crate::unsupported;
use crate::value::{FromValue, clip};

type Value<'r> = Spanned<DeValue<'r>>;

/// A file that is being read, with its problems so far.
pub(crate) struct Reader<'r> {
    text: &'r str,
    directory: &'r Path,
    env: &'r dyn Fn(&str) -> Option<String>,
    problems: RefCell<Vec<Problem>>,
}

/// A table of the file. A missing one has every key at its default.
pub(crate) struct Section<'r> {
    reader: &'r Reader<'r>,
    /// The table's name in messages: `[server]`.
    title: &'static str,
    table: Option<&'r DeTable<'r>>,
    at: usize,
    known: RefCell<Vec<&'static str>>,
}

/// A value and its offset in the file.
#[derive(Clone, Debug)]
pub(crate) struct Located<T> {
    pub(crate) at: usize,
    pub(crate) value: T,
}

impl<'r> Reader<'r> {
    pub(crate) fn new(
        text: &'r str,
        directory: &'r Path,
        env: &'r dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self {
            text,
            directory,
            env,
            problems: RefCell::default(),
        }
    }

    pub(crate) fn report(&self, at: usize, message: impl Into<String>) {
        let message = message.into();
        self.problems.borrow_mut().push(Problem { at, message });
    }

    /// Returns whether nothing was reported so far.
    pub(crate) fn has_no_problems(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    pub(crate) fn line(&self, at: usize) -> usize {
        line_and_column(self.text, at).0
    }

    /// Resolves a path of the file: relative ones count from the folder of the file.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    pub(crate) fn root(&'r self, table: &'r DeTable<'r>) -> Section<'r> {
        Section::new(self, "the file", Some(table), 0)
    }

    /// Reads a value that is not a list or table.
    fn scalar<T: FromValue>(&self, key: &str, value: &Value<'_>) -> Option<T> {
        let at = value.span().start;
        let parsed = match value.get_ref() {
            DeValue::String(raw) => self.text_value(key, value, raw)?,
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .ok()
                .and_then(T::from_integer),
            DeValue::Boolean(flag) => T::from_boolean(*flag).map(Ok),
            _ => None,
        };
        match parsed {
            Some(Ok(parsed)) => return Some(parsed),
            Some(Err(message)) => self.report(at, format!("{key}: {message}")),
            None => self.wrong_type(key, value, T::EXPECTED),
        }
        None
    }

    /// Parses a string value. A value from the environment may be a secret: then the message is
    /// that of the raw text, which is wrong in the same way for want of its value.
    fn text_value<T: FromValue>(
        &self,
        key: &str,
        value: &Value<'_>,
        raw: &str,
    ) -> Option<Option<Result<T, String>>> {
        let checked = if T::IS_URL {
            check_url(raw, self.env)
        } else {
            Ok(())
        };
        let text = match checked.and_then(|()| substitute(raw, self.env)) {
            Ok(text) => text,
            Err(error) => {
                self.report(self.place_of(value, &error), format!("{key}: {error}"));
                return None;
            }
        };
        if !T::IS_TEXT && matches!(text, Cow::Borrowed(_)) {
            return Some(None);
        }
        let parsed = T::from_text(&text).map(|parsed| {
            parsed.map_err(|message| match T::from_text(raw) {
                _ if text == raw => message,
                Some(Err(message)) => message,
                _ => format!("the value of `{raw}` is not {}", T::EXPECTED),
            })
        });
        Some(parsed)
    }

    /// Returns the place within a value where a variable is named, as far as the text shows it.
    fn place_of(&self, value: &Value<'_>, error: &SubstituteError) -> usize {
        let span = value.span();
        let name = match error {
            SubstituteError::Missing(name)
            | SubstituteError::Unknown(name, _)
            | SubstituteError::Unencoded(name) => format!("${{{name}"),
            SubstituteError::Malformed => "${".to_owned(),
        };
        let written = self.text.get(span.clone()).unwrap_or_default();
        span.start + written.find(&name).unwrap_or(0)
    }

    fn wrong_type(&self, key: &str, value: &Value<'_>, expected: &str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.report(
            value.span().start,
            format!("{key}: {found} is not allowed here: write {expected}"),
        );
    }
}

impl<'r> Section<'r> {
    fn new(
        reader: &'r Reader<'r>,
        title: &'static str,
        table: Option<&'r DeTable<'r>>,
        at: usize,
    ) -> Self {
        Self {
            reader,
            title,
            table,
            at,
            known: RefCell::default(),
        }
    }

    pub(crate) fn reader(&self) -> &'r Reader<'r> {
        self.reader
    }

    fn get(&self, key: &'static str) -> Option<&'r Value<'r>> {
        self.known.borrow_mut().push(key);
        self.table?.get(key)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    pub(crate) fn is_empty_list(&self, key: &str) -> bool {
        let value = self.table.and_then(|table| table.get(key));
        value.is_some_and(|value| {
            value
                .get_ref()
                .as_array()
                .is_some_and(|items| items.is_empty())
        })
    }

    /// Returns the place of the value of a key of one of its tables, or of the table, or of the
    /// file.
    pub(crate) fn at_within(&self, table: &str, key: &str) -> usize {
        let value = self.table.and_then(|root| root.get(table));
        let inner = value.and_then(|value| value.get_ref().as_table()?.get(key));
        inner.or(value).map_or(0, |value| value.span().start)
    }

    /// Returns the place of the value of a key, or of the table if the key is not there.
    pub(crate) fn at(&self, key: &str) -> usize {
        let value = self.table.and_then(|table| table.get(key));
        value.map_or(self.at, |value| value.span().start)
    }

    pub(crate) fn report(&self, at: usize, message: impl Into<String>) {
        self.reader.report(at, message);
    }

    pub(crate) fn optional<T: FromValue>(&self, key: &'static str) -> Option<T> {
        self.reader.scalar(key, self.get(key)?)
    }

    pub(crate) fn value<T: FromValue>(&self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// Reads a key whose empty string means that there is no value.
    pub(crate) fn unless_empty<T: FromValue>(&self, key: &'static str) -> Option<T> {
        let value = self.get(key)?;
        let is_empty =
            |text: &str| substitute(text, self.reader.env).is_ok_and(|text| text.is_empty());
        match value.get_ref() {
            DeValue::String(text) if is_empty(text) => None,
            _ => self.reader.scalar(key, value),
        }
    }

    pub(crate) fn required<T: FromValue>(&self, key: &'static str) -> Option<T> {
        let value = self.get(key);
        if value.is_none() {
            self.missing(key, T::EXPECTED);
        }
        self.reader.scalar(key, value?)
    }

    pub(crate) fn missing(&self, key: &str, expected: &str) {
        self.report(
            self.at,
            format!("{} lacks `{key}`: write {expected}", self.title),
        );
    }

    /// Reads a whole number within a range.
    pub(crate) fn number(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        self.optional_number(key, range).unwrap_or(default)
    }

    pub(crate) fn optional_number(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let number: i128 = self.optional(key)?;
        let valid = u64::try_from(number)
            .ok()
            .filter(|number| range.contains(number));
        if valid.is_none() {
            let (min, max) = (range.start(), range.end());
            let message = if *max == MAX_NUMBER {
                format!("{key}: {number} is not allowed here: write {min} or more")
            } else {
                format!("{key}: {number} is not allowed here: write {min} to {max}")
            };
            self.report(self.at(key), message);
        }
        valid
    }

    /// Reads a length of time that is not zero.
    pub(crate) fn timeout(&self, key: &'static str, default: Millis) -> Millis {
        let time = self.value(key, default);
        if time.is_zero() {
            let message =
                format!("{key}: 0 is not allowed here: write a time such as \"{default}\"");
            self.report(self.at(key), message);
        }
        time
    }

    /// Reads a size within a range.
    pub(crate) fn size(
        &self,
        key: &'static str,
        range: RangeInclusive<ByteSize>,
        default: ByteSize,
    ) -> ByteSize {
        let size = self.value(key, default);
        if !range.contains(&size) {
            let (min, max) = (range.start(), range.end());
            let message = format!("{key}: {size} is not allowed here: write {min} to {max}");
            self.report(self.at(key), message);
        }
        size
    }

    /// Reads a list with the place of each item; `None` where the key is not there.
    pub(crate) fn located<T: FromValue>(&self, key: &'static str) -> Option<Vec<Located<T>>> {
        let value = self.get(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            let expected = format!("a list, each item {}", T::EXPECTED);
            self.reader.wrong_type(key, value, &expected);
            return None;
        };
        let item = |item: &Value<'r>| {
            let at = item.span().start;
            let value = self.reader.scalar(key, item)?;
            Some(Located { at, value })
        };
        Some(items.iter().filter_map(item).collect())
    }

    pub(crate) fn list<T: FromValue>(&self, key: &'static str, default: Vec<T>) -> Vec<T> {
        self.located(key).map_or(default, values)
    }

    /// Reads rate windows, and checks that all can hold at once.
    pub(crate) fn windows(&self, key: &'static str, default: Vec<RateLimit>) -> Vec<RateLimit> {
        let Some(located) = self.located::<RateLimit>(key) else {
            return default;
        };
        let places: Vec<usize> = located.iter().map(|window| window.at).collect();
        let windows = values(located);
        if let Err((at, reason)) = RateLimit::check_together(&windows) {
            self.report(places[at], format!("{key}: {reason}"));
        }
        windows
    }

    /// Reads a list, or one value alone.
    pub(crate) fn one_or_list<T: FromValue>(&self, key: &'static str) -> Vec<T> {
        match self.get(key).map(Spanned::get_ref) {
            Some(DeValue::Array(_)) => self.list(key, Vec::new()),
            _ => self.unless_empty(key).into_iter().collect(),
        }
    }

    /// Reads keys that the file may choose freely, with their values.
    pub(crate) fn entries<T: FromValue>(&self) -> Vec<(Located<&'r str>, Option<T>)> {
        let Some(table) = self.table else {
            return Vec::new();
        };
        let entry = |(key, value): (&'r Spanned<_>, _)| {
            let name: &'r Cow<'r, str> = key.get_ref();
            let located = Located {
                at: key.span().start,
                value: name.as_ref(),
            };
            (located, self.reader.scalar(name, value))
        };
        table.iter().map(entry).collect()
    }

    /// Returns a table within this one; an empty one if it is not there.
    pub(crate) fn section(&self, key: &'static str, title: &'static str) -> Section<'r> {
        self.optional_section(key, title)
            .unwrap_or_else(|| Section::new(self.reader, title, None, self.at))
    }

    pub(crate) fn optional_section(
        &self,
        key: &'static str,
        title: &'static str,
    ) -> Option<Section<'r>> {
        let value = self.get(key)?;
        self.as_section(key, title, value)
    }

    /// Returns the tables of an array of tables.
    pub(crate) fn sections(&self, key: &'static str, title: &'static str) -> Vec<Section<'r>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            self.reader
                .wrong_type(key, value, &format!("tables headed `{title}`"));
            return Vec::new();
        };
        let item = |item| self.as_section(key, title, item);
        items.iter().filter_map(item).collect()
    }

    fn as_section(
        &self,
        key: &str,
        title: &'static str,
        value: &'r Value<'r>,
    ) -> Option<Section<'r>> {
        let at = value.span().start;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(self.reader, title, Some(table), at)),
            _ => {
                self.reader
                    .wrong_type(key, value, &format!("a table headed `{title}`"));
                None
            }
        }
    }

    /// Reports every key that was not read.
    pub(crate) fn finish(self) {
        let mut known = self.known.into_inner();
        known.sort_unstable();
        for (key, _) in self.table.into_iter().flat_map(DeTable::iter) {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            if let Some(message) = unsupported::message_for(self.title, name) {
                self.reader.report(key.span().start, message);
                continue;
            }
            let hint = nearest(name, &known).map(|near| format!(", did you mean `{near}`"));
            let message = format!(
                "unknown key `{}` in {}{}: allowed are {}",
                clip(name),
                self.title,
                hint.unwrap_or_default(),
                known.join(", ")
            );
            self.reader.report(key.span().start, message);
        }
    }
}

/// The upper end of a range of numbers that only the type bounds.
pub(crate) const MAX_NUMBER: u64 = i64::MAX as u64;

/// Returns the values without their places.
pub(crate) fn values<T>(located: Vec<Located<T>>) -> Vec<T> {
    located.into_iter().map(|item| item.value).collect()
}

/// Returns the known word that takes the fewest changed characters, if these are few.
fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    let near = |known: &&'static str| {
        let distance = distance(word.as_bytes(), known.as_bytes());
        (distance <= known.len() / 3).then_some((distance, *known))
    };
    let bounded = word.len() <= 64;
    known
        .iter()
        .filter(|_| bounded)
        .filter_map(near)
        .min()
        .map(|(_, known)| known)
}

/// Returns the Levenshtein distance.
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(a != b))
                .min(above + 1)
                .min(row[j] + 1);
            diagonal = above;
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_only_if_it_is_near() {
        let known = ["listen", "threads", "node"];
        assert_eq!(nearest("listn", &known), Some("listen"));
        assert_eq!(nearest("thread", &known), Some("threads"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
