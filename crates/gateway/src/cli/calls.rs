//! `tallygate calls`: the records of calls.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use api_types::{Call, CallQuery, FollowQuery, FollowedCalls, LARGEST_LIMIT};
use clap::Args;
use model::{AppName, LicenseId, Timestamp};

use super::units;
use crate::cli::{Client, Column, Error, Output, Table, examples};

pub(super) const EXAMPLES: &str = examples!(
    "tallygate calls --limit 20",
    "tallygate calls --license lic_0198c0de0198c0de0198c0de0198c0de --from 2026-11-21T00:00:00Z",
    "tallygate calls --follow --json >> calls.jsonl",
    "tallygate calls --app api --json | jq -r 'select(.outcome != \"delivered\") | .call_id'",
);

/// The pause between two requests for calls that were closed.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The number of rows of a table that are aligned together. A longer answer is a sequence of such
/// tables under one title.
const MAX_TABLE_ROWS: usize = 1_000;

/// The filter of calls that a command is about.
#[derive(Debug, Args)]
pub(crate) struct CallFilter {
    /// Only this license
    #[arg(long, value_name = "ID")]
    pub(super) license: Option<LicenseId>,
    /// Only this app
    #[arg(long, value_name = "NAME")]
    pub(super) app: Option<AppName>,
    /// Only calls that began at this time or later, as RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(super) from: Option<Timestamp>,
    /// Only calls that began before this time, as RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(super) to: Option<Timestamp>,
}

/// Arguments of `calls`.
#[derive(Debug, Args)]
pub(crate) struct CallsArguments {
    #[command(flatten)]
    only: CallFilter,
    /// Calls at most, the oldest first [default: all]
    #[arg(long, value_name = "N", value_parser = units::whole::<u64>)]
    limit: Option<u64>,
    /// Go on with each call as it is closed, until Ctrl-C; without --from, calls that begin from now on
    #[arg(long, conflicts_with = "limit")]
    follow: bool,
    /// Print one JSON object per line, for programs
    #[arg(long)]
    json: bool,
}

pub(crate) async fn execute(
    arguments: CallsArguments,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let only = arguments.only;
    if arguments.follow {
        return follow(only, arguments.json, client, output).await;
    }
    let query = CallQuery {
        license: only.license,
        app: only.app,
        from: only.from,
        to: only.to,
        limit: arguments.limit,
        format: Some("jsonl".to_owned()),
        cursor: None,
    };
    client.tell_of_unknown_app(query.app.as_ref()).await;
    let named = query.license.is_some();
    let mut lines = client.stream("/calls", &query).await?;
    if arguments.json {
        while let Some(chunk) = lines.chunk().await? {
            output.bytes(&chunk)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut calls = Vec::new();
    let mut titled = false;
    loop {
        let line = lines.line().await?;
        let ended = line.is_none();
        if let Some(line) = line {
            calls.push(lines.parse::<Call>(&line)?);
        }
        if calls.len() == MAX_TABLE_ROWS || ended {
            print(&calls, named, !titled, output)?;
            titled = true;
            calls.clear();
        }
        if ended {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Prints calls as they are closed, for ever; waits for a gate that restarts.
async fn follow(
    only: CallFilter,
    json: bool,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let named = only.license.is_some();
    let mut query = FollowQuery {
        license: only.license,
        app: only.app,
        from: Some(only.from.unwrap_or_else(|| SystemTime::now().into())),
        to: only.to,
        limit: Some(LARGEST_LIMIT),
        cursor: None,
    };
    let mut titled = false;
    let mut waits = false;
    loop {
        let page: FollowedCalls<Call> = match client.query("/calls/closed", &query).await {
            Ok(page) => page,
            // The cursor continues where it was, whatever the gate does meanwhile.
            Err(error) if query.cursor.is_some() && error.may_pass() => {
                if !waits {
                    eprintln!("tallygate: {error}; waiting for it");
                }
                waits = true;
                tokio::time::sleep(POLL_INTERVAL).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        waits = false;
        if json {
            for call in &page.items {
                output.compact_json(call)?;
                output.line("")?;
            }
        } else if !page.items.is_empty() {
            print(&page.items, named, !titled, output)?;
            titled = true;
        }
        output.flush()?;
        query.cursor = Some(page.next);
        if !page.more {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

fn print(calls: &[Call], named: bool, titled: bool, output: &mut Output) -> Result<(), Error> {
    let table = table(calls, named);
    if titled {
        return Ok(output.table(&table)?);
    }
    Ok(table
        .lines()
        .iter()
        .skip(1)
        .try_for_each(|line| output.line(line))?)
}

/// Returns calls as a table, without their license if the command named it.
fn table(calls: &[Call], named: bool) -> Table {
    let mut columns = vec![Column::text("STARTED"), Column::text("CALL")];
    columns.extend((!named).then_some(Column::text("LICENSE")));
    columns.extend([
        Column::text("APP"),
        Column::text("ROUTE"),
        Column::text("METHOD"),
        Column::number("STATUS"),
        Column::text("OUTCOME"),
        Column::text("BILLED"),
        Column::number("UNITS"),
        Column::number("SENT"),
        Column::number("TIME"),
    ]);
    let mut table = Table::new(columns);
    for call in calls {
        let mut cells = vec![units::time(call.started_at), call.call_id.clone()];
        cells.extend((!named).then(|| units::maybe(call.license_id.as_ref())));
        cells.extend([call.app.clone(), call.route.clone(), call.method.clone()]);
        cells.extend(result_cells(call));
        table.row(cells);
    }
    table
}

/// Returns the cells of a call's end: status, outcome, whether billed, units, bytes, time.
pub(crate) fn result_cells(call: &Call) -> [String; 6] {
    [
        if call.status == 0 {
            String::new()
        } else {
            call.status.to_string()
        },
        call.outcome.clone(),
        if call.billable { "yes" } else { "no" }.to_owned(),
        units::count(call.units),
        units::bytes(call.response_bytes),
        units::micros(call.duration_us),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_shown_with_units_of_measure() {
        let call: Call = serde_json::from_value(serde_json::json!({
            "call_id": "0198c0de-0000-7000-8000-000000000001", "license_id": null, "app": "api", "route": "/",
            "method": "GET", "status": 0, "outcome": "unknown", "mode": "proxy", "billable": false, "units": 1,
            "plan": null, "request_bytes": 0, "response_bytes": 2_500, "duration_us": 1_500, "upstream_us": 1_000,
            "attempts": 1, "started_at": "2026-11-21T12:00:00.123456Z", "node": "a",
        }))
        .expect("a call");
        let lines = table(&[call], true).lines();
        assert!(
            lines[1].starts_with("2026-11-21T12:00:00Z  0198c0de-"),
            "{}",
            lines[1]
        );
        assert!(
            lines[1].ends_with("unknown  no          1  2.5 kB  1.5 ms"),
            "{}",
            lines[1]
        );
    }
}
