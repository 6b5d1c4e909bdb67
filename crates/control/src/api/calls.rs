//! `/calls`: the records of calls, as a page or as a stream of lines.

use api_types::{Call, CallQuery, FollowQuery, FollowedCalls, List, Scope};
use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use ledger::{CallLine, Calls, CallsQuery, Ledger, ParseCursorError};
use model::{AppName, CallId, LicenseId, Mode, Timestamp};

use super::query::{check_span, page_limit, within_app, within_license};
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::Caller;
use crate::http::extract::Query;
use crate::http::problem::Problem;
use crate::http::state::Shared;
use crate::http::stream::{self, Lines, ReaderGone};

/// The media type of a stream of lines.
const LINES: &str = "application/x-ndjson";

/// The place where a page begins: after this call, in order of start and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cursor {
    started_at: Timestamp,
    call_id: CallId,
}

const READ: Needs = Needs::Scope(Scope::ReadCalls);

/// Adds the requests about the records of calls.
pub(super) fn routes(routes: Routes) -> Routes {
    let followed =
        "List the records of calls that were closed since the page before, each exactly once";
    routes
        .get(
            "/calls",
            calls,
            Operation::new("listCalls", "List the records of calls, oldest first", READ)
                .query::<CallQuery>()
                .answers::<List<Call>>(200)
                .streams(&["application/x-ndjson"])
                .of_one_license(),
        )
        .get(
            "/calls/closed",
            follow,
            Operation::new("followCalls", followed, READ)
                .query::<FollowQuery>()
                .answers::<FollowedCalls<Call>>(200)
                .of_one_license(),
        )
        .get(
            "/stamps",
            stamps,
            Operation::new(
                "listStamps",
                "List the records of calls that were stamped, oldest first",
                READ,
            )
            .query::<CallQuery>()
            .answers::<List<Call>>(200)
            .streams(&["application/x-ndjson"])
            .of_one_license(),
        )
}

/// Answers with calls, oldest first.
async fn calls(
    State(state): Shared,
    caller: Caller,
    headers: HeaderMap,
    Query(parameters): Query<CallQuery>,
) -> Result<Response, Problem> {
    list(&state.ledger, &caller, &headers, parameters, None).await
}

/// Answers with calls that a provider reported for a stamp, oldest first.
async fn stamps(
    State(state): Shared,
    caller: Caller,
    headers: HeaderMap,
    Query(parameters): Query<CallQuery>,
) -> Result<Response, Problem> {
    let mode = Some(Mode::Stamp);
    list(&state.ledger, &caller, &headers, parameters, mode).await
}

/// Answers with calls that were closed since the page before.
async fn follow(
    State(state): Shared,
    caller: Caller,
    Query(parameters): Query<FollowQuery>,
) -> Result<Answer<FollowedCalls<CallLine>>, Problem> {
    check_span(parameters.from, parameters.to)?;
    let limit = page_limit(parameters.limit)?;
    let cursor = parameters.cursor.as_deref().map(str::parse).transpose();
    let cursor =
        cursor.map_err(|error: ParseCursorError| Problem::field("cursor", error.to_string()))?;
    let query = CallsQuery {
        from: parameters.from,
        to: parameters.to,
        ..seen_by(&caller, parameters.license, parameters.app)?
    };
    let followed = state.ledger.follow(query, cursor, limit).await?;
    Ok(Answer(FollowedCalls {
        items: followed.calls,
        next: followed.next.to_string(),
        more: followed.more,
    }))
}

