//! Permissions of licenses: the methods and paths that they may call.

use std::fmt;
use std::str::FromStr;

use crate::forms::text_form;
use crate::outcome::Method;
use crate::parent_path::lies_below;

/// A permission to call one method (or all) on a path and what lies below it.
///
/// Text form: `GET /reports`, `* /`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// The method; `None`: every method.
    pub method: Option<Method>,
    /// The parent path, normalised.
    pub path: String,
}

/// The error for a text that is not a [`Permission`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a permission: write a method or `*` and a path, such as `GET /reports`")]
pub struct ParsePermissionError(pub String);

impl Permission {
    /// Returns whether the permission holds for a method on a normalised path. One for GET holds
    /// for HEAD.
    #[must_use]
    pub fn covers(&self, method: Method, path: &str) -> bool {
        self.method.is_none_or(|allowed| allowed.includes(method)) && lies_below(&self.path, path)
    }
}

impl FromStr for Permission {
    type Err = ParsePermissionError;

    fn from_str(text: &str) -> Result<Self, ParsePermissionError> {
        let parse = || {
            let (method, path) = text.split_once(' ')?;
            let method = match method {
                "*" => None,
                name => Some(Method::parse(name).filter(|method| *method != Method::Other)?),
            };
            let plain =
                |b: u8| b.is_ascii_graphic() && !matches!(b, b'%' | b'\\' | b';' | b'?' | b'#');
            let clean = path.starts_with('/')
                && path.len() <= 1_024
                && path.bytes().all(plain)
                && !path.contains("//")
                && path
                    .split('/')
                    .all(|segment| segment != "." && segment != "..");
            clean.then(|| Self {
                method,
                path: path.to_owned(),
            })
        };
        parse().ok_or_else(|| ParsePermissionError(crate::quoted(text, 80)))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            self.method.map_or("*", Method::as_str),
            self.path
        )
    }
}

text_form! { Permission {
    "description": "A method, or `*`, and a path.",
    "pattern": r"^(\*|[A-Z]+) /",
    "examples": ["GET /reports"],
} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_covers_its_path_and_below_but_not_its_namesakes() {
        let permission: Permission = "GET /reports".parse().expect("valid");
        assert!(permission.covers(Method::Get, "/reports"));
        assert!(permission.covers(Method::Get, "/reports/2026"));
        assert!(!permission.covers(Method::Get, "/reportsX"));
        assert!(!permission.covers(Method::Post, "/reports"));
        assert!(permission.covers(Method::Head, "/reports/2026"));
        assert!(
            "* /"
                .parse::<Permission>()
                .expect("valid")
                .covers(Method::Delete, "/a/b")
        );
        for bad in [
            "GET",
            "GET reports",
            "BREW /",
            "GET /a//b",
            "GET /a/../b",
            "GET /%2e",
            "get /a",
        ] {
            assert!(bad.parse::<Permission>().is_err(), "{bad}");
        }
    }
}
