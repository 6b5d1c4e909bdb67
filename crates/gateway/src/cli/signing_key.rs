//! `tallygate signing-key`: the keys that stamps and access tokens are signed with.

use std::process::ExitCode;

use api_types::{RotateSigningKey, SigningKey};
use clap::{Args, Subcommand};
use model::{Interval, SigningUse};

use super::arguments::JsonArgument;
use super::units;
use crate::cli::{Client, Column, Error, Format, Output, Table, examples};

/// The commands on signing keys.
#[derive(Debug, Subcommand)]
pub(crate) enum SigningKeyCommand {
    /// List the signing keys, oldest first
    #[command(after_help = examples!("tallygate signing-key list", "tallygate signing-key list --json"))]
    List(JsonArgument),
    /// Make a new key that takes over
    #[command(after_help = examples!(
        "tallygate signing-key rotate stamps",
        "tallygate signing-key rotate tokens --overlap 2h --at-once",
        "tallygate signing-key rotate tokens-hs256 --withdraw",
    ))]
    Rotate(RotateArguments),
}

/// Arguments of `signing-key rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    /// What the keys sign: stamps, tokens, tokens-hs256 or assertions
    #[arg(value_name = "USE")]
    signing_use: SigningUse,
    /// How long what the old key signed is taken after it stopped signing [default: 1d]
    #[arg(long, value_name = "DURATION")]
    overlap: Option<Interval>,
    /// Sign with the new key at once, not only when all who keep the published keys know it
    #[arg(long)]
    at_once: bool,
    /// Take nothing any more that the keys before signed, as after a theft
    #[arg(long)]
    withdraw: bool,
    #[command(flatten)]
    json: JsonArgument,
}

pub(crate) async fn execute(
    command: SigningKeyCommand,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    match command {
        SigningKeyCommand::List(json) => {
            let list: Vec<SigningKey> = client.all("/signing-keys").await?;
            match json.format() {
                Format::Json => output.json(&list)?,
                _ => output.table(&table(&list))?,
            }
        }
        SigningKeyCommand::Rotate(arguments) => {
            let request = RotateSigningKey {
                signing_use: arguments.signing_use,
                overlap: arguments.overlap,
                at_once: arguments.at_once,
                withdraw: arguments.withdraw,
            };
            let key: SigningKey = client.post("/signing-keys/rotate", &request).await?;
            match arguments.json.format() {
                Format::Json => output.json(&key)?,
                _ => output.table(&table(std::slice::from_ref(&key)))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(keys: &[SigningKey]) -> Table {
    let mut table = Table::new([
        Column::text("ID"),
        Column::text("USE"),
        Column::text("ALGORITHM"),
        Column::text("STATE"),
        Column::text("SIGNS FROM"),
        Column::text("ENDS"),
    ]);
    for key in keys {
        table.row([
            key.id.to_string(),
            key.signing_use.to_string(),
            key.algorithm.clone(),
            key.state.as_str().to_owned(),
            units::time(key.signs_from),
            units::maybe_time(key.ends_at),
        ]);
    }
    table
}
