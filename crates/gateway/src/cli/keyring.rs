//! `tallygate keyring`: the keys that are kept in the store.

use std::process::ExitCode;

use api_types::{Nothing, SealKey};
use clap::Subcommand;

use super::arguments::JsonArgument;
use crate::cli::{Client, Error, Format, Output, Table, examples};

/// The commands on the keyring.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyringCommand {
    /// Make the key that copies of license keys are sealed with from now on; older copies still open
    #[command(after_help = examples!("tallygate keyring rotate"))]
    Rotate(JsonArgument),
}

pub(crate) async fn execute(
    command: KeyringCommand,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let KeyringCommand::Rotate(json) = command;
    let key: SealKey = client.post("/keyring/rotate", &Nothing {}).await?;
    match json.format() {
        Format::Json => output.json(&key)?,
        _ => {
            let mut table = Table::of_fields("SEALING KEY");
            table.row(["number".to_owned(), key.number.to_string()]);
            output.table(&table)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
