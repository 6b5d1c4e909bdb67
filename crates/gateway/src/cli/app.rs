//! `tallygate app`: what the gate serves, and the credentials of the software that is sold with it.

use std::process::ExitCode;

use api_types::{App, AppCredentials, RenewAppSecret};
use clap::{Args, Subcommand};
use model::{AppName, Interval};

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
    /// Make a new secret of an app and print it, this once, with the app's id and public key
    #[command(after_help = examples!(
        "tallygate app credentials api",
        "tallygate app credentials api --overlap 7d --json",
        "tallygate app credentials api --at-once",
    ))]
    Credentials(CredentialsArguments),
}

/// Arguments of `app show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// Its name
    name: AppName,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `app credentials`.
#[derive(Debug, Args)]
pub(crate) struct CredentialsArguments {
    /// Its name
    name: AppName,
    /// How long the secrets before stay valid [default: 1d]
    #[arg(long, value_name = "DURATION")]
    overlap: Option<Interval>,
    /// End the secrets before now, as after a theft
    #[arg(long, conflicts_with = "overlap")]
    at_once: bool,
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
            let path = format!("/apps/{}/credentials", arguments.name);
            let request = RenewAppSecret {
                overlap: arguments.overlap,
                at_once: arguments.at_once,
            };
            let made: AppCredentials = client.post(&path, &request).await?;
            match arguments.json.format() {
                Format::Json => output.json(&made)?,
                _ => output.table(&credentials_table(&made))?,
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

fn credentials_table(made: &AppCredentials) -> Table {
    let mut table = Table::of_fields("APP");
    table.row(["app".to_owned(), made.app.to_string()]);
    table.row(["app_id".to_owned(), made.app_id.to_string()]);
    table.row([
        "app_secret".to_owned(),
        units::maybe(made.app_secret.as_ref()),
    ]);
    table.row(["public_key".to_owned(), made.public_key.clone()]);
    table.row([
        "former_until".to_owned(),
        units::maybe_time(made.former_until),
    ]);
    table
}

fn hosts(app: &App) -> String {
    if app.hosts.is_empty() {
        "every host".to_owned()
    } else {
        units::words(&app.hosts)
    }
}
