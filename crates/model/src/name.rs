//! Names that people give to accounts, apps and plans.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::forms::text_form;

/// The error for a text that is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a name: use 1 to 64 of a-z, A-Z, 0-9, `.`, `_` and `-`, beginning with a letter or digit"
)]
pub struct NameError(pub String);

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident $(or $other:literal)?, $description:literal, $pattern:literal, $example:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 64 of `a-z A-Z 0-9 . _ -`, beginning with a letter or digit. Cheap to clone.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if is_name(text) $(|| text == $other)? {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError(clip(text)))
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
            "pattern": $pattern,
            "examples": [$example],
        } }
    };
}

name_type!(
    /// The name of an account: a provider who sells apps.
    AccountName, "The name of an account.", "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", "default"
);
name_type!(
    /// The name of an app: an API that stands behind the gate. `*` stands for every app of an
    /// account.
    AppName or "*", "The name of an app; `*`: every app of the account.", r"^(\*|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$", "sample"
);
name_type!(
    /// The name of a plan: what a unit costs and what a license may use.
    PlanName, "The name of a plan.", "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", "main"
);

impl AppName {
    const EVERY: &str = "*";

    /// Returns the name that stands for every app of an account, later ones included. No app has
    /// this name.
    #[must_use]
    pub fn every() -> Self {
        Self(Self::EVERY.into())
    }

    /// Returns whether the name stands for every app.
    #[must_use]
    pub fn is_every(&self) -> bool {
        &*self.0 == Self::EVERY
    }
}

impl Default for AccountName {
    /// Returns the name of the account that always exists.
    fn default() -> Self {
        Self("default".into())
    }
}

fn is_name(text: &str) -> bool {
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len())
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && text.bytes().all(rest)
}

fn clip(text: &str) -> String {
    crate::quoted(text, 80)
}
