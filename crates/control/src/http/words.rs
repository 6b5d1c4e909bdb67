//! Translation of the messages of parsers into messages that say what to send.

/// Translates a parser's message into one that says what is wrong and what would work. Messages of
/// our own types are returned as they are.
pub(crate) fn in_words(message: &str) -> String {
    let message = without_place(message);
    // In a query, the parameter stands before a colon.
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let named = message.split_once(": ");
    match named.filter(|(name, _)| name.bytes().all(is_name)) {
        Some((name, rest)) => match translated(rest) {
            Some(words) => format!("{name}: {words}"),
            None => message.to_owned(),
        },
        None => translated(message).unwrap_or_else(|| message.to_owned()),
    }
}

fn translated(message: &str) -> Option<String> {
    missing(message)
        .or_else(|| repeated(message))
        .or_else(|| unknown(message))
        .or_else(|| wrong_value(message))
        .or_else(|| number_in_text(message))
}

/// Translates a message about text that is not JSON, with the place.
pub(crate) fn no_json(message: &str) -> String {
    let place = message.rfind(" at line ").map_or("", |at| &message[at..]);
    let what = if message.starts_with("EOF") {
        "the body ends in the middle"
    } else if message.starts_with("trailing characters") {
        "something stands behind the JSON object"
    } else if message.starts_with("invalid number") || message.starts_with("expected value") {
        "no JSON value stands"
    } else {
        "the body is no JSON"
    };
    format!("{what}{place}: send one JSON object, such as {{\"name\": \"value\"}}")
}

/// Returns a message without the place in the body, for where the field is named beside it.
fn without_place(message: &str) -> &str {
    message
        .rfind(" at line ")
        .map_or(message, |at| &message[..at])
}

fn missing(message: &str) -> Option<String> {
    let name = quoted(message.strip_prefix("missing field ")?)?;
    Some(format!("`{name}` is missing: send it"))
}

fn repeated(message: &str) -> Option<String> {
    let name = quoted(message.strip_prefix("duplicate field ")?)?;
    Some(format!("`{name}` is there twice: send it once"))
}

fn unknown(message: &str) -> Option<String> {
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let (word, expected) = rest.split_once(", expected ")?;
        let expected = expected.trim_start_matches("one of ");
        return Some(format!("{word} is not allowed here: send {expected}"));
    }
    let rest = message.strip_prefix("unknown field ")?;
    Some(match rest.split_once(", expected ") {
        Some((name, allowed)) => {
            let allowed = allowed.trim_start_matches("one of ");
            format!("{name} is not known here: leave it out, or send {allowed}")
        }
        None => format!(
            "{}: leave it out",
            rest.replace(", there are no fields", " is not known here")
        ),
    })
}

/// Translates messages such as `invalid type: string "5", expected u64`.
fn wrong_value(message: &str) -> Option<String> {
    let rest = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    let (is_number, expected) = wanted(expected);
    if let Some(text) = found.strip_prefix("string \"").filter(|_| is_number) {
        return Some(number_as_text(text.strip_suffix('"').unwrap_or(text)));
    }
    if let Some(number) = found.strip_prefix("integer `").filter(|_| is_number)
        && number.starts_with(|first: char| first.is_ascii_digit())
    {
        let number = number.trim_end_matches('`');
        return Some(format!(
            "{number} is more than is taken here: send a smaller whole number"
        ));
    }
    Some(format!(
        "{} is not allowed here: send {expected}",
        shown(found)
    ))
}

/// Returns the message for a number in quotes. One with a sign looks as if it were to be added, which
/// no field does.
fn number_as_text(text: &str) -> String {
    if text.starts_with(['+', '-']) {
        return "this sets the number and adds nothing: send the whole number that it is to be, without quotes, such as 1000".to_owned();
    }
    format!("\"{text}\" is a text: send a whole number without quotes, such as 1000")
}

/// Returns whether a number is expected, and the words for what is.
fn wanted(expected: &str) -> (bool, String) {
    let words = match expected {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "nonzero u32" | "nonzero u64" => {
            return (true, "a whole number in digits, 0 or more".to_owned());
        }
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => {
            return (true, "a whole number in digits".to_owned());
        }
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "a borrowed string" | "a character" | "str" => "a text in quotes",
        "a sequence" => "a list in `[` and `]`",
        "a map" => "an object in `{` and `}`",
        "unit" => "null",
        other if other.starts_with("struct ") || other.starts_with("a tuple") => {
            "an object in `{` and `}`"
        }
        other => other,
    };
    (false, words.to_owned())
}

/// Returns the words for the value that was found instead.
fn shown(found: &str) -> String {
    match found {
        "null" => "null".to_owned(),
        "map" => "an object".to_owned(),
        "sequence" => "a list".to_owned(),
        "unit value" => "null".to_owned(),
        found => match found.split_once(' ') {
            Some(("string", text)) => format!("the text {text}"),
            Some(("integer" | "boolean", value)) => value.replace('`', ""),
            Some(("floating", value)) => value.replace("point ", "").replace('`', ""),
            _ => found.to_owned(),
        },
    }
}

/// Translates messages about parameters of a query that are not numbers.
fn number_in_text(message: &str) -> Option<String> {
    let words = match message {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            "write a whole number in digits, such as 1000"
        }
        "number too large to fit in target type" => {
            "that is more than can be counted: write a smaller number"
        }
        "provided string was not `true` or `false`" => "write true or false",
        _ => return None,
    };
    Some(words.to_owned())
}

/// Returns the name in backquotes that a text begins with.
fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('`')?
        .split_once('`')
        .map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parsers_say_becomes_what_to_send() {
        for (message, words) in [
            (
                "invalid type: string \"5\", expected u64 at line 1 column 30",
                "\"5\" is a text: send a whole number without quotes, such as 1000",
            ),
            (
                "invalid type: string \"+1000\", expected u64 at line 1 column 30",
                "this sets the number and adds nothing: send the whole number that it is to be, without quotes, such as 1000",
            ),
            (
                "invalid value: integer `-1`, expected u64 at line 1 column 2",
                "-1 is not allowed here: send a whole number in digits, 0 or more",
            ),
            (
                "invalid type: floating point `1000000.0`, expected u32",
                "1000000.0 is not allowed here: send a whole number in digits, 0 or more",
            ),
            (
                "invalid type: integer `7`, expected a string",
                "7 is not allowed here: send a text in quotes",
            ),
            (
                "invalid type: map, expected a boolean",
                "an object is not allowed here: send true or false",
            ),
            (
                "missing field `app` at line 1 column 2",
                "`app` is missing: send it",
            ),
            (
                "duplicate field `app` at line 1 column 2",
                "`app` is there twice: send it once",
            ),
            (
                "unknown field `colour`, expected one of `app`, `plan` at line 1 column 2",
                "`colour` is not known here: leave it out, or send `app`, `plan`",
            ),
            (
                "unknown variant `x`, expected `a` or `b`",
                "`x` is not allowed here: send `a` or `b`",
            ),
            (
                "limit: invalid digit found in string",
                "limit: write a whole number in digits, such as 1000",
            ),
            (
                "`often` is not a refill: write units at line 1 column 9",
                "`often` is not a refill: write units",
            ),
        ] {
            assert_eq!(in_words(message), words, "{message}");
        }
        let message = no_json("expected `,` or `}` at line 1 column 8");
        assert!(
            message.starts_with("the body is no JSON at line 1 column 8: send"),
            "{message}"
        );
    }
}
