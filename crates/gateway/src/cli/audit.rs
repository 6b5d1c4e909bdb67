//! `tallygate audit`: who did what, from where.

use std::process::ExitCode;

use api_types::{AuditLine, AuditQuery, List};
use clap::Args;
use model::{AccountName, Timestamp};
use serde_json::Value;

use super::units;
use crate::cli::{Client, Column, Error, Output, Table, examples};

pub(super) const EXAMPLES: &str = examples!(
    "tallygate audit --from 2026-11-21T00:00:00Z",
    "tallygate audit --action license. --subject lic_0198c0de0198c0de0198c0de0198c0de",
    "tallygate audit --action login.denied --json | jq -r .address",
);

/// The number of lines that are asked for and aligned together. A longer answer is a sequence of
/// such tables under one title.
const PAGE_LINES: usize = 1_000;
/// The width of the longest text of a change in a table; `--json` has all of it.
const MAX_CHANGE_WIDTH: usize = 80;

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArguments {
    /// Only things of this account
    #[arg(long, value_name = "NAME")]
    account: Option<AccountName>,
    /// Only what was done by this one: operator, gate, unknown, or an id
    #[arg(long, value_name = "WHO")]
    actor: Option<String>,
    /// Only this action, such as license.create; with a dot at its end all of that kind (license.)
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only what was done to this id or name
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// Only at this time or later, as RFC 3339
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only before this time, as RFC 3339
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Lines at most, the oldest first [default: all]
    #[arg(long, value_name = "N", value_parser = units::whole::<usize>)]
    limit: Option<usize>,
    /// Print one JSON object per line, for programs
    #[arg(long)]
    json: bool,
}

pub(crate) async fn execute(
    arguments: AuditArguments,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let mut query = AuditQuery {
        account: arguments.account,
        actor: arguments.actor,
        action: arguments.action,
        subject: arguments.subject,
        from: arguments.from,
        to: arguments.to,
        limit: None,
        cursor: None,
    };
    let mut titled = false;
    while left > 0 {
        query.limit = Some(left.min(PAGE_LINES));
        let page: List<AuditLine> = client.query("/audit", &query).await?;
        left -= page.items.len().min(left);
        if arguments.json {
            for line in &page.items {
                output.compact_json(line)?;
                output.line("")?;
            }
        } else {
            print(&page.items, !titled, output)?;
            titled = true;
        }
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(lines: &[AuditLine], titled: bool, output: &mut Output) -> Result<(), Error> {
    let table = table(lines);
    if titled {
        return Ok(output.table(&table)?);
    }
    let rows = table.lines();
    Ok(rows.iter().skip(1).try_for_each(|row| output.line(row))?)
}

fn table(lines: &[AuditLine]) -> Table {
    let mut table = Table::new([
        Column::text("AT"),
        Column::text("ACTOR"),
        Column::text("FROM"),
        Column::text("ACTION"),
        Column::text("SUBJECT"),
        Column::number("TIMES"),
        Column::text("CHANGE"),
    ]);
    for line in lines {
        table.row([
            units::time(line.at),
            line.actor.clone(),
            line.address.clone().unwrap_or_default(),
            line.action.clone(),
            line.subject.clone(),
            units::count(u64::from(line.count)),
            change(line),
        ]);
    }
    table
}

/// Returns the state before and after a change, as far as a line of a table has room.
fn change(line: &AuditLine) -> String {
    let text = match (&line.before, &line.after) {
        (None, None) => String::new(),
        (Some(before), None) => format!("{} -> nothing", short(before)),
        (None, Some(after)) => short(after),
        (Some(before), Some(after)) => format!("{} -> {}", short(before), short(after)),
    };
    if text.chars().count() <= MAX_CHANGE_WIDTH {
        return text;
    }
    let cut: String = text.chars().take(MAX_CHANGE_WIDTH - 1).collect();
    format!("{cut}…")
}

/// Returns a state without the fields that have no value.
fn short(state: &Value) -> String {
    let Value::Object(fields) = state else {
        return state.to_string();
    };
    let says = |value: &Value| !matches!(value, Value::Null) && *value != Value::Array(vec![]);
    let words = fields
        .iter()
        .filter(|(_, value)| says(value))
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}={text}"),
            value => format!("{name}={value}"),
        });
    let words: Vec<String> = words.collect();
    if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_says_what_changed_as_far_as_it_has_room() {
        let mut line: AuditLine = serde_json::from_value(json!({
            "id": "aud_1", "at": "2026-11-21T12:00:00Z", "account": "default", "actor": "operator", "address": null,
            "action": "license.disable", "subject": "lic_1", "before": {"status": "active"},
            "after": {"status": "disabled", "plan": null}, "count": 1,
        }))
        .expect("a line");
        let rows = table(std::slice::from_ref(&line)).lines();
        assert!(
            rows[1].starts_with("2026-11-21T12:00:00Z  operator  -"),
            "{}",
            rows[1]
        );
        assert!(
            rows[1].ends_with("status=active -> status=disabled"),
            "{}",
            rows[1]
        );
        line.after = Some(json!({ "label": "x".repeat(200) }));
        assert_eq!(change(&line).chars().count(), MAX_CHANGE_WIDTH);
    }
}
