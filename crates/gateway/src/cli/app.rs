//! `tallygate app`: what the gate serves, and what has to do with the software that is sold with it.

use std::process::ExitCode;

use api_types::App;
use clap::{Args, Subcommand};
use model::AppName;

use super::app_credentials::{self, CredentialsArguments};
use super::app_keys::{self, AppKeysCommand};
use super::app_software::{self, SwitchArguments};
use super::arguments::JsonArgument;
use super::units;
use crate::cli::{Client, Column, Error, Format, Output, Table, examples};

/// The commands on apps. Apps are declared in the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// List the apps
    #[command(after_help = examples!("tallygate app list", "tallygate app list --json"))]
    List(JsonArgument),
    /// Show one app
    #[command(after_help = examples!("tallygate app show api"))]
    Show(ShowArguments),
    /// Make a new secret of an app and print it, this once, with the app's id and public key; or take over those that software has
    #[command(after_help = examples!(
        "tallygate app credentials api",
        "tallygate app credentials api --overlap 7d --json",
        "tallygate app credentials api --at-once",
        "tallygate app credentials api --import THEIR_APP_ID < secret.txt",
        "tallygate app credentials api --import THEIR_APP_ID --secret-file secret.txt --overlap 365d",
    ))]
    Credentials(CredentialsArguments),
    /// The keys that sign answers to the software that is sold with an app
    #[command(subcommand)]
    Keys(AppKeysCommand),
    /// Show whether the software of an app is switched off
    #[command(after_help = examples!("tallygate app software api"))]
    Software(SwitchArguments),
    /// Switch the software of an app off: nobody can validate a license of it
    #[command(after_help = examples!("tallygate app disable api"))]
    Disable(SwitchArguments),
    /// Switch the software of an app on again
    #[command(after_help = examples!("tallygate app enable api"))]
    Enable(SwitchArguments),
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
        AppCommand::Credentials(arguments) => {
            app_credentials::execute(arguments, client, output).await?;
        }
        AppCommand::Keys(command) => app_keys::execute(command, client, output).await?,
        AppCommand::Software(arguments) => {
            app_software::show(&arguments, client, output).await?;
        }
        AppCommand::Disable(arguments) => {
            app_software::switch(&arguments, false, client, output).await?;
        }
        AppCommand::Enable(arguments) => {
            app_software::switch(&arguments, true, client, output).await?;
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
