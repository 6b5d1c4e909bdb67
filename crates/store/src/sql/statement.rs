//! Statements, written once in a form that both engines understand.
//!
//! The form is PostgreSQL's: parameters are `$1`, `$2` …, in any order and as often as needed. For
//! SQLite it is translated once: parameters become `?1`, locks of rows (`FOR UPDATE` and its kin)
//! and casts (`::bigint`) go, since the one writer needs no lock and columns say their types;
//! `least` and `greatest` become `min` and `max`, which are NULL if one argument is (PostgreSQL's
//! are not), so a column that may be NULL needs a `coalesce`; `COLLATE "C"` goes, which is SQLite's
//! order; lists (`= ANY ($1)`) are read from JSON. What cannot be said in both has two texts.

use std::sync::{Arc, OnceLock};

/// The engine that a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// SQLite: one writer at a time.
    Sqlite,
    /// PostgreSQL: transactions run beside each other.
    Postgres,
}

/// A statement in the forms of both engines.
#[derive(Debug)]
pub(crate) struct Statement {
    postgres: String,
    sqlite: String,
    /// The names of its columns, once they are known.
    names: OnceLock<Names>,
}

/// The names of columns, for messages.
pub(crate) type Names = Arc<[String]>;

impl Statement {
    /// Makes a statement of a text that both engines understand, as the module says.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let postgres = text.into();
        let sqlite = for_sqlite(&postgres);
        Self {
            postgres,
            sqlite,
            names: OnceLock::new(),
        }
    }

    /// Makes a statement of one text for each engine. That for SQLite is translated too.
    pub(crate) fn of_each(postgres: impl Into<String>, sqlite: impl AsRef<str>) -> Self {
        Self {
            postgres: postgres.into(),
            sqlite: for_sqlite(sqlite.as_ref()),
            names: OnceLock::new(),
        }
    }

    /// Returns the names of its columns, which `read` tells the first time. They are those of the
    /// engine that was asked first, which only messages about unreadable columns show.
    pub(crate) fn names(&self, read: impl FnOnce() -> Vec<String>) -> Names {
        Arc::clone(self.names.get_or_init(|| read().into()))
    }

    /// Returns the text for an engine.
    pub(crate) fn text(&self, engine: Engine) -> &str {
        match engine {
            Engine::Sqlite => &self.sqlite,
            Engine::Postgres => &self.postgres,
        }
    }
}

/// Makes a [`Statement`] the first time that it is used, and returns it for ever after. The text may
/// name constants in braces, as for `format!`; `postgres: …, sqlite: …` gives each engine its own.
macro_rules! sql {
    (postgres: $postgres:literal, sqlite: $sqlite:literal $(,)?) => {{
        static STATEMENT: std::sync::LazyLock<$crate::sql::Statement> =
            std::sync::LazyLock::new(|| {
                $crate::sql::Statement::of_each(format!($postgres), format!($sqlite))
            });
        &*STATEMENT
    }};
    ($text:literal $(,)?) => {{
        static STATEMENT: std::sync::LazyLock<$crate::sql::Statement> =
            std::sync::LazyLock::new(|| $crate::sql::Statement::new(format!($text)));
        &*STATEMENT
    }};
}

pub(crate) use sql;

/// The words that SQLite does not know and does not need, longer ones first.
const NOT_NEEDED: [&str; 6] = [
    "FOR UPDATE SKIP LOCKED",
    "FOR SHARE SKIP LOCKED",
    "FOR NO KEY UPDATE",
    "FOR UPDATE",
    "FOR SHARE",
    "COLLATE \"C\"",
];

fn for_sqlite(text: &str) -> String {
    let mut text = text.to_owned();
    for word in NOT_NEEDED {
        text = text.replace(word, "");
    }
    text = lists(&text);
    text = text.replace("greatest(", "max(").replace("least(", "min(");
    let mut parts = text.split("::");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|letter: char| !letter.is_ascii_alphanumeric());
        let rest = &part[end.unwrap_or(part.len())..];
        plain.push_str(rest.strip_prefix("[]").unwrap_or(rest));
    }
    let mut letters = plain.chars().peekable();
    let mut translated = String::with_capacity(plain.len());
    while let Some(letter) = letters.next() {
        let is_parameter = letter == '$' && letters.peek().is_some_and(char::is_ascii_digit);
        translated.push(if is_parameter { '?' } else { letter });
    }
    translated
}

/// Translates lists: a parameter that is one is JSON, ids in hexadecimal digits.
fn lists(text: &str) -> String {
    let mut parts = text.split("= ANY (");
    let mut translated = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (list, rest) = part.split_once(')').unwrap_or((part, ""));
        let (list, value) = match list.strip_suffix("::uuid[]") {
            Some(list) => (list, "unhex(value)"),
            None => (list, "value"),
        };
        translated.push_str(&format!("IN (SELECT {value} FROM json_each({list})){rest}"));
    }
    translated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_translated_for_sqlite() {
        for (postgres, sqlite) in [
            (
                "SELECT a FROM t WHERE b = $1",
                "SELECT a FROM t WHERE b = ?1",
            ),
            ("SELECT a FROM t FOR UPDATE", "SELECT a FROM t "),
            (
                "DELETE FROM t WHERE a IN (SELECT a FROM t LIMIT $2 FOR UPDATE SKIP LOCKED)",
                "DELETE FROM t WHERE a IN (SELECT a FROM t LIMIT ?2 )",
            ),
            (
                "SELECT $1::text IS NULL, $2::bigint[], a::int",
                "SELECT ?1 IS NULL, ?2, a",
            ),
            (
                "SET a = greatest(a, least($1, b))",
                "SET a = max(a, min(?1, b))",
            ),
            ("a -> '$.b' = $12", "a -> '$.b' = ?12"),
            (
                "WHERE a = ANY ($1) AND b = ANY ($2::uuid[]) ORDER BY a",
                "WHERE a IN (SELECT value FROM json_each(?1)) AND b IN \
                 (SELECT unhex(value) FROM json_each(?2)) ORDER BY a",
            ),
            ("ORDER BY a COLLATE \"C\", b", "ORDER BY a , b"),
        ] {
            let statement = Statement::new(postgres);
            assert_eq!(statement.text(Engine::Postgres), postgres);
            assert_eq!(statement.text(Engine::Sqlite), sqlite);
        }
    }
}
