//! The tour: calls of every kind over real sockets, then their records and the bill.

use std::io;
use std::time::{Duration, Instant};

use control::wire::{Call, CallQuery, CreateLicense, License, UsageBy, UsageParameters};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, header};
use hyper_util::rt::TokioIo;
use model::usage::{UsageField, UsageRow};
use tokio::net::TcpStream;

use super::Site;
use crate::cli::{Error, Output, calls, usage};

/// What came back from a call.
struct Seen {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    /// When each part of the body came.
    parts: Vec<Duration>,
    complete: bool,
}

/// How long records may take to be closed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes the calls and shows what became of them.
pub(super) async fn take(site: &Site, output: &mut Output) -> Result<(), Error> {
    let limited = limited_license(site).await?;
    let narrow = narrow_license(site).await?;
    let own = [&site.license, &limited, &narrow];
    let (good, limited_key, narrow_key) = (
        own[0].key.as_deref(),
        own[1].key.as_deref(),
        own[2].key.as_deref(),
    );

    output.heading("Calls")?;
    let mut recorded = 0;
    let unknown = Some("tg_not-a-key-of-this-gate");
    let steps: [(&str, &str, Option<&str>, bool); 12] = [
        ("a license: let in, billed", "/hello", good, true),
        ("another page", "/reports", good, true),
        (
            "a page that the API does not have: not billed",
            "/nowhere",
            good,
            true,
        ),
        ("no license: refused here", "/hello", None, false),
        (
            "a license that nobody has: refused here",
            "/hello",
            unknown,
            false,
        ),
        (
            "a license for /hello, used for it",
            "/hello",
            narrow_key,
            true,
        ),
        (
            "the same license elsewhere: refused here",
            "/reports",
            narrow_key,
            true,
        ),
        ("the API fails by itself: not billed", "/fail", good, true),
        (
            "the API breaks off in the middle: not billed",
            "/break",
            good,
            true,
        ),
        (
            "an answer that comes in parts, unbuffered",
            "/stream",
            good,
            true,
        ),
        (
            "a license for one call a minute, its first",
            "/hello",
            limited_key,
            true,
        ),
        (
            "its second: refused until the minute is over",
            "/hello",
            limited_key,
            true,
        ),
    ];
    for (what, path, key, is_recorded) in steps {
        recorded += usize::from(is_recorded);
        let line = match tokio::time::timeout(CALL_TIMEOUT, call(site, path, key)).await {
            Ok(Ok(seen)) => describe(&seen),
            Ok(Err(error)) => format!("no answer: {error}"),
            Err(_) => "no answer in time".to_owned(),
        };
        output.line(&format!("  GET {path:<9} {line:<58} {what}"))?;
        output.flush()?;
    }

    output.line("")?;
    output.heading("Records")?;
    let calls = records(site, &own, recorded).await?;
    output.table(&calls::table(&calls))?;
    output.line("")?;
    output.heading("Bill")?;
    let by = [
        UsageField::License,
        UsageField::Route,
        UsageField::Status,
        UsageField::Outcome,
    ];
    let rows = bill(site, &own, &by).await?;
    output.table(&usage::table(&by, &rows))?;
    Ok(())
}

/// A license for one call a minute.
async fn limited_license(site: &Site) -> Result<License, Error> {
    let request = CreateLicense {
        label: Some("demo: one call a minute".to_owned()),
        rate_limits: vec!["1/1m".parse().expect("a rate limit")],
        ..CreateLicense::of_app(site.app.clone())
    };
    site.client.post("/licenses", &request).await
}

/// A license for one path.
async fn narrow_license(site: &Site) -> Result<License, Error> {
    let path = format!("GET {}/hello", site.base);
    let request = CreateLicense {
        label: Some("demo: /hello only".to_owned()),
        rate_limits: vec!["1000/1m".parse().expect("a rate limit")],
        permissions: vec![path.parse().expect("a permission")],
        ..CreateLicense::of_app(site.app.clone())
    };
    site.client.post("/licenses", &request).await
}

/// One call on a connection of its own.
async fn call(site: &Site, path: &str, key: Option<&str>) -> io::Result<Seen> {
    let began = Instant::now();
    let stream = TcpStream::connect(site.gate).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let host = site.host.clone().unwrap_or_else(|| site.gate.to_string());
    let mut request = Request::get(format!("{}{path}", site.base)).header(header::HOST, host);
    if let Some(key) = key {
        request = request.header(&site.key_header, key);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let response = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let (head, mut body) = response.into_parts();
    let mut seen = Seen {
        status: head.status.as_u16(),
        headers: head.headers,
        body: Vec::new(),
        parts: Vec::new(),
        complete: true,
    };
    while let Some(frame) = body.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => {
                seen.parts.push(began.elapsed());
                seen.body.extend_from_slice(&data);
            }
            Ok(Err(_)) => {}
            Err(_) => seen.complete = false,
        }
    }
    connection.abort();
    Ok(seen)
}

/// What came back, in a few words.
fn describe(seen: &Seen) -> String {
    let mut words = vec![seen.status.to_string()];
    words.extend(refusal(&seen.body));
    if !seen.complete {
        words.push("broken off".to_owned());
    }
    if let Some(seconds) = seen
        .headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
    {
        words.push(format!("retry after {seconds} s"));
    }
    if let [first, .., last] = seen.parts.as_slice() {
        let (first, last) = (first.as_millis(), last.as_millis());
        words.push(format!(
            "{} parts, first after {first} ms, last after {last} ms",
            seen.parts.len()
        ));
    }
    words.join(", ")
}

/// The code of one of the gate's own refusals.
fn refusal(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    body.get("code")?.as_str().map(str::to_owned)
}

/// The records of the tour's calls, oldest first, once all of them are closed.
async fn records(site: &Site, licenses: &[&License], expected: usize) -> Result<Vec<Call>, Error> {
    let began = Instant::now();
    loop {
        let mut calls = Vec::new();
        for license in licenses {
            let query = CallQuery {
                license: Some(license.id),
                format: Some("jsonl".to_owned()),
                ..CallQuery::default()
            };
            let mut lines = site.client.stream("/calls", &query).await?;
            while let Some(line) = lines.line().await? {
                calls.push(lines.parse::<Call>(&line)?);
            }
        }
        if calls.len() >= expected || began.elapsed() > PATIENCE {
            calls.sort_by(|a, b| (a.started_at, &a.call_id).cmp(&(b.started_at, &b.call_id)));
            return Ok(calls);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn bill(
    site: &Site,
    licenses: &[&License],
    by: &[UsageField],
) -> Result<Vec<UsageRow>, Error> {
    let mut rows = Vec::new();
    for license in licenses {
        let parameters = UsageParameters {
            license: Some(license.id),
            by: UsageBy(by.to_vec()),
            ..UsageParameters::default()
        };
        let usage: Vec<UsageRow> = site.client.query("/usage", &parameters).await?;
        rows.extend(usage);
    }
    Ok(rows)
}
