//! `tallygate app software|enable|disable`: the switch of the software that is sold with an app.

use api_types::{AppSoftware, ChangeAppSoftware};
use clap::Args;
use model::AppName;

use super::arguments::JsonArgument;
use super::units;
use crate::cli::{Client, Error, Format, Output, Table};

/// Arguments of the commands on the switch.
#[derive(Debug, Args)]
pub(crate) struct SwitchArguments {
    /// The app
    name: AppName,
    #[command(flatten)]
    json: JsonArgument,
}

pub(super) async fn show(
    arguments: &SwitchArguments,
    client: &Client,
    output: &mut Output,
) -> Result<(), Error> {
    let found: AppSoftware = client.get(&path(arguments)).await?;
    print(&found, arguments, output)
}

pub(super) async fn switch(
    arguments: &SwitchArguments,
    enabled: bool,
    client: &Client,
    output: &mut Output,
) -> Result<(), Error> {
    let change = ChangeAppSoftware { enabled };
    let changed: AppSoftware = client.patch(&path(arguments), &change).await?;
    print(&changed, arguments, output)
}

fn path(arguments: &SwitchArguments) -> String {
    format!("/apps/{}/software", arguments.name)
}

fn print(
    software: &AppSoftware,
    arguments: &SwitchArguments,
    output: &mut Output,
) -> Result<(), Error> {
    match arguments.json.format() {
        Format::Json => output.json(software)?,
        _ => output.table(&table(software))?,
    }
    Ok(())
}

fn table(software: &AppSoftware) -> Table {
    let mut table = Table::of_fields("APP");
    table.row(["app".to_owned(), software.app.to_string()]);
    table.row(["app_id".to_owned(), software.app_id.clone()]);
    table.row(["enabled".to_owned(), software.enabled.to_string()]);
    table.row([
        "disabled_at".to_owned(),
        units::maybe_time(software.disabled_at),
    ]);
    table
}
