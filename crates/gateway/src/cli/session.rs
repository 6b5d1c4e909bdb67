//! `tallygate session`: what key pairs were exchanged for.

use std::process::ExitCode;

use api_types::Session;
use clap::{Args, Subcommand};
use model::{ManagementKeyId, SessionId};

use super::arguments::JsonArgument;
use super::units;
use crate::cli::{Client, Column, Error, Format, Output, Table, examples};

/// The commands on sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// List the sessions of a management key, oldest first
    #[command(after_help = examples!("tallygate session list --key mgk_0198c0de0198c0de0198c0de0198c0de"))]
    List(ListArguments),
    /// Show one
    #[command(after_help = examples!("tallygate session show ses_0198c0de0198c0de0198c0de0198c0de"))]
    Show(OneArguments),
    /// End a session with all its tokens
    #[command(after_help = examples!("tallygate session end ses_0198c0de0198c0de0198c0de0198c0de"))]
    End(OneArguments),
}

/// Arguments of `session list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// The management key that they act for
    #[arg(long, value_name = "ID")]
    key: ManagementKeyId,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of commands on one.
#[derive(Debug, Args)]
pub(crate) struct OneArguments {
    /// Its id
    id: SessionId,
    #[command(flatten)]
    json: JsonArgument,
}

pub(crate) async fn execute(
    command: SessionCommand,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let (found, json): (Session, JsonArgument) = match command {
        SessionCommand::List(arguments) => {
            let path = format!("/sessions?key={}", arguments.key);
            let all: Vec<Session> = client.all(&path).await?;
            match arguments.json.format() {
                Format::Json => output.json(&all)?,
                _ => output.table(&table(&all))?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        SessionCommand::Show(one) => (
            client.get(&format!("/sessions/{}", one.id)).await?,
            one.json,
        ),
        SessionCommand::End(one) => {
            let path = format!("/sessions/{}/end", one.id);
            (client.post(&path, &serde_json::json!({})).await?, one.json)
        }
    };
    match json.format() {
        Format::Json => output.json(&found)?,
        _ => output.table(&table(std::slice::from_ref(&found)))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(all: &[Session]) -> Table {
    let mut table = Table::new([
        Column::text("ID"),
        Column::text("KEY"),
        Column::text("LICENSE"),
        Column::text("BEGAN"),
        Column::text("ENDED"),
    ]);
    for one in all {
        table.row([
            one.id.to_string(),
            one.key.to_string(),
            units::maybe(one.license),
            units::time(one.created_at),
            units::maybe_time(one.ended_at),
        ]);
    }
    table
}
