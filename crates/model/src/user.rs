//! Users of an app: the people and programs that a seller gives licenses to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::forms::text_form;
use crate::id::UserId;
use crate::name::{AccountName, AppName};
use crate::time::Timestamp;

/// A user of one app. Deleting it is all it takes to forget a person, since records hold ids of
/// licenses only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The account that sells the app.
    pub account: AccountName,
    /// The app.
    pub app: AppName,
    /// The seller's own name for the user, such as an e-mail address; unique within the app,
    /// compared as it is written. Licenses name it in [`LicenseSpec::user`](crate::LicenseSpec::user).
    pub login: String,
    /// The name that the app may use for the user without knowing who they are.
    pub alias: Alias,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
}

/// A pseudonym of a user, which is the same in one app for ever and another one in every other app,
/// so that two apps cannot tell that they share a user. Text form: 16 hexadecimal digits in
/// capitals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Alias(u64);

/// The error for a text that is not an [`Alias`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an alias: expected 16 hexadecimal digits")]
pub struct ParseAliasError;

impl Alias {
    /// Returns the alias with these bits.
    #[must_use]
    pub const fn from_u64(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the bits of the alias.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl fmt::Debug for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Alias {
    type Err = ParseAliasError;

    fn from_str(text: &str) -> Result<Self, ParseAliasError> {
        let plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = plain.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        bits.map(Self).ok_or(ParseAliasError)
    }
}

text_form! { Alias {
    "description": "The alias by which an app may call a user without knowing who they are.",
    "pattern": "^[0-9A-F]{16}$",
    "examples": ["00000000000000AB"],
} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_sixteen_digits_and_survives_them() {
        let alias = Alias::from_u64(0xab);
        assert_eq!(alias.to_string(), "00000000000000AB");
        assert_eq!("00000000000000ab".parse(), Ok(alias));
        for wrong in ["", "AB", "+0000000000000AB", "00000000000000AB0"] {
            assert_eq!(wrong.parse::<Alias>(), Err(ParseAliasError), "{wrong}");
        }
    }
}
