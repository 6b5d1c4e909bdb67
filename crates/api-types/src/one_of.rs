//! The name of a field, out of a list that is known at run time alone.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};

/// Reads one of these names. Another one is refused in the words that serde has for a field that a
/// struct does not know.
#[derive(Clone, Copy)]
pub(crate) struct OneOf<'names>(pub(crate) &'names [&'static str]);

impl<'de> DeserializeSeed<'de> for OneOf<'_> {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for OneOf<'_> {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("field identifier")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<&'static str, E> {
        let known = self.0.iter().find(|name| **name == text);
        known.copied().ok_or_else(|| {
            let names: Vec<_> = self.0.iter().map(|name| format!("`{name}`")).collect();
            let names = names.join(", ");
            E::custom(format!("unknown field `{text}`, expected one of {names}"))
        })
    }
}
