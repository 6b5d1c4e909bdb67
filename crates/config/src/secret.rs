//! Values of the configuration that must not be seen.

use std::fmt;

use zeroize::Zeroizing;

use crate::value::FromValue;

/// A secret of the configuration. Its `Debug` redacts it, and its memory is wiped when it is
/// dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Returns the secret itself: for the one place that needs it, never for a message.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl FromValue for Secret {
    const EXPECTED: &'static str = "a string";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        Some(Ok(text.to_owned().into()))
    }
}
