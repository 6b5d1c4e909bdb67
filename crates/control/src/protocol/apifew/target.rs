//! The fields that say which call a token or a stamp is about: method, path and status.

use axum::http::Uri;
use model::{MAX_SAFE_INTEGER, Method, NormalPath};
use serde::{Deserialize, Deserializer};

use super::answer::{Failure, ambiguous_path};
use crate::http::schema::inline_schema;

/// The method and the path of a call.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) method: Method,
    pub(super) path: NormalPath<'static>,
}

/// An HTTP status, 100 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(u16);

/// The units that a call used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Units(u64);

inline_schema!(Status: {"type": "integer", "minimum": 100, "maximum": 599});
inline_schema!(Units: {"type": "integer", "minimum": 0, "maximum": MAX_SAFE_INTEGER});

impl Target {
    /// Reads `API_URL` and `API_METHOD`. The URL may be a path alone; its host and its query do not
    /// matter, for a token is bound to the app of the license.
    ///
    /// # Errors
    /// Returns a failure for a path that can be read in two ways, for a text that is no URL, and
    /// for a method that no route can be declared for.
    pub(super) fn parse(url: &str, method: &str) -> Result<Self, Failure> {
        let path = path(url)?;
        let path = NormalPath::parse(path)
            .map_err(|reason| ambiguous_path("API_URL", reason))?
            .into_owned();
        let method = Method::of(&method.to_ascii_uppercase());
        if method == Method::Other {
            let detail = "name one of the methods that routes are declared for";
            return Err(Failure::invalid("API_METHOD", detail));
        }
        Ok(Self { method, path })
    }
}

/// Returns the path of a URL, as it was written.
fn path(url: &str) -> Result<&str, Failure> {
    let invalid = || Failure::invalid("API_URL", "send an http(s) URL or a path");
    let whole: Uri = url.parse().map_err(|_| invalid())?;
    let rest = match whole.scheme_str() {
        None if url.starts_with('/') => url,
        Some("http" | "https") => {
            let (_, rest) = url.split_once("://").ok_or_else(invalid)?;
            rest.find(['/', '?', '#']).map_or("/", |at| &rest[at..])
        }
        _ => return Err(invalid()),
    };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    Ok(if end == 0 { "/" } else { &rest[..end] })
}

impl Status {
    pub(super) const fn get(self) -> u16 {
        self.0
    }
}

impl Units {
    pub(super) const fn get(self) -> u64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let status = u16::deserialize(deserializer)?;
        if (100..=599).contains(&status) {
            Ok(Self(status))
        } else {
            Err(serde::de::Error::custom("send a status of 100 to 599"))
        }
    }
}

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let units = u64::deserialize(deserializer).ok();
        let exact = units.filter(|units| *units <= MAX_SAFE_INTEGER).map(Self);
        exact.ok_or_else(|| {
            let text = format!("send a whole number of units, 0 to {MAX_SAFE_INTEGER}");
            serde::de::Error::custom(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_the_path_of_a_url_and_a_method_in_any_spelling() {
        for (url, expected) in [
            ("https://api.example.com/a/b?c=d", "/a/b"),
            ("http://api.example.com", "/"),
            ("https://api.example.com?c=d", "/"),
            ("/a/%62", "/a/b"),
            ("/a?c#d", "/a"),
        ] {
            let target = Target::parse(url, "get").expect(url);
            assert_eq!(
                (target.method, target.path.as_str()),
                (Method::Get, expected)
            );
        }
        for url in [
            "",
            "a/b",
            "ftp://a/b",
            "https://a/../b",
            "https://a//b",
            "//evil.host/x",
            "/a/%2e%2e/b",
            "/a b",
            "file:///etc/passwd",
        ] {
            assert!(Target::parse(url, "GET").is_err(), "{url}");
        }
        assert!(Target::parse("/a", "BREW").is_err());
    }

    #[test]
    fn a_status_is_one_of_http() {
        assert_eq!(
            serde_json::from_str::<Status>("200").expect("one").get(),
            200
        );
        for wrong in ["99", "600", "-200", "200.5", "\"200\"", "null", "65736"] {
            assert!(serde_json::from_str::<Status>(wrong).is_err(), "{wrong}");
        }
    }
}
