//! `${NAME}` in string values. It is replaced in the parsed value, so that no value can smuggle TOML in.

use std::borrow::Cow;

/// Why a value could not be completed from the environment. `what` names the place within the raw value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubstituteError {
    /// The variable is not set.
    #[error("environment variable `{0}` is not set: set it, or write `$${{` for a literal `${{`")]
    Missing(String),
    /// There is no closing brace, or what stands between the braces is no name.
    #[error(
        "`${{` begins the name of an environment variable, such as `${{API_KEY}}`: write `$${{` for a literal `${{`"
    )]
    Malformed,
}

/// The value with every `${NAME}` replaced and every `$${` turned into `${`. Borrows where there is neither.
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
        if !is_variable(name) {
            return Err(SubstituteError::Malformed);
        }
        value.push_str(&env(name).ok_or_else(|| SubstituteError::Missing(name.to_owned()))?);
        rest = after;
    }
    value.push_str(rest);
    Ok(Cow::Owned(value))
}

fn is_variable(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for bad in ["${", "${}", "${1A}", "${A B}", "${A_1", "${A-1}"] {
            assert_eq!(
                substitute(bad, &env),
                Err(SubstituteError::Malformed),
                "{bad}"
            );
        }
    }
}
