//! The columns of a file of licenses: their names here and in other systems, and how their values
//! are read.

use std::collections::BTreeSet;

use model::{Credential, cli};
use serde_json::Value;

use super::row::{Fields, Wrong};

/// The form of the values of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Number,
    Truth,
    /// Texts; in CSV with semicolons between them.
    List,
    Object,
}

/// A column that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// It is this field.
    Field(&'static str),
    /// It says by yes or no whether the license may be used.
    Enabled,
    /// It has no field here. Its values are not taken.
    NotTaken,
}

/// A reader of rows by their columns. It remembers which columns had values that were not taken.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// Whether keys are given by their SHA-256.
    pub(super) hashed: bool,
    /// The columns that had values and have no field here.
    pub(super) not_taken: BTreeSet<String>,
}

/// The fields of a row with the forms of their values.
const FIELDS: [(&str, Form); 17] = [
    ("key", Form::Text),
    ("key_sha256", Form::Text),
    ("devices", Form::List),
    ("device_slots", Form::Number),
    ("unlimited_devices", Form::Truth),
    ("expires_at", Form::Text),
    ("label", Form::Text),
    ("user", Form::Text),
    ("plan", Form::Text),
    ("remaining", Form::Number),
    ("status", Form::Text),
    ("variables", Form::Object),
    ("refill", Form::Text),
    ("rate_limits", Form::List),
    ("concurrency", Form::Number),
    ("permissions", Form::List),
    ("allow_ips", Form::List),
];

/// Names that fields have in AuthForge and better-auth, [folded], where they are others.
const ALIASES: [(&str, &str); 7] = [
    ("licensekey", "key"),
    ("hwidlist", "devices"),
    ("maxhwidslots", "device_slots"),
    ("unlimitedhwidslots", "unlimited_devices"),
    ("name", "label"),
    ("userid", "user"),
    ("referenceid", "user"),
];

/// Columns of AuthForge and better-auth that have no field here, [folded].
const NOT_TAKEN: [&str; 17] = [
    "appid",
    "configid",
    "createdat",
    "hwidcount",
    "id",
    "lastrefillat",
    "lastrequest",
    "metadata",
    "prefix",
    "ratelimitenabled",
    "ratelimitmax",
    "ratelimittimewindow",
    "refillamount",
    "refillinterval",
    "requestcount",
    "start",
    "updatedat",
];

impl Columns {
    /// Returns the column of this name, in whatever spelling: `expires_at`, `expiresAt`.
    ///
    /// # Errors
    /// There is no such column; the reason names those that there are.
    pub(super) fn find(&self, name: &str) -> Result<Column, Wrong> {
        let text = folded(name);
        let alias = ALIASES.iter().find(|(alias, _)| *alias == text);
        let wanted = alias.map_or(text.as_str(), |(_, field)| field);
        let field = FIELDS
            .iter()
            .find(|(field, _)| folded(field) == folded(wanted));
        match field {
            Some(("key", _)) if self.hashed => Ok(Column::Field("key_sha256")),
            Some((field, _)) => Ok(Column::Field(field)),
            None if text == "enabled" => Ok(Column::Enabled),
            None if NOT_TAKEN.contains(&text.as_str()) => Ok(Column::NotTaken),
            None => Err(Wrong::of(
                &name_or_key(name),
                format!(
                    "there is no such column, take it out or use one of {}",
                    known()
                ),
            )),
        }
    }

    /// Adds the value of a cell of CSV to a row; an empty cell is no value.
    ///
    /// # Errors
    /// The value cannot be read, or another column said the same.
    pub(super) fn add_cell(
        &mut self,
        row: &mut Fields,
        name: &str,
        column: Column,
        cell: &str,
    ) -> Result<(), Wrong> {
        if cell.is_empty() {
            return Ok(());
        }
        let form = match column {
            Column::Field(field) => form_of(field),
            Column::Enabled => Form::Truth,
            Column::NotTaken => Form::Text,
        };
        let value = of_cell(form, cell).map_err(|reason| Wrong::of(name, reason))?;
        self.add(row, name, column, value)
    }

