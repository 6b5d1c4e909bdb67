//! `/pw/*`: what a site's edge passes on (VAI proxy protocol 2): judgements of visitors with signed
//! assertions, the keys that verify them, and the lists by which the edge makes signals.

mod cors;
mod judge;
mod metadata;
mod signals;
mod site;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use licensing::Signing;
use licensing::signing::Assertion;
use serde::Serialize;

use self::cors::Readers;
use self::signals::Signals;
use self::site::Site;
use super::answer::{Failure, json};
use super::context::caller;
use crate::http::client::Client;
use crate::http::services::Services;

/// The path of the published keys on every site.
const KEYS: &str = "/pw/jwks.json";
const NOT_KEPT: HeaderValue = HeaderValue::from_static("private, no-store");
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// A judgement of a visitor, with the assertion that says the same.
#[derive(Serialize)]
struct Judged {
    vat: &'static str,
    act: &'static str,
    iss: String,
    aud: &'static str,
    dom: String,
    kid: String,
    iat: i64,
    exp: i64,
    assertion_jws: String,
}

/// Answers `GET /pw/vai.json`: who visits, and an assertion of it.
pub(super) async fn judged(
    State(services): State<Services>,
    client: Client,
    method: Method,
    headers: HeaderMap,
) -> Response {
    of_site(&services, &client, &method, &headers, |judged| {
        json(StatusCode::OK, judged)
    })
    .await
}

/// Answers `GET /pw/vai.js`: a script that sets `window.__PW_VAI__` to what `vai.json` says, and
/// tells the page so by the event `pw:vai`.
pub(super) async fn script(
    State(services): State<Services>,
    client: Client,
    method: Method,
    headers: HeaderMap,
) -> Response {
    of_site(&services, &client, &method, &headers, |judged| {
        let object = serde_json::to_string(judged).expect("a judgement is plain data");
        // Host names and the words of a judgement have no sign that would end a script.
        let text = format!(
            "window.__PW_VAI__={object};\nwindow.dispatchEvent(new CustomEvent(\"pw:vai\",{{detail:window.__PW_VAI__}}));\n"
        );
        let kind = HeaderValue::from_static("text/javascript; charset=utf-8");
        ([(CONTENT_TYPE, kind)], text).into_response()
    })
    .await
}

/// Answers `GET /pw/jwks.json`: the keys that verify assertions. Everybody may ask.
pub(super) async fn keys(
    State(services): State<Services>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    public(&method, &headers, || {
        let mut answer = json(StatusCode::OK, &services.api().signing.jwks());
        let age = format!("public, max-age={}", Signing::CACHED.as_secs());
        let age = HeaderValue::from_str(&age).expect("a number is a value");
        answer.headers_mut().insert(CACHE_CONTROL, age);
        answer
    })
}

/// Answers `GET /pw/vai/metadata`: the lists by which an edge makes signals. Everybody may ask.
pub(super) async fn metadata(method: Method, headers: HeaderMap) -> Response {
    public(&method, &headers, || {
        let mut answer = json(StatusCode::OK, &metadata::lists());
        answer.headers_mut().insert(CACHE_CONTROL, KEPT);
        answer
    })
}

/// Answers other paths below `/pw`: nothing is there.
pub(super) async fn unknown(method: Method, headers: HeaderMap) -> Response {
    public(&method, &headers, || {
        let mut answer = Failure::not_found("there is no such path below `/pw`").into_response();
        answer.headers_mut().insert(CACHE_CONTROL, NOT_KEPT);
        answer
    })
}

fn public(method: &Method, headers: &HeaderMap, answer: impl FnOnce() -> Response) -> Response {
    if method == Method::OPTIONS {
        return preflight(Readers::All, headers);
    }
    let mut answer = answer();
    Readers::All.told_in(answer.headers_mut(), headers);
    answer
}

fn preflight(readers: Readers<'_>, headers: &HeaderMap) -> Response {
    let mut answer = StatusCode::NO_CONTENT.into_response();
    readers.preflight_in(answer.headers_mut(), headers);
    answer.headers_mut().insert(CACHE_CONTROL, NOT_KEPT);
    answer
}

/// Answers a request about a visitor of a site, whose edge sends a management key of its account.
async fn of_site(
    services: &Services,
    client: &Client,
    method: &Method,
    headers: &HeaderMap,
    shown: impl FnOnce(&Judged) -> Response,
) -> Response {
    let answer = async {
        let caller = caller(services, client, headers).await;
        // A browser sends no key with a preflight; an edge does.
        let caller = match caller {
            Err(_) if method == Method::OPTIONS => None,
            caller => Some(caller?),
        };
        let account = caller.as_ref().and_then(|caller| caller.account());
        let site = Site::of(headers, &services.directory().apps, account)?;
        if method == Method::OPTIONS {
            return Ok(preflight(Readers::Of(&site), headers));
        }
        let mut answer = shown(&judge_visitor(services, headers, &site));
        Readers::Of(&site).told_in(answer.headers_mut(), headers);
        Ok(answer)
    };
    let answer: Result<Response, Failure> = answer.await;
    let mut answer = answer.unwrap_or_else(IntoResponse::into_response);
    answer.headers_mut().insert(CACHE_CONTROL, NOT_KEPT);
    answer
}

fn judge_visitor(services: &Services, headers: &HeaderMap, site: &Site) -> Judged {
    let user_agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
    let recognizer = services.api().agents.load();
    let known = user_agent.and_then(|text| recognizer.recognize(text));
    let known = known.map(|agent| (agent.vat, agent.act));
    let (vat, act) = judge::judge(&Signals::of(headers), known);
    let assertion = Assertion {
        visitor: vat.as_str(),
        confidence: act.as_str(),
        site: &site.host,
    };
    let signed = services.api().signing.sign_assertion(assertion, KEYS);
    Judged {
        vat: vat.as_str(),
        act: act.as_str(),
        iss: signed.issuer,
        aud: Assertion::AUDIENCE,
        dom: site.host.clone(),
        kid: signed.key_id.to_string(),
        iat: signed.issued_at,
        exp: signed.expires_at,
        assertion_jws: signed.jws,
    }
}
