//! Variables: small values that a seller keeps with an app or a license, for the software to read.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// Values by name, in order of the names: at most [`Variables::MAX_COUNT`] of them, with names of 1
/// to [`Variables::MAX_NAME_CHARACTERS`] characters, and at most [`Variables::MAX_BYTES`] bytes as
/// JSON without blanks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Variables(BTreeMap<String, Variable>);

/// The value of a variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Variable {
    /// A truth value.
    Bool(bool),
    /// A number, as it was written.
    Number(serde_json::Number),
    /// A text.
    Text(String),
}

/// The rule that variables break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariablesError {
    /// There are too many.
    #[error("there are {0} variables, at most {max} are allowed", max = Variables::MAX_COUNT)]
    Count(usize),
    /// A name is empty or too long.
    #[error("the name `{0}` must have 1 to {max} characters", max = Variables::MAX_NAME_CHARACTERS)]
    Name(String),
    /// A value is `null`, a list or an object.
    #[error("`{0}` must be a text, a number, `true` or `false`")]
    Value(String),
    /// Together they are too large.
    #[error("the variables take {0} bytes as JSON, at most {max} are allowed", max = Variables::MAX_BYTES)]
    Bytes(usize),
}

impl Variables {
    /// The largest number of variables.
    pub const MAX_COUNT: usize = 50;
    /// The length of the longest name, in characters.
    pub const MAX_NAME_CHARACTERS: usize = 64;
    /// The largest size as JSON without blanks, in bytes.
    pub const MAX_BYTES: usize = 4_096;

    /// Reads variables from a JSON object.
    ///
    /// # Errors
    /// The first rule that is broken, with the name of the variable.
    pub fn of(object: &serde_json::Map<String, serde_json::Value>) -> Result<Self, VariablesError> {
        if object.len() > Self::MAX_COUNT {
            return Err(VariablesError::Count(object.len()));
        }
        let mut values = BTreeMap::new();
        for (name, value) in object {
            let shown = || crate::quoted(name, 80);
            if !(1..=Self::MAX_NAME_CHARACTERS).contains(&name.chars().count()) {
                return Err(VariablesError::Name(shown()));
            }
            let value = match value {
                serde_json::Value::Bool(value) => Variable::Bool(*value),
                serde_json::Value::Number(value) => Variable::Number(value.clone()),
                serde_json::Value::String(value) => Variable::Text(value.clone()),
                _ => return Err(VariablesError::Value(shown())),
            };
            values.insert(name.clone(), value);
        }
        let variables = Self(values);
        let bytes = variables.to_string().len();
        if bytes > Self::MAX_BYTES {
            return Err(VariablesError::Bytes(bytes));
        }
        Ok(variables)
    }

    /// Returns a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Variable> {
        self.0.get(name)
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The JSON text, without blanks.
impl fmt::Display for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(&self.0).map_err(|_| fmt::Error)?)
    }
}

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = serde_json::Map::deserialize(deserializer)?;
        Self::of(&object).map_err(serde::de::Error::custom)
    }
}

// `Variable` holds a number as it was written, so that two variables are equal if their texts are.
impl Eq for Variable {}
impl Eq for Variables {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<Variables, VariablesError> {
        Variables::of(value.as_object().expect("an object"))
    }

    #[test]
    fn variables_are_flat_few_and_small() {
        let all = json!({"seats": 5, "tier": "pro", "beta": true, "rate": 0.5});
        assert_eq!(
            read(all.clone()).expect("valid").to_string(),
            r#"{"beta":true,"rate":0.5,"seats":5,"tier":"pro"}"#
        );
        let many =
            |count: usize| Value::Object((0..count).map(|n| (n.to_string(), json!(1))).collect());
        assert!(read(many(50)).is_ok());
        assert_eq!(read(many(51)), Err(VariablesError::Count(51)));
        assert!(read(json!({"x".repeat(64): 1})).is_ok());
        assert!(matches!(
            read(json!({"x".repeat(65): 1})),
            Err(VariablesError::Name(_))
        ));
        assert!(matches!(read(json!({"": 1})), Err(VariablesError::Name(_))));
        for nested in [
            json!({"a": {"b": 1}}),
            json!({"a": [1]}),
            json!({"a": null}),
        ] {
            assert_eq!(read(nested), Err(VariablesError::Value("a".to_owned())));
        }
        // `{"a":"…"}` has eight bytes beside the text.
        assert!(read(json!({"a": "x".repeat(4_088)})).is_ok());
        assert_eq!(
            read(json!({"a": "x".repeat(4_089)})),
            Err(VariablesError::Bytes(4_097))
        );
    }
}