    /// Adds a value to a row; `null` is no value.
    ///
    /// # Errors
    /// The value cannot be used, or another column said the same.
    pub(super) fn add(
        &mut self,
        row: &mut Fields,
        name: &str,
        column: Column,
        value: Value,
    ) -> Result<(), Wrong> {
        if value.is_null() {
            return Ok(());
        }
        let (field, value) = match (column, value) {
            (Column::NotTaken, _) => {
                self.not_taken.insert(name.to_owned());
                return Ok(());
            }
            (Column::Enabled, value) => match truth(&value) {
                Some(enabled) => ("status", if enabled { "active" } else { "disabled" }.into()),
                None => return Err(Wrong::of(name, "write true or false")),
            },
            // What AuthForge calls revoked can be taken back, and is called disabled here.
            (Column::Field("status"), Value::String(word)) if word.trim() == "revoked" => {
                ("status", "disabled".into())
            }
            (Column::Field("status"), Value::String(word))
                if !["active", "disabled"].contains(&word.trim()) =>
            {
                let reason = "write active, disabled or revoked, which is disabled here";
                return Err(Wrong::of(name, reason));
            }
            (Column::Field(field), Value::String(text)) => (field, text.trim().into()),
            (Column::Field(field), value) if form_of(field) == Form::Truth => {
                (field, truth(&value).map_or(value, Value::Bool))
            }
            (Column::Field(field), value) => (field, value),
        };
        if row.contains_key(field) {
            let reason = "another column says this, too: leave one of them out";
            return Err(Wrong::of(name, reason));
        }
        row.insert(field.to_owned(), value);
        Ok(())
    }
}

fn form_of(field: &str) -> Form {
    let found = FIELDS.iter().find(|(name, _)| *name == field);
    found.map_or(Form::Text, |(_, form)| *form)
}

/// Returns the names of the columns that there are.
pub(super) fn known() -> String {
    FIELDS.map(|(name, _)| name).join(", ")
}

/// Returns a name of a column in small letters, without what stands between its words.
fn folded(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    letters.flat_map(char::to_lowercase).collect()
}

/// Reads a cell of CSV.
fn of_cell(form: Form, cell: &str) -> Result<Value, String> {
    match form {
        Form::Text => Ok(cell.into()),
        Form::Number => cli::whole::<u64>(cell).map(Value::from),
        Form::Truth => {
            let value = truth(&cell.into()).ok_or("write true or false")?;
            Ok(value.into())
        }
        Form::List if cell.starts_with('[') => {
            let read = serde_json::from_str::<Vec<String>>(cell);
            read.map(Value::from)
                .map_err(|_| "write the texts with a `;` between them".to_owned())
        }
        Form::List => {
            let items = cell.split(';').map(str::trim);
            Ok(items.filter(|item| !item.is_empty()).collect())
        }
        Form::Object => {
            if let Some(name) = model::repeated_member(cell.as_bytes()) {
                return Err(format!("`{name}` is there twice: leave one of them out"));
            }
            let read = serde_json::from_str::<Fields>(cell);
            read.map(Value::from)
                .map_err(|_| "write an object of JSON, such as {\"tier\": \"pro\"}".to_owned())
        }
    }
}

