//! `tallygate usage`: what was used, and what it costs.

use std::process::ExitCode;

use api_types::{UsageBy, UsageParameters};
use clap::Args;
use model::usage::{UsageField, UsageRow, UsageSums};
use model::{AppName, Currency, LicenseId, Timestamp};

use super::units;
use crate::cli::{Client, Column, Error, Format, Output, Table, examples};

pub(super) const EXAMPLES: &str = examples!(
    "tallygate usage",
    "tallygate usage --by license,day --from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z",
    "tallygate usage --license lic_0198c0de0198c0de0198c0de0198c0de --by route,status --json",
    "tallygate usage --by app,license --csv > bill.csv",
);

/// Arguments of `usage`.
#[derive(Debug, Args)]
pub(crate) struct UsageArguments {
    /// Only this license
    #[arg(long, value_name = "ID")]
    license: Option<LicenseId>,
    /// Only this app
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// Only calls that came at this time or later, as RFC 3339
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only calls that came before this time, as RFC 3339
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Fields to sum up by: license, app, route, method, status, outcome, mode, plan, day, hour
    #[arg(long, value_name = "FIELDS", default_value = "app,license")]
    by: UsageBy,
    /// Print a JSON array, for programs
    #[arg(long)]
    json: bool,
    /// Print comma-separated values, for spreadsheets
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

pub(crate) async fn execute(
    arguments: UsageArguments,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let format = match (arguments.json, arguments.csv) {
        (true, _) => Format::Json,
        (_, true) => Format::Csv,
        _ => Format::Table,
    };
    let parameters = UsageParameters {
        license: arguments.license,
        app: arguments.app,
        from: arguments.from,
        to: arguments.to,
        by: arguments.by,
    };
    client.tell_of_unknown_app(parameters.app.as_ref()).await;
    let rows: Vec<UsageRow> = client.query("/usage", &parameters).await?;
    match format {
        Format::Json => output.json(&rows)?,
        Format::Csv => csv(&parameters.by.0, &rows)
            .iter()
            .try_for_each(|line| output.line(line))?,
        Format::Table => output.table(&table(&parameters.by.0, &rows))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the rows as a table, with a line of totals per currency if there is more than one row.
pub(crate) fn table(by: &[UsageField], rows: &[UsageRow]) -> Table {
    let mut columns: Vec<Column> = by.iter().map(|field| column(*field)).collect();
    columns.extend([
        Column::number("CALLS"),
        Column::number("BILLED"),
        Column::number("UNITS"),
        Column::number("AMOUNT"),
        Column::text(""),
    ]);
    let mut table = Table::new(columns);
    for row in rows {
        let group = by.iter().map(|field| person_cell(*field, row));
        table.row(group.chain(sum_cells(&row.sums, row.currency)));
    }
    if rows.len() > 1 && !by.is_empty() {
        for (currency, sums) in totals(rows) {
            let label = (0..by.len()).map(|at| if at == 0 { "total" } else { " " }.to_owned());
            table.row(label.chain(sum_cells(&sums, currency)));
        }
    }
    table
}

/// Returns the sums per currency, in order of first appearance.
fn totals(rows: &[UsageRow]) -> Vec<(Option<Currency>, UsageSums)> {
    let mut totals: Vec<(Option<Currency>, UsageSums)> = Vec::new();
    for row in rows {
        match totals
            .iter_mut()
            .find(|(currency, _)| *currency == row.currency)
        {
            Some((_, sums)) => sums.add(&row.sums),
            None => totals.push((row.currency, row.sums)),
        }
    }
    totals
}

fn sum_cells(sums: &UsageSums, currency: Option<Currency>) -> [String; 5] {
    [
        units::count(sums.calls),
        units::count(sums.billable_calls),
        units::count(sums.units),
        sums.amount.to_string(),
        currency.map_or_else(|| " ".to_owned(), |currency| currency.to_string()),
    ]
}

const fn column(field: UsageField) -> Column {
    match field {
        UsageField::App => Column::text("APP"),
        UsageField::Day => Column::text("DAY"),
        UsageField::Hour => Column::text("HOUR"),
        UsageField::License => Column::text("LICENSE"),
        UsageField::Method => Column::text("METHOD"),
        UsageField::Mode => Column::text("MODE"),
        UsageField::Outcome => Column::text("OUTCOME"),
        UsageField::Plan => Column::text("PLAN"),
        UsageField::Route => Column::text("ROUTE"),
        UsageField::Status => Column::number("STATUS"),
    }
}

fn person_cell(field: UsageField, row: &UsageRow) -> String {
    match field {
        UsageField::Day => row
            .day
            .map(|day| day.to_string().chars().take(10).collect())
            .unwrap_or_default(),
        UsageField::Hour => units::maybe_time(row.hour),
        field => cell(field, row),
    }
}

fn cell(field: UsageField, row: &UsageRow) -> String {
    match field {
        UsageField::App => units::maybe(row.app.as_ref()),
        UsageField::Day => units::maybe(row.day),
        UsageField::Hour => units::maybe(row.hour),
        UsageField::License => units::maybe(row.license_id),
        UsageField::Method => units::maybe(row.method),
        UsageField::Mode => units::maybe(row.mode),
        UsageField::Outcome => units::maybe(row.outcome),
        UsageField::Plan => units::maybe(row.plan.as_ref()),
        UsageField::Route => units::maybe(row.route.as_ref()),
        UsageField::Status => units::maybe(row.status),
    }
}

/// Returns the rows as comma-separated values (RFC 4180, but for its line ends), with the field
/// names of `--json`.
fn csv(by: &[UsageField], rows: &[UsageRow]) -> Vec<String> {
    let name = |field: &UsageField| match field {
        UsageField::License => "license_id".to_owned(),
        field => UsageBy(vec![*field]).to_string(),
    };
    let sums = ["calls", "billable_calls", "units", "amount", "currency"].map(str::to_owned);
    let titles: Vec<String> = by.iter().map(name).chain(sums).collect();
    let line = |cells: Vec<String>| {
        cells
            .iter()
            .map(|cell| csv_cell(cell))
            .collect::<Vec<_>>()
            .join(",")
    };
    let mut lines = vec![line(titles)];
    for row in rows {
        let sums = [
            row.sums.calls.to_string(),
            row.sums.billable_calls.to_string(),
            row.sums.units.to_string(),
            row.sums.amount.to_string(),
            units::maybe(row.currency),
        ];
        lines.push(line(
            by.iter()
                .map(|field| cell(*field, row))
                .chain(sums)
                .collect(),
        ));
    }
    lines
}

fn csv_cell(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(route: &str, calls: u64, amount: &str) -> UsageRow {
        UsageRow {
            route: Some(route.to_owned()),
            status: Some(200),
            sums: UsageSums {
                calls,
                billable_calls: calls,
                units: calls,
                amount: amount.parse().expect("valid"),
                ..UsageSums::default()
            },
            currency: Some("EUR".parse().expect("valid")),
            ..UsageRow::default()
        }
    }

    #[test]
    fn a_bill_is_aligned_and_summed_up() {
        let by = [UsageField::Route, UsageField::Status];
        let rows = [row("/reports", 1_200, "12"), row("/", 3, "0.03")];
        assert_eq!(
            table(&by, &rows).lines(),
            [
                "ROUTE     STATUS  CALLS  BILLED  UNITS  AMOUNT",
                "/reports     200  1,200   1,200  1,200      12  EUR",
                "/            200      3       3      3    0.03  EUR",
                "total             1,203   1,203  1,203   12.03  EUR",
            ]
        );
    }

    #[test]
    fn currencies_are_never_added_up() {
        let dollars = UsageRow {
            currency: Some("USD".parse().expect("valid")),
            ..row("/", 1, "1")
        };
        let totals = totals(&[row("/", 1, "2"), dollars, row("/a", 1, "3")]);
        assert_eq!(totals.len(), 2);
        assert_eq!(totals[0].1.amount.to_string(), "5");
    }

    #[test]
    fn csv_names_the_fields_of_json_and_quotes_what_needs_it() {
        let lines = csv(
            &[UsageField::License, UsageField::Route],
            &[row("/a,\"b\"", 2, "0.02")],
        );
        assert_eq!(
            lines[0],
            "license_id,route,calls,billable_calls,units,amount,currency"
        );
        assert_eq!(lines[1], r#","/a,""b""",2,2,2,0.02,EUR"#);
    }
}
