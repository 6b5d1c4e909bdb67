//! The answers: API keys in the form in which clients see them.

use licensing::{ApiKeyView, IssuedApiKey, KeyRefusal};
use model::{Metadata, ResourcePermissions, Timestamp};
use serde::Serialize;

use super::refusal::KeyCode;
use crate::http::state::KeyShape;

/// The name of the one configuration that there is.
pub(super) const CONFIG_ID: &str = "default";

/// An API key, with its fields in the order of the original.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_id: Option<&'static str>,
    name: Option<String>,
    start: String,
    prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_id: Option<String>,
    refill_interval: Option<u64>,
    refill_amount: Option<u64>,
    last_refill_at: Option<String>,
    enabled: bool,
    rate_limit_enabled: bool,
    rate_limit_time_window: Option<u64>,
    rate_limit_max: Option<u32>,
    request_count: u32,
    remaining: Option<u64>,
    last_request: Option<String>,
    expires_at: Option<String>,
    created_at: String,
    updated_at: String,
    metadata: Option<Metadata>,
    permissions: Permissions,
}

/// The permissions of a key, as an object or as the text of one, by the [`KeyShape`].
#[derive(Serialize)]
#[serde(untagged)]
enum Permissions {
    Object(Option<ResourcePermissions>),
    Text(String),
}

/// The answer of `GET /list`: a page, or a bare list, by the [`KeyShape`].
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Listed {
    Page(Page),
    Bare(Vec<Record>),
}

/// A page of a list of keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub(super) api_keys: Vec<Record>,
    pub(super) total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offset: Option<u64>,
}

/// The answer of `POST /verify`.
#[derive(Serialize)]
pub(super) struct Verified {
    valid: bool,
    error: Option<Why>,
    key: Option<Record>,
}

#[derive(Serialize)]
struct Why {
    message: &'static str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    /// The time until the next try may pass, in milliseconds.
    try_again_in: u64,
}

/// The answer of deletions.
#[derive(Serialize)]
pub(super) struct Done {
    pub(super) success: bool,
}

/// The answer of the deletion of keys that have ended.
#[derive(Serialize)]
pub(super) struct Swept {
    pub(super) success: bool,
    pub(super) error: (),
}

impl Record {
    pub(super) fn of(view: ApiKeyView, shape: KeyShape) -> Self {
        let current = shape == KeyShape::Current;
        let account = view.license.account.to_string();
        let refill = view.refill();
        let millis = |interval: model::Interval| u64::from(interval.seconds()) * 1_000;
        Self {
            id: view.id().to_string(),
            config_id: current.then_some(CONFIG_ID),
            enabled: view.is_enabled(),
            updated_at: iso(view.updated_at()),
            created_at: iso(view.license.created_at),
            expires_at: view.license.spec.expires_at.map(iso),
            start: view.start,
            prefix: view.key.prefix.map(|prefix| prefix.to_string()),
            key: None,
            reference_id: current.then(|| account.clone()),
            user_id: account,
            refill_interval: refill.map(|refill| millis(refill.every)),
            refill_amount: refill.map(|refill| refill.amount),
            last_refill_at: view.last_refill_at.map(iso),
            rate_limit_enabled: view.rate_enabled,
            rate_limit_time_window: view.rate.map(|limit| millis(limit.window)),
            rate_limit_max: view.rate.map(|limit| limit.calls),
            request_count: view.request_count,
            remaining: view.remaining,
            last_request: view.last_request.map(iso),
            name: view.key.name,
            metadata: view.key.metadata,
            permissions: match view.key.permissions {
                Some(permissions) if !current => Permissions::Text(permissions.to_string()),
                permissions => Permissions::Object(permissions),
            },
        }
    }

    /// Returns the record of a new key with the key itself, which is shown this once. Its
    /// permissions are an object in every shape.
    pub(super) fn issued(issued: IssuedApiKey, shape: KeyShape) -> Self {
        let permissions = issued.view.key.permissions.clone();
        Self {
            key: Some(issued.credential.expose().to_owned()),
            permissions: Permissions::Object(permissions),
            ..Self::of(issued.view, shape)
        }
    }
}

impl Verified {
    pub(super) fn valid(view: ApiKeyView, shape: KeyShape) -> Self {
        let permissions = view.key.permissions.clone();
        let record = Record {
            permissions: Permissions::Object(permissions),
            ..Record::of(view, shape)
        };
        Self {
            valid: true,
            error: None,
            key: Some(record),
        }
    }

    pub(super) fn refused(refusal: KeyRefusal) -> Self {
        let (code, details) = match refusal {
            KeyRefusal::Unknown => (KeyCode::InvalidApiKey, None),
            KeyRefusal::Disabled => (KeyCode::KeyDisabled, None),
            KeyRefusal::Expired => (KeyCode::KeyExpired, None),
            KeyRefusal::NotPermitted => (KeyCode::KeyNotFound, None),
            KeyRefusal::Exhausted { .. } => (KeyCode::UsageExceeded, None),
            KeyRefusal::RateLimited { retry_after } => {
                let try_again_in = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
                (KeyCode::RateLimited, Some(Details { try_again_in }))
            }
        };
        Self {
            valid: false,
            error: Some(Why {
                message: code.message(),
                code: code.as_str(),
                details,
            }),
            key: None,
        }
    }
}

/// Returns a time as JavaScript writes it, with exactly three digits of milliseconds.
fn iso(time: Timestamp) -> String {
    let millis = time.micros().div_euclid(1_000).rem_euclid(1_000);
    let seconds = Timestamp::from_micros(time.seconds().saturating_mul(1_000_000)).to_string();
    format!("{}.{millis:03}Z", seconds.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_javascript_does() {
        let written = |text: &str| iso(text.parse().expect("valid"));
        assert_eq!(written("2026-01-31T12:00:00Z"), "2026-01-31T12:00:00.000Z");
        assert_eq!(
            written("2026-01-31T12:00:00.0425Z"),
            "2026-01-31T12:00:00.042Z"
        );
    }
}
