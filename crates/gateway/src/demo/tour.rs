//! The tour: calls of every kind over real sockets, then their records and the bill.

use std::io;
use std::time::{Duration, Instant};

use api_types::{Call, CallQuery, CreateLicense, License, LicenseSpec, UsageBy, UsageParameters};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, header};
use hyper_util::rt::TokioIo;
use model::Limits;
use model::usage::{UsageField, UsageRow};
use tokio::net::TcpStream;

use super::site::Site;
use crate::cli::{Column, Error, Output, Table, calls, usage};

/// The answer to a call.
struct Seen {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    /// The times at which the parts of the body arrived.
    parts: Vec<Duration>,
    complete: bool,
}

/// The time that records may take to be closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The time that one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes the calls of the tour, and prints their results, their records and the bill.
pub(super) async fn take(site: &Site, output: &mut Output) -> Result<(), Error> {
    let once_a_day = license(site, "one call a day", "1/1d", None).await?;
    let hello_only = license(site, "/hello only", "1000/1m", Some("/hello")).await?;
    let good = Some(&site.license);
    let (once_a_day, hello_only) = (Some(&once_a_day), Some(&hello_only));

    output.heading("Calls")?;
    let steps = [
        ("a license: let in, billed", "/hello", good),
        ("another page", "/reports", good),
        (
            "a page that the API does not have: not billed",
            "/nowhere",
            good,
        ),
        ("no license: refused here", "/hello", None),
        ("the license `/hello only`", "/hello", hello_only),
        (
            "the same license elsewhere: refused here",
            "/reports",
            hello_only,
        ),
        ("the API fails by itself: not billed", "/fail", good),
        (
            "the API breaks off in the middle: not billed",
            "/break",
            good,
        ),
        (
            "an answer in parts, handed on as they come",
            "/stream",
            good,
        ),
        (
            "the license `one call a day`, its first",
            "/hello",
            once_a_day,
        ),
        (
            "its second: refused until the day is over",
            "/hello",
            once_a_day,
        ),
    ];
    let mut recorded = 0;
    for (what, path, license) in steps {
        recorded += usize::from(license.is_some());
        step(
            site,
            what,
            path,
            license.and_then(|license| license.key.as_deref()),
            output,
        )
        .await?;
    }
    step(
        site,
        "a key that nobody has: refused here",
        "/hello",
        Some("tg_nobody-has-this-key"),
        output,
    )
    .await?;

    let licenses: Vec<&License> = [good, hello_only, once_a_day]
        .into_iter()
        .flatten()
        .collect();
    output.line("")?;
    output.heading("Records: one for each call of a license, refused ones too")?;
    output.table(&record_table(
        &records(site, &licenses, recorded).await?,
        &licenses,
    ))?;
    output.line("")?;
    output.heading("Bill")?;
    for license in licenses {
        let by = [UsageField::Status, UsageField::Outcome, UsageField::Plan];
        output.line(&format!(
            "license `{}`",
            license.spec.label.as_deref().unwrap_or_default()
        ))?;
        let parameters = UsageParameters {
            license: Some(license.id),
            by: UsageBy(by.to_vec()),
            ..UsageParameters::default()
        };
        let rows: Vec<UsageRow> = site.client.query("/usage", &parameters).await?;
        output.table(&usage::table(&by, &rows))?;
        output.line("")?;
    }
    Ok(())
}

/// Makes one call, and prints one line about it.
async fn step(
    site: &Site,
    what: &str,
    path: &str,
    key: Option<&str>,
    output: &mut Output,
) -> Result<(), Error> {
    let line = match tokio::time::timeout(CALL_TIMEOUT, call(site, path, key)).await {
        Ok(Ok(seen)) => describe(&seen),
        Ok(Err(error)) => format!("no answer: {error}"),
        Err(_) => "no answer in time".to_owned(),
    };
    output.line(&format!("  GET {path:<9} {line:<50} {what}"))?;
    output.flush()
}

/// Makes a license for one part of the tour.
async fn license(
    site: &Site,
    label: &str,
    rate_limit: &str,
    path: Option<&str>,
) -> Result<License, Error> {
    let permission = |path| {
        format!("GET {}{path}", site.base)
            .parse()
            .expect("a permission")
    };
    let request = CreateLicense {
        spec: LicenseSpec {
            label: Some(label.to_owned()),
            limits: Limits {
                rate_limits: vec![rate_limit.parse().expect("a rate limit")],
                ..Limits::default()
            },
            permissions: path.map(permission).into_iter().collect(),
            ..LicenseSpec::default()
        },
        ..CreateLicense::of_app(site.app.clone())
    };
    site.client.post("/licenses", &request).await
}

fn record_table(calls: &[Call], licenses: &[&License]) -> Table {
    let mut table = Table::new([
        Column::text("CALL"),
        Column::text("LICENSE"),
        Column::number("STATUS"),
        Column::text("OUTCOME"),
        Column::text("BILLED"),
        Column::number("UNITS"),
        Column::number("SENT"),
        Column::number("TIME"),
    ]);
    for call in calls {
        let owner = licenses
            .iter()
            .find(|license| call.license_id == Some(license.id.to_string()));
        let label = owner
            .and_then(|license| license.spec.label.clone())
            .unwrap_or_default();
        table.row(
            [call.call_id.clone(), label]
                .into_iter()
                .chain(calls::result_cells(call)),
        );
    }
    table
}

/// Makes one call on a connection of its own.
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

/// Describes an answer in a few words.
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

/// Returns the code of one of the gate's own refusals.
fn refusal(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    body.get("code")?.as_str().map(str::to_owned)
}

/// Returns the records of the tour's calls, oldest first, once all of them are closed or the time
/// is over.
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
        if calls.len() >= expected || began.elapsed() > CLOSE_TIMEOUT {
            calls.sort_by(|a, b| (a.started_at, &a.call_id).cmp(&(b.started_at, &b.call_id)));
            return Ok(calls);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
