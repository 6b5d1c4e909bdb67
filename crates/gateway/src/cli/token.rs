//! `tallygate token`: one-use permits of licenses.

use std::process::ExitCode;

use api_types::Token;
use clap::{Args, Subcommand};
use model::{LicenseId, RequestTokenId};

use super::arguments::JsonArgument;
use super::units;
use crate::cli::{Client, Column, Error, Format, Output, Table, examples};

/// The commands on request tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// List the request tokens of a license, oldest first
    #[command(after_help = examples!("tallygate token list --license lic_0198c0de0198c0de0198c0de0198c0de"))]
    List(ListArguments),
    /// Show one
    #[command(after_help = examples!("tallygate token show rtk_0198c0de0198c0de0198c0de0198c0de"))]
    Show(OneArguments),
    /// End a request token that nobody used, and free its units
    #[command(after_help = examples!("tallygate token end rtk_0198c0de0198c0de0198c0de0198c0de"))]
    End(OneArguments),
}

/// Arguments of `token list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// The license that pays
    #[arg(long, value_name = "ID")]
    license: LicenseId,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of commands on one.
#[derive(Debug, Args)]
pub(crate) struct OneArguments {
    /// Its id
    id: RequestTokenId,
    #[command(flatten)]
    json: JsonArgument,
}

pub(crate) async fn execute(
    command: TokenCommand,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let (found, json): (Token, JsonArgument) = match command {
        TokenCommand::List(arguments) => {
            let path = format!("/tokens?license={}", arguments.license);
            let all: Vec<Token> = client.all(&path).await?;
            match arguments.json.format() {
                Format::Json => output.json(&all)?,
                _ => output.table(&table(&all))?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        TokenCommand::Show(one) => (client.get(&format!("/tokens/{}", one.id)).await?, one.json),
        TokenCommand::End(one) => {
            let path = format!("/tokens/{}/end", one.id);
            (client.post(&path, &serde_json::json!({})).await?, one.json)
        }
    };
    match json.format() {
        Format::Json => output.json(&found)?,
        _ => output.table(&table(std::slice::from_ref(&found)))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(all: &[Token]) -> Table {
    let mut table = Table::new([
        Column::text("ID"),
        Column::text("METHOD"),
        Column::text("PATH"),
        Column::text("UNITS"),
        Column::text("STATE"),
        Column::text("ISSUED"),
        Column::text("EXPIRES"),
        Column::text("STATUS"),
    ]);
    for one in all {
        table.row([
            one.id.to_string(),
            one.method.to_string(),
            one.path.clone(),
            units::count(one.units),
            one.state.as_str().to_owned(),
            units::time(one.issued_at),
            units::time(one.expires_at),
            units::maybe(one.status),
        ]);
    }
    table
}
