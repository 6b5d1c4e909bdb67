//! `credit` and `debit` of accounts and licenses: changes by hand of what is left.

use std::process::ExitCode;

use api_types::{Adjust, Adjusted};
use clap::Args;

use super::arguments::JsonArgument;
use super::units;
use crate::cli::{Client, Column, Error, Format, Output, Table};

/// The arguments of a credit or a debit.
#[derive(Debug, Args)]
pub(crate) struct AdjustArguments {
    /// How many units
    #[arg(long, value_name = "N", value_parser = units::whole::<u64>)]
    units: u64,
    /// Why, for the audit log
    #[arg(long)]
    reason: String,
    /// A word of yours for this change: said again, it is not made again, and answered as before
    #[arg(long, value_name = "K", value_parser = idempotency_key)]
    key: Option<String>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Credits or debits what a path of the API names.
pub(super) async fn adjust(
    path: &str,
    arguments: AdjustArguments,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let request = Adjust {
        units: arguments.units,
        reason: arguments.reason,
    };
    let key = arguments.key.as_deref();
    let adjusted: Adjusted = client.post_once(path, &request, key).await?;
    match arguments.json.format() {
        Format::Json => output.json(&adjusted)?,
        _ => output.table(&table(&adjusted))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a key that a header can hold.
fn idempotency_key(text: &str) -> Result<String, String> {
    let plain = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    plain
        .then(|| text.to_owned())
        .ok_or_else(|| "use 1 to 255 visible ASCII characters, without spaces".to_owned())
}

fn table(adjusted: &Adjusted) -> Table {
    let mut table = Table::new([
        Column::number("UNITS"),
        Column::number("LEFT"),
        Column::number("TAKEN BY CALLS"),
    ]);
    table.row([
        units::count(adjusted.units),
        units::count(adjusted.balance.remaining),
        units::count(adjusted.balance.taken),
    ]);
    table
}
