//! `tallygate app keys`: the keys that sign answers to the software that is sold with an app.

use std::path::PathBuf;

use api_types::{AppSigningKey, ImportAppKey, RetireAppKey, RotateAppKey};
use clap::{Args, Subcommand};
use model::{AppName, Interval, SigningKeyId};

use super::arguments::JsonArgument;
use super::secret_file::read_private_key;
use super::units;
use crate::cli::{Client, Column, Error, Format, Output, Table, examples};

/// The commands on signing keys of apps.
#[derive(Debug, Subcommand)]
pub(crate) enum AppKeysCommand {
    /// List the signing keys of an app, oldest first
    #[command(after_help = examples!("tallygate app keys list api", "tallygate app keys list api --json"))]
    List(ListArguments),
    /// Take over a signing key that software trusts already
    #[command(after_help = examples!(
        "tallygate app keys import api key.pem",
        "tallygate app keys import api - < seed.bin",
        "tallygate app keys import api key.pem --lead 7d",
    ))]
    Import(ImportArguments),
    /// Make a new signing key of an app, which takes over when the software that is out there trusts it
    #[command(after_help = examples!(
        "tallygate app keys rotate api --lead 90d",
        "tallygate app keys rotate api --at-once",
    ))]
    Rotate(RotateArguments),
    /// Retire a signing key of an app that does not sign now, or not yet
    #[command(after_help = examples!("tallygate app keys retire api sgk_0198c0de0198c0de0198c0de0198c0de"))]
    Retire(RetireArguments),
}

/// Arguments of `app keys list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// The app
    app: AppName,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `app keys import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// The app
    app: AppName,
    /// The file with the private key (Ed25519): PKCS#8 as PEM, or the 32 bytes of its seed, as they are or in base64 or hexadecimal; `-` is the standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How long the keys before go on signing [default: not at all]
    #[arg(long, value_name = "DURATION")]
    lead: Option<Interval>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `app keys rotate`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("when").required(true))]
pub(crate) struct RotateArguments {
    /// The app
    app: AppName,
    /// How long the keys before go on signing, so that software can be told to trust the new one
    #[arg(long, value_name = "DURATION", group = "when")]
    lead: Option<Interval>,
    /// Sign with the new key now, so that software which does not know it trusts no answer any more
    #[arg(long, group = "when")]
    at_once: bool,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `app keys retire`.
#[derive(Debug, Args)]
pub(crate) struct RetireArguments {
    /// The app
    app: AppName,
    /// The key
    id: SigningKeyId,
    #[command(flatten)]
    json: JsonArgument,
}

pub(super) async fn execute(
    command: AppKeysCommand,
    client: &Client,
    output: &mut Output,
) -> Result<(), Error> {
    let path = |app: &AppName| format!("/apps/{app}/signing-keys");
    let (key, json): (AppSigningKey, _) = match command {
        AppKeysCommand::List(arguments) => {
            let keys: Vec<AppSigningKey> = client.all(&path(&arguments.app)).await?;
            match arguments.json.format() {
                Format::Json => output.json(&keys)?,
                _ => output.table(&table(&keys))?,
            }
            return Ok(());
        }
        AppKeysCommand::Import(arguments) => {
            let request = ImportAppKey {
                private_key: read_private_key(&arguments.file)?,
                lead: arguments.lead,
            };
            let path = format!("{}/import", path(&arguments.app));
            (client.post(&path, &request).await?, arguments.json)
        }
        AppKeysCommand::Rotate(arguments) => {
            let request = RotateAppKey {
                lead: arguments.lead,
                at_once: arguments.at_once,
            };
            let path = format!("{}/rotate", path(&arguments.app));
            (client.post(&path, &request).await?, arguments.json)
        }
        AppKeysCommand::Retire(arguments) => {
            let request = RetireAppKey { id: arguments.id };
            let path = format!("{}/retire", path(&arguments.app));
            (client.post(&path, &request).await?, arguments.json)
        }
    };
    match json.format() {
        Format::Json => output.json(&key)?,
        _ => output.table(&table(std::slice::from_ref(&key)))?,
    }
    Ok(())
}

fn table(keys: &[AppSigningKey]) -> Table {
    let mut table = Table::new([
        Column::text("ID"),
        Column::text("PUBLIC KEY"),
        Column::text("STATE"),
        Column::text("SIGNS FROM"),
        Column::text("RETIRED"),
    ]);
    for key in keys {
        table.row([
            key.id.to_string(),
            key.public_key.clone(),
            key.state.as_str().to_owned(),
            units::maybe_time(key.signs_from),
            units::maybe_time(key.retired_at),
        ]);
    }
    table
}