/// Reads a truth value as databases write it, too.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) => match number.as_u64() {
            Some(number @ 0..=1) => Some(number == 1),
            _ => None,
        },
        Value::String(word) => match word.to_lowercase().as_str() {
            "true" | "1" | "yes" | "t" => Some(true),
            "false" | "0" | "no" | "f" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Returns a text that stands where the name of a column should, whole if it looks like one: where
/// the header is missing, it is a key.
pub(super) fn name_or_key(text: &str) -> String {
    let is_word = |byte: u8| byte.is_ascii_alphabetic() || b"_- ".contains(&byte);
    let is_name = text.len() <= 32
        && text.bytes().all(is_word)
        && text.bytes().any(|byte| byte.is_ascii_lowercase());
    match is_name {
        true => text.to_owned(),
        false => model::beginning(text),
    }
}

/// Takes out of a message each text of a row that may be a key, but for its beginning: a key may
/// stand in any column.
pub(super) fn without_keys(message: &str, row: &Fields) -> String {
    let lists = row.values().filter_map(Value::as_array).flatten();
    let texts = row.values().chain(lists).filter_map(Value::as_str);
    let mut message = model::masked(message).into_owned();
    for text in texts.filter(|text| may_be_key(text)) {
        message = message.replace(text, &model::beginning(text));
    }
    message
}

/// Returns whether a text may be a key rather than a word or a time.
fn may_be_key(text: &str) -> bool {
    let is_word = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || b"_-".contains(&byte));
    let of_time = |byte: u8| byte.is_ascii_digit() || b":-.+TZ ".contains(&byte);
    let is_time = text.contains(['-', ':']) && text.bytes().all(of_time);
    Credential::parse(text).is_ok() && !is_word && !is_time
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(cells: &[(&str, &str)]) -> Result<Value, Wrong> {
        let mut columns = Columns::default();
        let mut row = Fields::new();
        for (name, cell) in cells {
            let column = columns.find(name)?;
            columns.add_cell(&mut row, name, column, cell)?;
        }
        Ok(row.into())
    }

    #[test]
    fn every_field_of_a_row_is_a_column() {
        let mut columns = FIELDS.map(|(name, _)| name).to_vec();
        let mut fields = api_types::ImportRow::field_names();
        columns.sort_unstable();
        fields.sort_unstable();
        assert_eq!(columns, fields);
    }

    #[test]
    fn cells_are_read_in_the_form_of_their_fields_and_in_the_words_of_other_systems() {
        let authforge = read(&[
            ("licenseKey", " A3K9-BFWX-7NP2-QHDT "),
            ("hwidList", "a; b;"),
            ("maxHwidSlots", "3"),
            ("unlimitedHwidSlots", "FALSE"),
            ("expiresAt", ""),
            ("status", "revoked"),
        ]);
        let expected = json!({
            "key": "A3K9-BFWX-7NP2-QHDT", "devices": ["a", "b"], "device_slots": 3,
            "unlimited_devices": false, "status": "disabled",
        });
        assert_eq!(authforge, Ok(expected));
        let better_auth = read(&[("name", "n"), ("enabled", "0"), ("user_id", "u")]);
        let expected = json!({"label": "n", "status": "disabled", "user": "u"});
        assert_eq!(better_auth, Ok(expected));
        let lists = read(&[
            ("devices", r#"["a;b"]"#),
            ("variables", r#"{"tier":"pro"}"#),
        ]);
        let expected = json!({"devices": ["a;b"], "variables": {"tier": "pro"}});
        assert_eq!(lists, Ok(expected));
        for (name, cell) in [
            ("remaining", "-1"),
            ("device_slots", "three"),
            ("unlimited_devices", "perhaps"),
            ("enabled", "2"),
            ("devices", "[1]"),
            ("status", "banned"),
            ("variables", "pro"),
        ] {
            let wrong = read(&[(name, cell)]).expect_err(name);
            assert_eq!(wrong.field, name);
            assert!(wrong.reason.contains("write "), "{wrong:?}");
        }
        let twice = read(&[("variables", r#"{"seats":1,"seats":2}"#)]).expect_err("twice");
        assert!(twice.reason.contains("`seats` is there twice"), "{twice:?}");
        let twice = read(&[("label", "a"), ("name", "b")]).expect_err("twice");
        assert!(twice.reason.contains("another column"), "{twice:?}");
    }

    #[test]
    fn an_unknown_column_is_named_unless_it_may_be_a_key() {
        let wrong = read(&[("colour", "")]).expect_err("unknown");
        assert_eq!(wrong.field, "colour");
        assert!(wrong.reason.contains("key_sha256, devices"), "{wrong:?}");
        let wrong = read(&[("legacy-key-0001", "")]).expect_err("unknown");
        assert_eq!(wrong.field, "lega…");
    }

    #[test]
    fn a_key_in_another_column_is_not_said_again() {
        let row =
            json!({"plan": "Old-Key-0001", "label": "enterprise", "expires_at": "2026-13-01"});
        let row = row.as_object().expect("an object");
        let message = "`Old-Key-0001`, `enterprise`, `2026-13-01`";
        assert_eq!(
            without_keys(message, row),
            "`Old-…`, `enterprise`, `2026-13-01`"
        );
    }

    #[test]
    fn what_has_no_field_is_remembered_where_it_has_a_value() {
        let mut columns = Columns {
            hashed: true,
            ..Columns::default()
        };
        let mut row = Fields::new();
        for (name, value) in [
            ("createdAt", json!("2026-01-01")),
            ("metadata", json!(null)),
            ("key", json!("ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0")),
        ] {
            let column = columns.find(name).expect("known");
            columns.add(&mut row, name, column, value).expect("read");
        }
        assert_eq!(columns.not_taken.iter().collect::<Vec<_>>(), ["createdAt"]);
        assert!(row.contains_key("key_sha256") && row.len() == 1, "{row:?}");
    }
}
