//! Names of agents and of those who operate them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use crate::forms::text_form;

/// The error for a text that is no name of an agent or operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the name of an agent or operator: use 1 to 64 visible ASCII characters, with blanks only between words"
)]
pub struct AgentNameError(String);

macro_rules! agent_name {
    ($(#[$doc:meta])* $name:ident, $description:literal, $example:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 64 visible ASCII characters, with blanks only between words. It is kept as it was
        /// written; case does not count where two are compared or hashed. Cheap to clone.
        #[derive(Clone)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The length of the longest name, in bytes.
            pub const MAX_BYTES: usize = 64;

            /// Returns the name as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns the name in the form in which names are compared, for a store's unique key.
            #[must_use]
            pub fn folded(&self) -> String {
                self.0.to_ascii_lowercase()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.eq_ignore_ascii_case(&other.0)
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                for byte in self.0.bytes() {
                    state.write_u8(byte.to_ascii_lowercase());
                }
                // No name holds this byte, so that none is the beginning of another.
                state.write_u8(0xff);
            }
        }

        impl FromStr for $name {
            type Err = AgentNameError;

            fn from_str(text: &str) -> Result<Self, AgentNameError> {
                let fits = (1..=Self::MAX_BYTES).contains(&text.len())
                    && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
                    && !text.starts_with(' ')
                    && !text.ends_with(' ');
                match fits {
                    true => Ok(Self(text.into())),
                    false => Err(AgentNameError(crate::quoted(text, 80))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        text_form! { $name {
            "description": $description,
            "pattern": "^[!-~]([ -~]{0,62}[!-~])?$",
            "examples": [$example],
        } }
    };
}

agent_name!(
    /// The name of who operates agents, as they write it themselves.
    Operator,
    "Who operates an agent, by the name that they give themselves. Case does not count.",
    "OpenAI"
);
agent_name!(
    /// The name of an agent, as its operator writes it.
    AgentName,
    "An agent, by the name that its operator gives it. Case does not count.",
    "GPTBot"
);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_compare_without_case_and_stay_as_they_were_written() {
        let name = |text: &str| text.parse::<AgentName>().expect("valid");
        assert_eq!(name("GPTBot"), name("gptbot"));
        assert_ne!(name("GPTBot"), name("GPTBot2"));
        assert_eq!(name("GPTBot").to_string(), "GPTBot");
        let names: HashSet<AgentName> = ["GPTBot", "gptBOT", "ClaudeBot"].map(name).into();
        assert_eq!(names.len(), 2);
        assert_eq!(name("ClaudeBot").folded(), "claudebot");
    }

    #[test]
    fn a_name_is_a_short_line_of_ascii() {
        let longest = "x".repeat(64);
        for good in ["a", "Kangaroo Bot", "panscient.com", longest.as_str()] {
            assert!(good.parse::<Operator>().is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in ["", " ", " a", "a ", "a\n", "a\tb", "\u{e9}", long.as_str()] {
            let error = bad.parse::<Operator>().expect_err(bad).to_string();
            assert!(error.contains("1 to 64"), "{error}");
        }
    }
}
