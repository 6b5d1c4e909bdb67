//! Types of fields that many protocols have, which check their values as they are read.

use std::fmt;
use std::ops::Deref;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize};

use crate::http::schema::inline_schema;

/// Text of `MIN` to `MAX` bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Text<const MIN: usize, const MAX: usize>(String);

/// A credential in a field: 1 to 512 bytes of visible ASCII. Its text shows in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The length of the longest credential in a field, in bytes.
const MAX_SECRET_BYTES: usize = 512;

inline_schema!(<MIN, MAX> Text<MIN, MAX>: {
    "type": "string", "minLength": MIN, "maxLength": MAX,
});
inline_schema!(Secret: {
    "type": "string", "pattern": "^[!-~]+$", "minLength": 1, "maxLength": MAX_SECRET_BYTES, "format": "password",
});

/// Reads a field that may be absent but not `null`; with `#[serde(default)]`.
pub(crate) fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

// === impl Text ===

impl<const MIN: usize, const MAX: usize> Text<MIN, MAX> {
    /// Returns the text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<const MIN: usize, const MAX: usize> Deref for Text<MIN, MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Text<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded<const MIN: usize, const MAX: usize>;
        impl<const MIN: usize, const MAX: usize> Visitor<'_> for Bounded<MIN, MAX> {
            type Value = String;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "text of {MIN} to {MAX} bytes without control characters")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
                if (MIN..=MAX).contains(&text.len()) && !text.contains(char::is_control) {
                    Ok(text.to_owned())
                } else {
                    Err(E::custom(format_args!(
                        "send {}",
                        &self as &dyn serde::de::Expected
                    )))
                }
            }
        }
        let text = deserializer.deserialize_str(Bounded::<MIN, MAX>)?;
        Ok(Self(text))
    }
}

// === impl Secret ===

impl Secret {
    /// Returns the text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if visible && (1..=MAX_SECRET_BYTES).contains(&text.len()) {
            Ok(Self(text))
        } else {
            let most = MAX_SECRET_BYTES;
            Err(D::Error::custom(format_args!(
                "send 1 to {most} characters of visible ASCII"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_its_bounds_and_no_control_characters() {
        let read = |text: &str| serde_json::from_str::<Text<1, 4>>(text).map(Text::into_string);
        assert_eq!(read(r#""abcd""#).expect("fits"), "abcd");
        for wrong in [
            r#""""#,
            r#""abcde""#,
            r#""a\n""#,
            r#""\u0000""#,
            "1",
            "null",
        ] {
            let error = read(wrong).expect_err(wrong);
            assert!(error.to_string().contains("text of 1 to 4"), "{error}");
        }
    }

    #[test]
    fn a_secret_is_visible_ascii_and_never_printed() {
        let secret: Secret = serde_json::from_str(r#""abc-1""#).expect("fits");
        assert_eq!(secret.expose(), "abc-1");
        assert!(!format!("{secret:?}").contains("abc"));
        let long = format!("\"{}\"", "x".repeat(MAX_SECRET_BYTES + 1));
        for wrong in [r#""""#, r#""a b""#, r#""é""#, "7", long.as_str()] {
            assert!(serde_json::from_str::<Secret>(wrong).is_err(), "{wrong}");
        }
    }
}
