//! Errors of the TOML parser in words of this program: what is wrong and what to write.

use crate::error::{Problem, line_and_column};
use crate::value::clip;

/// Returns the problem of a text that is not TOML.
pub(crate) fn problem(text: &str, error: &toml::de::Error) -> Problem {
    let at = error.span().map_or(0, |span| span.start);
    let reason = error.message().trim().replace('\n', ", ");
    let message = match reason.as_str() {
        "duplicate key" => duplicate(text, at),
        reason if reason.starts_with("string values must be quoted") => {
            "this is a text without quotes: write it in quotes, such as \"gate-1\"".to_owned()
        }
        reason if reason.starts_with("unclosed table") => {
            "the head of this table has no end: write such as [server], or [[app]]".to_owned()
        }
        reason if reason.starts_with("unclosed array") => {
            "this list has no end: close it with `]`".to_owned()
        }
        reason
            if reason.starts_with("invalid basic string")
                || reason.starts_with("invalid literal string") =>
        {
            "this text has no end: close it with the quote that it begins with, on the same line"
                .to_owned()
        }
        reason if reason.contains("expected `=`") || reason.contains("expected `.`, `=`") => {
            "this is no key with a value: write such as `threads = 4`".to_owned()
        }
        reason => format!(
            "this is no TOML ({reason}): write keys as `key = value`, texts in quotes, and lists in `[` and `]`"
        ),
    };
    Problem { at, message }
}

/// Returns the message for a key or table that stands a second time.
fn duplicate(text: &str, at: usize) -> String {
    let (line, _) = line_and_column(text, at);
    let lines: Vec<&str> = text.lines().collect();
    let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let own = name(lines.get(line - 1).copied().unwrap_or_default());
    let is_table = own.starts_with('[');
    let before = lines.iter().take(line - 1).enumerate().rev();
    let same_table = before.take_while(|(_, line)| is_table || !line.trim_start().starts_with('['));
    let first = same_table.into_iter().find(|(_, line)| name(line) == own);
    let first = first.map_or(String::new(), |(number, _)| {
        format!(", first on line {}", number + 1)
    });
    format!(
        "`{}` stands here a second time{first}: write it once, with all that it is to have",
        clip(&own)
    )
}
