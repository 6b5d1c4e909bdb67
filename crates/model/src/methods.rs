//! Sets of request methods.

use std::fmt;

use crate::outcome::Method;

/// A set of the methods that [`Method`] names, in the form of `Allow` (RFC 9110, section 10.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Methods(u16);

impl Methods {
    /// Adds a method.
    #[must_use]
    pub const fn with(self, method: Method) -> Self {
        Self(self.0 | 1 << method as u8)
    }

    /// Returns the methods that are in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn contains(self, method: Method) -> bool {
        self.0 & (1 << method as u8) != 0
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Method::ALL
            .iter()
            .filter(|method| **method != Method::Other);
        let mut separator = "";
        for method in named.filter(|method| self.contains(**method)) {
            write!(f, "{separator}{method}")?;
            separator = ", ";
        }
        Ok(())
    }
}
