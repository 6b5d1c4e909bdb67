//! The gate's own answers: problem details (RFC 9457) on a connection that stays open.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use gate::{EffectiveLimits, RateView, Refused};
use model::{CallId, Interval, Refusal};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use crate::agent_answer;
use crate::problem::{Problem, challenge, detail, places};

/// Adds `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11) and the older
/// `X-RateLimit-*`, all for the tightest window.
pub(crate) fn rate_headers(
    head: &mut ResponseHeader,
    limits: &EffectiveLimits,
    view: &RateView,
) -> pingora::Result<()> {
    rate(head, limits, view, true)
}

/// Removes the headers that [`rate_headers`] adds.
pub(crate) fn strip_rate_headers(head: &mut ResponseHeader) {
    for name in [
        "RateLimit",
        "RateLimit-Policy",
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
    ] {
        head.remove_header(name);
    }
}

/// Adds the same headers as [`rate_headers`]. Without `resets`, `RateLimit` names no time of reset,
/// since the answer names another time to come back.
fn rate(
    head: &mut ResponseHeader,
    limits: &EffectiveLimits,
    view: &RateView,
    resets: bool,
) -> pingora::Result<()> {
    let (name, remaining, reset) = (window_name(view), view.remaining, view.reset_seconds);
    let end = match resets {
        true => format!(";t={reset}"),
        false => String::new(),
    };
    head.insert_header("RateLimit", format!("\"{name}\";r={remaining}{end}"))?;
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

/// Returns the name of a window's policy: its length, such as `1m`.
fn window_name(view: &RateView) -> String {
    let window = Interval::from_seconds(u64::from(view.window_seconds));
    window.map_or_else(String::new, |window| window.to_string())
}

/// Answers a refused call.
pub(crate) async fn refuse(
    session: &mut Session,
    refused: &Refused,
    rpc: bool,
) -> pingora::Result<()> {
    let places = refused.app.as_ref().map(|app| places(app, rpc));
    let mut problem = Problem::new(refused.refusal, refused.call_id);
    problem.detail = detail(refused, places.as_deref());
    problem.agent = refused.agent.as_deref();
    // Only a full window is a quota of that draft. The quota of the license has a code of its own.
    if let (Refusal::RateLimited, Some((_, view))) = (refused.refusal, &refused.rate) {
        problem.violated = Some(window_name(view));
    }
    let (mut head, mut body) = problem.answer(rpc)?;
    for place in places.iter().flatten() {
        head.append_header("WWW-Authenticate", challenge(place))?;
    }
    if let Some(methods) = refused.allow {
        head.insert_header("Allow", methods.to_string())?;
    }
    let view = refused.rate.as_ref().map(|(_, view)| view);
    let full = view.filter(|view| view.remaining == 0);
    let wait = refused.retry_after.map(|wait| {
        // A caller who comes back before the window is over is refused again.
        full.map_or(wait, |view| wait.max(view.reset_seconds))
    });
    if let Some(seconds) = wait {
        head.insert_header("Retry-After", seconds.to_string())?;
    }
    if let Some((limits, view)) = &refused.rate {
        let resets = wait.is_none_or(|wait| wait >= view.reset_seconds);
        rate(&mut head, limits, view, resets)?;
    }
    if let Some(told) = &refused.agent {
        body = agent_answer::tell(&mut head, body, told, &session.req_header().headers)?;
    }
    write(session, head, body).await
}

/// Answers a call that the gate could not forward, or whose upstream failed.
pub(crate) async fn fail(
    session: &mut Session,
    refusal: Refusal,
    call_id: CallId,
    rpc: bool,
) -> pingora::Result<()> {
    let mut problem = Problem::new(refusal, call_id);
    if refusal == Refusal::RequestMalformed {
        // Its head was read, so the fault lies in the body.
        let detail = "send the body in whole chunks, or in as many bytes as `Content-Length` says";
        problem.detail = Some(detail.to_owned());
    }
    let (mut head, body) = problem.answer(rpc)?;
    if refusal.is_ours() {
        head.insert_header("Retry-After", "1")?;
    }
    write(session, head, body).await
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
