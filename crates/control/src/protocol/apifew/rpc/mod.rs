//! The handler of `/v1/request`: a call to an API, packed into the body of a request to the gate.
//!
//! The call is unpacked and sent through the data plane like any other, over its internal listener:
//! there is one admission, one forwarding path and one kind of record.

mod channel;
mod envelope;
mod reply;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::HeaderValue;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use model::Refusal;

use self::channel::Answer;
pub(super) use self::envelope::Envelope;
use super::answer::Failure;
use super::{apps, consumer};
use crate::http::body::read_json;
use crate::http::client::Client;
use crate::http::services::Services;

/// The length of the longest envelope, in bytes.
const MAX_ENVELOPE_BYTES: usize = 8 << 20;
/// The header that holds the license key.
const LICENSE_KEY: &str = "apifew-user-license-key";

/// Makes the call, and answers as the API does or with a Result object.
pub(super) async fn call(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    services.may_try(&client)?;
    let key = license_key(&headers)?;
    let envelope: Envelope = read_json(body, MAX_ENVELOPE_BYTES).await?;
    let app = apps::any(&services, &envelope.app_name)?;
    let wrapped = envelope.response_as_result.unwrap_or(false);
    let request = envelope.unpack(app, key, &client)?;
    let answer = channel::send(services.rpc_socket(), request).await;
    let answer = answer.map_err(|error| {
        tracing::error!(%error, "the data plane cannot be reached by rpc");
        Failure::with_code(StatusCode::SERVICE_UNAVAILABLE, "ERROR_UNAVAILABLE")
    })?;
    if let Some(code) = answer.refusal() {
        note(&services, &client, app.name.as_str(), code, &answer);
        return Ok(reply::refused(&answer));
    }
    Ok(if wrapped {
        reply::wrapped(answer).await
    } else {
        reply::raw(answer)
    })
}

/// Returns the one license key of a request.
fn license_key(headers: &HeaderMap) -> Result<&HeaderValue, Failure> {
    let mut values = headers.get_all(LICENSE_KEY).iter();
    let first = values.next().filter(|value| !value.is_empty());
    let first = first.ok_or(Refusal::LicenseMissing)?;
    if values.all(|other| other == first) {
        Ok(first)
    } else {
        Err(Refusal::CredentialAmbiguous.into())
    }
}

/// Logs a call with a key of no license, which leaves no record, and counts it against its sender.
fn note(services: &Services, client: &Client, app: &str, code: &str, answer: &Answer) {
    if code == Refusal::LicenseUnknown.code() {
        let call_id = answer.call_id();
        tracing::info!(app, code, call_id, "a call by rpc was refused");
        consumer::note(services, client, Refusal::LicenseUnknown);
    }
}
