//! Environment variables in string values: `${NAME}`, and `${NAME|url}` for a part of a URL. They
//! are replaced in the parsed value, so that no value can smuggle TOML in.

use std::borrow::Cow;

/// The reason why a value could not be completed from the environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubstituteError {
    /// The variable is not set.
    #[error("environment variable `{0}` is not set: set it, or write `$${{` for a literal `${{`")]
    Missing(String),
    /// There is no closing brace, or the text between the braces is not a name.
    #[error(
        "`${{` begins the name of an environment variable, such as `${{API_KEY}}`: write `$${{` for a literal `${{`"
    )]
    Malformed,
    /// The filter behind the name is not known.
    #[error(
        "`${{{0}` is followed by `|{1}`, which is not known: write `${{{0}|url}}` for a part of a URL, or `${{{0}}}`"
    )]
    Unknown(String, String),
    /// The value would end its part of a URL too early.
    #[error(
        "the value of `${{{0}}}` has signs that end a part of a URL, such as `@`, `/` or `#`: write `${{{0}|url}}`, which percent-encodes them"
    )]
    Unencoded(String),
}

/// Returns the value with every `${NAME}` replaced and every `$${` turned into `${`. Borrows where
/// there is neither.
pub(crate) fn substitute<'a>(
    raw: &'a str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Cow<'a, str>, SubstituteError> {
    if !raw.contains("${") {
        return Ok(Cow::Borrowed(raw));
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            value.push_str(before);
            value.push_str("${");
            rest = after;
            continue;
        }
        value.push_str(before);
        let (name, after) = after.split_once('}').ok_or(SubstituteError::Malformed)?;
        let (name, form) = name.split_once('|').unwrap_or((name, ""));
        if !is_variable(name) {
            return Err(SubstituteError::Malformed);
        }
        let found = env(name).ok_or_else(|| SubstituteError::Missing(name.to_owned()))?;
        match form {
            "" => value.push_str(&found),
            "url" => percent_encode(&found, &mut value),
            other => return Err(SubstituteError::Unknown(name.to_owned(), other.to_owned())),
        }
        rest = after;
    }
    value.push_str(rest);
    Ok(Cow::Owned(value))
}

/// Refuses a URL whose user or password comes from the environment and would end too early: the
/// rest of it would be read as another host, path or fragment.
pub(crate) fn check_url(
    raw: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(), SubstituteError> {
    let login = raw.rfind('@').map_or("", |end| &raw[..end]);
    for part in login.split("${").skip(1) {
        let name = part.split('}').next().unwrap_or_default();
        let value = Some(name).filter(|name| is_variable(name)).and_then(env);
        if value.is_some_and(|value| !is_encoded(&value)) {
            return Err(SubstituteError::Unencoded(name.to_owned()));
        }
    }
    Ok(())
}

/// Returns whether a text can be a user or a password of a URL as it is.
fn is_encoded(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let plain = byte.is_ascii_graphic() && !b"@/?#[]%\\".contains(byte);
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            _ if plain => after,
            _ => return false,
        };
    }
    true
}

/// Writes every byte that is not a letter, a digit or one of `-._~` as `%XX`.
fn percent_encode(text: &str, into: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(char::from(DIGITS[usize::from(byte >> 4)]));
            into.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

fn is_variable(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_would_end_a_url_must_be_encoded() {
        let env = |name: &str| {
            let value = match name {
                "AT" => "p@ss",
                "SLASH" => "a/b",
                "HASH" => "a#b",
                "PERCENT" => "100%",
                "ENCODED" => "p%40ss:x",
                "HOST" => "db/x",
                _ => return None,
            };
            Some(value.to_owned())
        };
        for name in ["AT", "SLASH", "HASH", "PERCENT"] {
            let raw = format!("postgres://u:${{{name}}}@db/x");
            let message = check_url(&raw, &env).expect_err("not encoded").to_string();
            assert!(
                message.contains(&format!("write `${{{name}|url}}`")),
                "{message}"
            );
            assert_eq!(check_url(&raw.replace('}', "|url}"), &env), Ok(()));
        }
        for raw in [
            "postgres://u:${ENCODED}@db/x",
            "postgres://u:p@${HOST}",
            "${AT}",
        ] {
            assert_eq!(check_url(raw, &env), Ok(()), "{raw}");
        }
    }

    #[test]
    fn variables_are_replaced_once_and_escapes_are_not() {
        let env = |name: &str| (name == "A_1").then(|| "${A_1}".to_owned());
        for (raw, expected) in [
            ("plain $ {A_1}", "plain $ {A_1}"),
            ("<${A_1}${A_1}>", "<${A_1}${A_1}>"),
            ("$${A_1}", "${A_1}"),
            ("$$${A_1}", "$${A_1}"),
            ("$${ ${A_1}", "${ ${A_1}"),
        ] {
            assert_eq!(substitute(raw, &env).as_deref(), Ok(expected), "{raw}");
        }
        assert_eq!(
            substitute("${B}", &env),
            Err(SubstituteError::Missing("B".into()))
        );
        assert_eq!(
            substitute("x://u:${A_1|url}@h", &env).as_deref(),
            Ok("x://u:%24%7BA_1%7D@h")
        );
        assert_eq!(
            substitute("${A_1|base64}", &env),
            Err(SubstituteError::Unknown("A_1".into(), "base64".into()))
        );
        for bad in ["${", "${}", "${1A}", "${A B}", "${A_1", "${A-1}"] {
            assert_eq!(
                substitute(bad, &env),
                Err(SubstituteError::Malformed),
                "{bad}"
            );
        }
    }
}
