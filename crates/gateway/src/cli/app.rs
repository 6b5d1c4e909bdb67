//! `tallygate app`: what the gate serves.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use control::wire::App;
use model::AppName;

use super::arguments::JsonArgument;
use super::units;
use crate::cli::{Client, Column, Error, Format, Output, Table, examples};

/// What can be asked about apps. They are declared in the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// List the apps
    #[command(after_help = examples!("tallygate app list", "tallygate app list --json"))]
    List(JsonArgument),
    /// Show one app
    #[command(after_help = examples!("tallygate app show api"))]
    Show(ShowArguments),
}

/// Arguments of `app show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// Its name
    name: AppName,
    #[command(flatten)]
    json: JsonArgument,
}

pub(crate) async fn execute(
    command: AppCommand,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    match command {
        AppCommand::List(json) => {
            let list: Vec<App> = client.all("/apps").await?;
            match json.format() {
                Format::Json => output.json(&list)?,
                _ => output.table(&list_table(&list))?,
            }
        }
        AppCommand::Show(arguments) => {
            let app: App = client.get(&format!("/apps/{}", arguments.name)).await?;
            match arguments.json.format() {
                Format::Json => output.json(&app)?,
                _ => output.table(&app_table(&app))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list_table(apps: &[App]) -> Table {
    let mut table = Table::new([
        Column::text("NAME"),
        Column::text("ACCOUNT"),
        Column::text("HOSTS"),
        Column::text("UPSTREAMS"),
        Column::text("PLAN"),
        Column::text("MODE"),
        Column::number("ROUTES"),
    ]);
    for app in apps {
        table.row([
            app.name.to_string(),
            app.account.to_string(),
            hosts(app),
            units::words(&app.upstreams),
            units::maybe(app.plan.as_ref()),
            app.mode.clone(),
            app.routes.len().to_string(),
        ]);
    }
    table
}

fn app_table(app: &App) -> Table {
    let mut table = Table::of_fields("APP");
    table.row(["name".to_owned(), app.name.to_string()]);
    table.row(["account".to_owned(), app.account.to_string()]);
    table.row(["hosts".to_owned(), hosts(app)]);
    table.row(["upstreams".to_owned(), units::words(&app.upstreams)]);
    table.row(["plan".to_owned(), units::maybe(app.plan.as_ref())]);
    table.row(["mode".to_owned(), app.mode.clone()]);
    for route in &app.routes {
        table.row(["route".to_owned(), route.clone()]);
    }
    table
}

fn hosts(app: &App) -> String {
    if app.hosts.is_empty() {
        "every host".to_owned()
    } else {
        units::words(&app.hosts)
    }
}
