//! The handler of `POST /v1/app/user/license/check`, which says whether a license may be used now.

use api_types::Scope;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use model::{Alias, Refusal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Failure, Success};
use super::provider::provider;
use crate::http::body::{BODY_LIMIT, read_json};
use crate::http::client::Client;
use crate::http::field::Secret;
use crate::http::services::Services;

/// The body of a license check.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ApifewCheck")]
#[serde(deny_unknown_fields, rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct Check {
    apifew_key: Option<Secret>,
    license_key: Secret,
}

/// The answer about a license that may be used.
#[derive(Debug, Serialize)]
pub(super) struct Checked {
    license_ok: bool,
    username: String,
    alias_uid: Alias,
}

/// Answers from the license cache, without waiting while the license is warm. A check spends
/// nothing and leaves no record.
pub(super) async fn check(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Success<Checked>, Failure> {
    let check: Check = read_json(body, BODY_LIMIT).await?;
    let key = check.apifew_key.as_ref();
    let caller = provider(&services, &client, &headers, key, Scope::ReadLicenses).await?;
    let licensing = services.licensing();
    let presented = check.license_key.expose().as_bytes();
    let found = services.spender().look_up(presented).await;
    // Another app's license is as unknown as any other text.
    let found = found.and_then(|entry| match caller.sees(entry.license()) {
        true => entry.standing(services.now()).map(|()| entry),
        false => Err(Refusal::LicenseUnknown),
    });
    match found {
        Ok(entry) => {
            let license = entry.license();
            let checked = Checked {
                license_ok: true,
                username: license.spec.user.clone().unwrap_or_default(),
                alias_uid: licensing.holder_alias(license),
            };
            Ok(Success("INFO_LICENSE_OK", checked))
        }
        Err(refusal) if refusal.is_ours() => Err(refusal.into()),
        Err(refusal) => Err(Failure::answered(refusal, json!({"license_ok": false}))),
    }
}