async fn list(
    ledger: &Ledger,
    caller: &Caller,
    headers: &HeaderMap,
    parameters: CallQuery,
    mode: Option<Mode>,
) -> Result<Response, Problem> {
    check_span(parameters.from, parameters.to)?;
    let query = CallsQuery {
        mode,
        from: parameters.from,
        to: parameters.to,
        limit: parameters.limit,
        ..seen_by(caller, parameters.license, parameters.app)?
    };
    let accepts_lines = headers
        .get_all(ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|value| value.contains(LINES)));
    let lines = match parameters.format.as_deref() {
        Some("jsonl") => true,
        Some("json") => false,
        None => accepts_lines,
        Some(_) => return Err(Problem::field("format", "use `json` or `jsonl`")),
    };
    match lines {
        true if parameters.cursor.is_some() => Err(Problem::field(
            "cursor",
            "a stream of lines has no pages: leave `cursor` out, and begin later with `from`, or ask for pages with `format=json`",
        )),
        true => stream_lines(ledger, query).await,
        false => {
            let page = page(ledger, query, parameters.cursor.as_deref()).await?;
            Ok(Answer(page).into_response())
        }
    }
}

/// Returns the query for all calls that a caller may see, of the license and the app that are asked
/// for.
fn seen_by(
    caller: &Caller,
    license: Option<LicenseId>,
    app: Option<AppName>,
) -> Result<CallsQuery, Problem> {
    Ok(CallsQuery {
        license_id: within_license(caller, license)?,
        account: caller.account().cloned(),
        app: within_app(caller, app)?,
        ..CallsQuery::default()
    })
}

/// Streams all matches, one JSON object per line, read as fast as they are taken.
async fn stream_lines(ledger: &Ledger, query: CallsQuery) -> Result<Response, Problem> {
    let calls = ledger.calls(query).await?;
    let (chunks, body) = stream::channel();
    tokio::spawn(write_lines(calls, Lines::new(chunks)));
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(LINES))], body).into_response())
}

async fn write_lines(mut calls: Calls, mut lines: Lines) {
    loop {
        match calls.next_page().await {
            Ok(Some(page)) => {
                for call in &page {
                    if let Err(ReaderGone) = lines.push(call).await {
                        return;
                    }
                }
            }
            Ok(None) => {
                // A reader that left after the last line missed nothing.
                let _ = lines.flush().await;
                return;
            }
            Err(error) => return lines.fail(error).await,
        }
    }
}

/// Returns one page. The ledger begins at a time; calls of that very time that were on earlier
/// pages are skipped.
async fn page(
    ledger: &Ledger,
    mut query: CallsQuery,
    cursor: Option<&str>,
) -> Result<List<CallLine>, Problem> {
    let limit = page_limit(
        query
            .limit
            .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
    )?;
    let cursor = cursor.map(Cursor::parse).transpose()?;
    if let Some(cursor) = cursor {
        query.from = Some(
            query
                .from
                .map_or(cursor.started_at, |from| from.max(cursor.started_at)),
        );
    }
    query.limit = None;
    let mut calls = ledger.calls(query).await?;
    let mut items = Vec::new();
    while items.len() <= limit {
        let Some(page) = calls.next_page().await? else {
            break;
        };
        let new = page
            .into_iter()
            .filter(|call| cursor.is_none_or(|cursor| Cursor::of(call) > cursor));
        items.extend(new.take(limit + 1 - items.len()));
    }
    Ok(List::cut(items, limit, |call| Cursor::of(call).to_text()))
}

// === impl Cursor ===

impl Cursor {
    const fn of(call: &CallLine) -> Self {
        Self {
            started_at: call.started_at,
            call_id: call.call_id,
        }
    }

    fn to_text(self) -> String {
        format!("{}.{}", self.started_at.micros(), self.call_id)
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        let parse = || {
            let (micros, id) = text.split_once('.')?;
            Some(Self {
                started_at: Timestamp::from_micros(micros.parse().ok()?),
                call_id: id.parse().ok()?,
            })
        };
        parse().ok_or_else(|| Problem::field("cursor", "give what `next` of the page before said"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_and_any_other_is_refused() {
        let cursor = Cursor {
            started_at: Timestamp::from_micros(1_700_000_000_000_001),
            call_id: CallId::from_parts(1, 2, 3),
        };
        assert_eq!(Cursor::parse(&cursor.to_text()), Ok(cursor));
        for bad in [
            "",
            ".",
            "1",
            "1.x",
            "x.0198c0de-0000-7000-8000-000000000001",
        ] {
            assert!(Cursor::parse(bad).is_err(), "{bad}");
        }
    }
}
