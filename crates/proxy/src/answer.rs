//! The gate's own answers: problem details (RFC 9457) on a connection that stays open.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use gate::{EffectiveLimits, RateView, Refused};
use model::{CallId, Interval, Refusal};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use crate::headers::CALL_ID;

/// Adds `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10) and the older `X-RateLimit-*`, both
/// for the tightest window.
pub(crate) fn rate_headers(
    head: &mut ResponseHeader,
    limits: &EffectiveLimits,
    view: &RateView,
) -> pingora::Result<()> {
    let window = Interval::from_seconds(u64::from(view.window_seconds));
    let name = window.map_or_else(String::new, |window| window.to_string());
    let (remaining, reset) = (view.remaining, view.reset_seconds);
    head.insert_header("RateLimit", format!("\"{name}\";r={remaining};t={reset}"))?;
    if !limits.policy().is_empty() {
        head.insert_header("RateLimit-Policy", limits.policy())?;
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    head.insert_header("X-RateLimit-Limit", view.limit.to_string())?;
    head.insert_header("X-RateLimit-Remaining", remaining.to_string())?;
    head.insert_header("X-RateLimit-Reset", (now + u64::from(reset)).to_string())
}

/// Answers a refused call.
pub(crate) async fn refuse(
    session: &mut Session,
    refused: &Refused,
    rpc: bool,
) -> pingora::Result<()> {
    let (mut head, body) = problem(refused.refusal, refused.call_id, rpc)?;
    if let Some(seconds) = refused.retry_after {
        head.insert_header("Retry-After", seconds.to_string())?;
    }
    if let Some((limits, view)) = &refused.rate {
        rate_headers(&mut head, limits, view)?;
    }
    write(session, head, body).await
}

/// Answers a call that the gate could not forward.
pub(crate) async fn fail(
    session: &mut Session,
    refusal: Refusal,
    call_id: CallId,
    rpc: bool,
) -> pingora::Result<()> {
    let (mut head, body) = problem(refusal, call_id, rpc)?;
    if refusal.is_ours() {
        head.insert_header("Retry-After", "1")?;
    }
    write(session, head, body).await
}

/// With `rpc`, a header tells the control plane that this is no answer of the upstream.
fn problem(
    refusal: Refusal,
    call_id: CallId,
    rpc: bool,
) -> pingora::Result<(ResponseHeader, Bytes)> {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": refusal.title(),
        "status": refusal.status(),
        "code": refusal.code(),
        "call_id": call_id,
    });
    let body = Bytes::from(body.to_string());
    let mut head = ResponseHeader::build(refusal.status(), Some(8))?;
    head.insert_header("Content-Type", "application/problem+json")?;
    head.insert_header("Content-Length", body.len().to_string())?;
    head.insert_header("Cache-Control", "no-store")?;
    head.insert_header(CALL_ID, call_id.to_string())?;
    if refusal.status() == 401 {
        head.insert_header("WWW-Authenticate", "ApiKey realm=\"tallygate\"")?;
    }
    if rpc {
        head.insert_header(gate::rpc::REFUSAL, refusal.code())?;
    }
    Ok((head, body))
}

async fn write(session: &mut Session, head: ResponseHeader, body: Bytes) -> pingora::Result<()> {
    let bodiless = session.req_header().method == http::Method::HEAD;
    session
        .write_response_header(Box::new(head), bodiless)
        .await?;
    if bodiless {
        Ok(())
    } else {
        session.write_response_body(Some(body), true).await
    }
}
