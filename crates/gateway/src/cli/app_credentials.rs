//! `tallygate app credentials`: the id and the secret of the software that is sold with an app.

use std::path::PathBuf;

use api_types::{AppCredentials, ImportAppCredentials, RenewAppSecret};
use clap::Args;
use model::{AppName, Interval};

use super::arguments::JsonArgument;
use super::secret_file::read_secret_text;
use super::units;
use crate::cli::{Client, Error, Format, Output, Table};

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
    /// Take over the id by which software knows the app already, with its secret, which is read from the standard input
    #[arg(long, value_name = "APP_ID", conflicts_with = "at_once")]
    import: Option<String>,
    /// The file with the secret to take over; `-` is the standard input [default: -]
    #[arg(long, value_name = "FILE", requires = "import")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    json: JsonArgument,
}

pub(super) async fn execute(
    arguments: CredentialsArguments,
    client: &Client,
    output: &mut Output,
) -> Result<(), Error> {
    let path = format!("/apps/{}/credentials", arguments.name);
    let made: AppCredentials = match arguments.import {
        Some(app_id) => {
            let file = arguments.secret_file.unwrap_or_else(|| "-".into());
            let request = ImportAppCredentials {
                app_id,
                app_secret: read_secret_text("the secret of the app", &file)?,
                overlap: arguments.overlap,
            };
            client.post(&format!("{path}/import"), &request).await?
        }
        None => {
            let request = RenewAppSecret {
                overlap: arguments.overlap,
                at_once: arguments.at_once,
            };
            client.post(&path, &request).await?
        }
    };
    match arguments.json.format() {
        Format::Json => output.json(&made)?,
        _ => output.table(&table(&made))?,
    }
    Ok(())
}

fn table(made: &AppCredentials) -> Table {
    let mut table = Table::of_fields("APP");
    table.row(["app".to_owned(), made.app.to_string()]);
    table.row(["app_id".to_owned(), made.app_id.to_string()]);
    if let Some(imported) = &made.imported_app_id {
        table.row(["imported_app_id".to_owned(), imported.clone()]);
    }
    if let Some(secret) = &made.app_secret {
        table.row(["app_secret".to_owned(), secret.clone()]);
    }
    table.row(["public_key".to_owned(), made.public_key.clone()]);
    table.row([
        "former_until".to_owned(),
        units::maybe_time(made.former_until),
    ]);
    table
}
