//! Variables: small values that a seller keeps with an app or a license, for the software to read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::exact::MAX_SAFE_INTEGER;
use crate::unique::UniqueMap;

/// Values by name, in order of the names: at most [`Variables::MAX_COUNT`] of them, with names of 1
/// to [`Variables::MAX_NAME_CHARACTERS`] characters, and at most [`Variables::MAX_BYTES`] bytes as
/// JSON without blanks.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
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
    /// A value is a whole number that readers of JSON round.
    #[error(
        "`{0}` must be at most {max}, with or without a sign: readers of JSON round larger whole numbers, send a text",
        max = MAX_SAFE_INTEGER
    )]
    Rounded(String),
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
    /// The name of the variable with the features of a license.
    pub const FEATURES: &'static str = "license_features";

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
                serde_json::Value::Number(value) if is_rounded(value) => {
                    return Err(VariablesError::Rounded(shown()));
                }
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

    /// Returns the features of a license: the words of its text [`Variables::FEATURES`], which are
    /// separated by commas or blanks. Other values name none.
    pub fn features(&self) -> impl Iterator<Item = &str> {
        let words = match self.get(Self::FEATURES) {
            Some(Variable::Text(words)) => words.as_str(),
            _ => "",
        };
        let separates = |letter: char| letter == ',' || letter.is_whitespace();
        words.split(separates).filter(|word| !word.is_empty())
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

/// Returns whether a number is whole and so large that a double may not hold it.
fn is_rounded(number: &serde_json::Number) -> bool {
    const MOST: f64 = MAX_SAFE_INTEGER as f64;
    match (number.as_u64(), number.as_i64()) {
        (Some(value), _) => value > MAX_SAFE_INTEGER,
        (None, Some(value)) => value.unsigned_abs() > MAX_SAFE_INTEGER,
        // A double beyond that is whole.
        (None, None) => number.as_f64().is_none_or(|value| value.abs() > MOST),
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
        let UniqueMap(object) = UniqueMap::deserialize(deserializer)?;
        Self::of(&object).map_err(serde::de::Error::custom)
    }
}

crate::forms::schema!(Variables {
    "type": "object",
    "description": "Values by name, at most 4,096 bytes as JSON.",
    "maxProperties": Variables::MAX_COUNT,
    "propertyNames": { "minLength": 1, "maxLength": Variables::MAX_NAME_CHARACTERS },
    "additionalProperties": { "type": ["string", "number", "boolean"] },
});

/// A variable on the command line, `NAME=VALUE`. A value that is a JSON number, text, `true` or
/// `false` is that; any other is the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assignment(String, Variable);

impl FromStr for Assignment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (name, value) = text
            .split_once('=')
            .ok_or("write NAME=VALUE, such as seats=5")?;
        let text = |_| Variable::Text(value.to_owned());
        let value = serde_json::from_str(value).unwrap_or_else(text);
        Ok(Self(name.to_owned(), value))
    }
}

/// The flag `--variable NAME=VALUE`, once for each.
impl Args for Variables {
    fn group_id() -> Option<clap::Id> {
        Some(FLAG.into())
    }

    fn augment_args(command: Command) -> Command {
        let flag = Arg::new(FLAG)
            .long("variable")
            .value_name("NAME=VALUE")
            .action(ArgAction::Append)
            .value_parser(Assignment::from_str)
            .help("A value for the software to read, in place of those before; may be repeated");
        command.arg(flag)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The id of the flag, the name of the field that it sets.
const FLAG: &str = "variables";

impl FromArgMatches for Variables {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = matches.get_many::<Assignment>(FLAG).into_iter().flatten();
        let object = given.map(|Assignment(name, value)| {
            let value = serde_json::to_value(value).unwrap_or_default();
            (name.clone(), value)
        });
        let invalid = |error: VariablesError| {
            clap::Error::raw(
                clap::error::ErrorKind::ValueValidation,
                format!("--variable: {error}\n"),
            )
        };
        Self::of(&object.collect()).map_err(invalid)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
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
    fn a_value_on_the_command_line_is_what_json_says_it_is_or_a_text() {
        for (text, name, value) in [
            ("seats=5", "seats", json!(5)),
            ("beta=true", "beta", json!(true)),
            ("tier=pro", "tier", json!("pro")),
            ("code=\"5\"", "code", json!("5")),
            ("rule=a=b", "rule", json!("a=b")),
            ("list=[1]", "list", json!("[1]")),
            ("none=", "none", json!("")),
        ] {
            let Assignment(said, variable) = text.parse().expect("valid");
            assert_eq!(said, name);
            assert_eq!(serde_json::to_value(variable).expect("plain data"), value);
        }
        assert!("seats".parse::<Assignment>().is_err());
    }

    #[test]
    fn a_variable_that_is_there_twice_is_refused_by_name() {
        let twice = serde_json::from_str::<Variables>(r#"{"seats":5,"seats":6}"#);
        let error = twice.expect_err("which of them?").to_string();
        assert!(error.contains("`seats` is there twice"), "{error}");
    }

    #[test]
    fn features_are_the_words_of_one_text() {
        let features = |value| read(json!({ "license_features": value })).expect("valid");
        let listed = features(json!("export, reports\tbeta,,"));
        assert_eq!(
            listed.features().collect::<Vec<_>>(),
            ["export", "reports", "beta"]
        );
        assert_eq!(features(json!(true)).features().count(), 0);
        assert_eq!(Variables::default().features().count(), 0);
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
        for whole in [
            json!({"a": 9_007_199_254_740_992_u64}),
            json!({"a": -9_007_199_254_740_992_i64}),
            serde_json::from_str(r#"{"a":123456789012345678901234567890}"#).expect("JSON"),
        ] {
            assert_eq!(read(whole), Err(VariablesError::Rounded("a".to_owned())));
        }
        assert!(
            read(json!({"a": 9_007_199_254_740_991_u64, "b": -9_007_199_254_740_991_i64})).is_ok()
        );
        // `{"a":"…"}` has eight bytes beside the text.
        assert!(read(json!({"a": "x".repeat(4_088)})).is_ok());
        assert_eq!(
            read(json!({"a": "x".repeat(4_089)})),
            Err(VariablesError::Bytes(4_097))
        );
    }
}
