//! Declared paths, which stand for themselves and all that lies below them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::forms::text_form;
use crate::path::{AmbiguousPath, NormalPath};

/// A declared path that stands for itself and all that lies below it. At most 1,024 bytes. Cheap to
/// clone.
///
/// It must be written in the normal form. A slash at its end is kept in its text and means nothing.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParentPath(Arc<str>);

/// The reason why a text is not a [`ParentPath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePathError {
    /// The path could be read in two ways.
    #[error("`{text}` is not a path: {reason}")]
    Ambiguous {
        /// The text, clipped.
        text: String,
        /// The reason.
        reason: AmbiguousPath,
    },
    /// The path is not in the normal form in which paths are compared.
    #[error("`{text}` is not in normal form: write `{normal}`")]
    NotNormal {
        /// The text, clipped.
        text: String,
        /// The same path in normal form, clipped.
        normal: String,
    },
    /// The text is meant as a pattern, such as `/v1/*` or `/v1/{id}`.
    #[error(
        "`{text}` has a pattern, which no path is: a path stands for itself and all that lies below it, write `{parent}`"
    )]
    Pattern {
        /// The text, clipped.
        text: String,
        /// The path before the pattern, clipped.
        parent: String,
    },
    /// The path is longer than [`ParentPath::MAX_BYTES`].
    #[error("a path here has at most 1024 bytes, this one has {0}")]
    TooLong(usize),
}

impl ParentPath {
    /// The greatest length of the text in bytes.
    pub const MAX_BYTES: usize = 1_024;

    /// Returns the path that everything lies below.
    #[must_use]
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Returns the text as it was declared.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the segments; none for the root.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }
}

impl FromStr for ParentPath {
    type Err = ParsePathError;

    fn from_str(text: &str) -> Result<Self, ParsePathError> {
        if text.len() > Self::MAX_BYTES {
            return Err(ParsePathError::TooLong(text.len()));
        }
        if let Some(parent) = before_pattern(text).filter(|_| text.starts_with('/')) {
            return Err(ParsePathError::Pattern {
                text: clip(text),
                parent: clip(parent),
            });
        }
        match NormalPath::parse(text) {
            Ok(normal) if normal.as_str() == text => Ok(Self(text.into())),
            Ok(normal) => Err(ParsePathError::NotNormal {
                text: clip(text),
                normal: clip(normal.as_str()),
            }),
            Err(reason) => Err(ParsePathError::Ambiguous {
                text: clip(text),
                reason,
            }),
        }
    }
}

impl fmt::Display for ParentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ParentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

text_form! { ParentPath {
    "description": "A path, and all that lies below it.",
    "pattern": "^/",
    "maxLength": ParentPath::MAX_BYTES,
    "examples": ["/news"],
} }

fn clip(text: &str) -> String {
    crate::quoted(text, 80)
}

/// Returns whether `path` is `parent` or lies below it; both normalised, beginning with `/`.
#[must_use]
pub fn lies_below(parent: &str, path: &str) -> bool {
    let parent = parent.strip_suffix('/').unwrap_or(parent);
    path.strip_prefix(parent)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the path before the first segment that other programs read as a pattern (`*`, `{id}`,
/// `:id`, `<id>`), which no path of ours is; `None` if there is no such segment.
#[must_use]
pub fn before_pattern(path: &str) -> Option<&str> {
    let is_pattern =
        |segment: &str| segment.starts_with(':') || segment.contains(['*', '{', '}', '<', '>']);
    let mut end = 0;
    for segment in path.split('/').skip(1) {
        if is_pattern(segment) {
            return Some(if end == 0 { "/" } else { &path[..end] });
        }
        end += 1 + segment.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_path_is_written_in_normal_form() {
        assert_eq!(
            "/v1/".parse::<ParentPath>().expect("valid").as_str(),
            "/v1/"
        );
        assert_eq!(ParentPath::root().segments().count(), 0);
        let spelled: Result<ParentPath, _> = "/%61".parse();
        assert_eq!(
            spelled.expect_err("not normal").to_string(),
            "`/%61` is not in normal form: write `/a`"
        );
        let long = format!("/{}", "a".repeat(ParentPath::MAX_BYTES));
        assert!(long.parse::<ParentPath>().is_err());
    }
}
