//! Licenses: the rights of users to call apps, with their terms.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::forms::text_form;
use crate::id::LicenseId;
use crate::license_spec::LicenseSpec;
use crate::name::{AccountName, AppName};
use crate::outcome::Method;
use crate::time::Timestamp;

/// The status of a license.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LicenseStatus {
    /// The license may be used.
    #[default]
    Active,
    /// The license may not be used for now; enabling it brings it back.
    Disabled,
    /// The license may never be used again.
    Revoked,
}

/// The right of a user to call an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct License {
    /// The id.
    pub id: LicenseId,
    /// The account that sells the app.
    pub account: AccountName,
    /// The app that the license opens; [`AppName::every`]: each app of its account.
    pub app: AppName,
    /// The status.
    pub status: LicenseStatus,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The terms that its seller decided.
    #[serde(flatten)]
    pub spec: LicenseSpec,
}

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

impl License {
    /// Returns whether the license is for an app of an account.
    #[must_use]
    pub fn opens(&self, account: &AccountName, app: &AppName) -> bool {
        self.app == *app || (self.app.is_every() && self.account == *account)
    }
}

impl Permission {
    /// Returns whether the permission holds for a method on a normalised path. One for GET holds
    /// for HEAD.
    #[must_use]
    pub fn covers(&self, method: Method, path: &str) -> bool {
        self.method.is_none_or(|allowed| allowed.includes(method)) && lies_below(&self.path, path)
    }
}

/// Returns whether `path` is `parent` or lies below it; both normalised, beginning with `/`.
#[must_use]
pub fn lies_below(parent: &str, path: &str) -> bool {
    let parent = parent.strip_suffix('/').unwrap_or(parent);
    path.strip_prefix(parent)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
    use crate::Limits;

    #[test]
    fn the_record_has_the_form_that_audit_logs_and_caches_hold() {
        let license = License {
            id: LicenseId::from_u128(1),
            account: AccountName::default(),
            app: "api".parse().expect("valid"),
            status: LicenseStatus::Disabled,
            created_at: Timestamp::from_micros(0),
            spec: LicenseSpec {
                user: Some("ada".to_owned()),
                limits: Limits {
                    remaining: Some(u64::MAX),
                    ..Limits::default()
                },
                permissions: vec!["GET /a".parse().expect("valid")],
                ..LicenseSpec::default()
            },
        };
        let form = serde_json::json!({
            "id": "lic_00000000000000000000000000000001", "account": "default", "app": "api",
            "status": "disabled", "created_at": "1970-01-01T00:00:00Z",
            "plan": null, "user": "ada", "label": null, "expires_at": null,
            "limits": {"remaining": u64::MAX, "refill": null, "rate_limits": [], "concurrency": null},
            "permissions": ["GET /a"], "allow_ips": [],
        });
        assert_eq!(serde_json::to_value(&license).expect("plain data"), form);
        let text = form.to_string();
        assert_eq!(
            serde_json::from_str::<License>(&text).expect("valid"),
            license
        );
    }

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
