//! JSON objects none of whose members is there twice: which of two values was meant, nobody knows.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A JSON object whose own members are each there once. To read another is an error that names the
/// member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UniqueMap(pub Map<String, Value>);

/// Returns the first member of an object in a JSON text, however deep, that is there twice; `None`:
/// none is, or the text is no JSON. Costs a pass over the text.
#[must_use]
pub fn repeated_member(text: &[u8]) -> Option<String> {
    serde_json::from_slice::<Repeated>(text).ok()?.0
}

/// The first repeated member of a value.
struct Repeated(Option<String>);

impl<'de> Deserialize<'de> for UniqueMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = UniqueMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<UniqueMap, M::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.contains_key(&name) {
                        let name = crate::quoted(&name, 80);
                        let reason = format!("`{name}` is there twice: leave one of them out");
                        return Err(de::Error::custom(reason));
                    }
                    members.insert(name, value);
                }
                Ok(UniqueMap(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

impl<'de> Deserialize<'de> for Repeated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Repeated;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Repeated, M::Error> {
                let (mut seen, mut first) = (HashSet::new(), None);
                while let Some((name, Repeated(within))) = map.next_entry::<String, Repeated>()? {
                    first = first.or(within);
                    if !seen.insert(name.clone()) {
                        first = first.or(Some(name));
                    }
                }
                Ok(Repeated(first))
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Repeated, S::Error> {
                let mut first = None;
                while let Some(Repeated(within)) = seq.next_element()? {
                    first = first.or(within);
                }
                Ok(Repeated(first))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Repeated, E> {
                Ok(Repeated(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Repeated, E> {
                Ok(Repeated(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Repeated, E> {
                Ok(Repeated(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Repeated, E> {
                Ok(Repeated(None))
            }

            fn visit_str<E>(self, _: &str) -> Result<Repeated, E> {
                Ok(Repeated(None))
            }

            fn visit_unit<E>(self) -> Result<Repeated, E> {
                Ok(Repeated(None))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_there_twice_is_found_however_deep() {
        for (text, found) in [
            (r#"{"a":1,"b":{"a":-1,"c":[null,true,0.5,"a"]}}"#, None),
            (r#"{"a":1,"a":2}"#, Some("a")),
            (r#"[{"k":{"x":1,"y":2,"x":1}},{"a":1,"a":1}]"#, Some("x")),
            (r#"{"a":1,"a""#, None),
        ] {
            assert_eq!(repeated_member(text.as_bytes()).as_deref(), found, "{text}");
        }
    }

    #[test]
    fn a_map_refuses_by_name_what_is_there_twice() {
        let read = serde_json::from_str::<UniqueMap>;
        let members = read(r#"{"a":1,"b":{"c":1}}"#).expect("valid").0;
        assert_eq!(members.len(), 2);
        let error = read(r#"{"seats":5,"tier":"a","seats":6}"#).expect_err("twice");
        assert!(
            error.to_string().contains("`seats` is there twice"),
            "{error}"
        );
    }
}
