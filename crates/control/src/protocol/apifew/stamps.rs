//! The handler of `POST /v1/stamp`, by which a provider reports a call that it served without a
//! token and gets a signed statement of the charge.

use api_types::Scope;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use gate::Holder;
use model::{AppName, CallId, Method, PlanName, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{Failure, Success};
use super::provider::provider;
use super::target::{Status, Target, Units};
use crate::http::body::{BODY_LIMIT, read_json};
use crate::http::client::Client;
use crate::http::field::{Secret, Text};
use crate::http::services::Services;
use crate::stamp::{Stamp, StampError, StampRequest};

/// The report of a call that was served.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ApifewStamp")]
#[serde(deny_unknown_fields, rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct Report {
    apifew_key: Option<Secret>,
    user_license_key: Secret,
    api_url: Text<1, 8_192>,
    api_method: Text<1, 32>,
    request_status_code: Status,
    units: Option<Units>,
    id: Option<Text<1, { StampRequest::MAX_ID_BYTES }>>,
}

/// The record of the call, with its signed statement.
#[derive(Debug, Serialize)]
pub(super) struct Stamped {
    id: Option<String>,
    app_name: AppName,
    stamped: bool,
    /// The plan; `null` if the license has none.
    pricing: Option<PlanName>,
    call_id: CallId,
    at: Timestamp,
    api_method: Method,
    api_path: String,
    request_status_code: u16,
    units: u64,
    billable: bool,
    over_quota: bool,
    stamp: String,
}

/// Records a call and charges it by its status.
pub(super) async fn stamp(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Success<Stamped>, Failure> {
    let report: Report = read_json(body, BODY_LIMIT).await?;
    let key = report.apifew_key.as_ref();
    let caller = provider(&services, &client, &headers, key, Scope::WriteLicenses).await?;
    let target = Target::parse(&report.api_url, &report.api_method)?;
    let request = StampRequest {
        id: report.id.as_deref(),
        holder: Holder::Credential(report.user_license_key.expose().as_bytes()),
        account: caller.account(),
        app: caller.app(),
        method: target.method,
        path: &target.path,
        status: report.request_status_code.get(),
        units: report.units.map(Units::get),
    };
    let stamp = services.stamp(&request).await?;
    Ok(Success("INFO_REQUEST_STAMPED", stamp.into()))
}

impl From<Stamp> for Stamped {
    fn from(stamp: Stamp) -> Self {
        Self {
            id: stamp.id,
            app_name: stamp.app,
            stamped: true,
            pricing: stamp.plan,
            call_id: stamp.call_id,
            at: stamp.at,
            api_method: stamp.method,
            api_path: stamp.path,
            request_status_code: stamp.status,
            units: stamp.units,
            billable: stamp.billable,
            over_quota: stamp.over_quota,
            stamp: stamp.signed,
        }
    }
}

impl From<StampError> for Failure {
    fn from(error: StampError) -> Self {
        match error {
            StampError::Refused(refused) => refused.into(),
            StampError::Id => Self::invalid("ID", error),
            StampError::Conflict => Self::with_code(StatusCode::CONFLICT, "ERROR_STAMP_CONFLICT"),
            StampError::InProgress => Self::InProgress("ERROR_STAMP_UNDER_WAY"),
            StampError::Fault(fault) => fault.into(),
        }
    }
}
