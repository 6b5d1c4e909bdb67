//! `tallygate account`: who sells apps.

use std::process::ExitCode;

use api_types::{Account, CreateAccount};
use clap::{Args, Subcommand};
use model::AccountName;

use super::arguments::JsonArgument;
use super::credits::{AdjustArguments, adjust};
use super::units;
use crate::cli::{Client, Column, Error, Format, Output, Table, examples};

/// The commands on accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account
    #[command(after_help = examples!("tallygate account create acme"))]
    Create(OneArguments),
    /// List the accounts; `default` is always there
    #[command(after_help = examples!("tallygate account list --json"))]
    List(JsonArgument),
    /// Show one account
    #[command(after_help = examples!("tallygate account show default"))]
    Show(OneArguments),
    /// Switch an account off: its management keys open nothing, its licenses stay
    #[command(after_help = examples!("tallygate account disable acme"))]
    Disable(OneArguments),
    /// Switch an account on again
    #[command(after_help = examples!("tallygate account enable acme"))]
    Enable(OneArguments),
    /// Add credits to an account; from the first time on they are counted
    #[command(after_help = examples!("tallygate account credit acme --units 10000 --reason 'invoice 4711'"))]
    Credit(AdjustOneArguments),
    /// Take credits from an account, as far as some are left
    #[command(after_help = examples!("tallygate account debit acme --units 500 --reason 'refund of invoice 4711'"))]
    Debit(AdjustOneArguments),
}

/// Arguments of a credit or a debit of an account.
#[derive(Debug, Args)]
pub(crate) struct AdjustOneArguments {
    /// Its name
    name: AccountName,
    #[command(flatten)]
    adjust: AdjustArguments,
}

/// Arguments of commands on one account.
#[derive(Debug, Args)]
pub(crate) struct OneArguments {
    /// Its name
    name: AccountName,
    #[command(flatten)]
    json: JsonArgument,
}

pub(crate) async fn execute(
    command: AccountCommand,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let (account, json): (Account, JsonArgument) = match command {
        AccountCommand::Create(one) => (
            client
                .post("/accounts", &CreateAccount { name: one.name })
                .await?,
            one.json,
        ),
        AccountCommand::Show(one) => (
            client.get(&format!("/accounts/{}", one.name)).await?,
            one.json,
        ),
        AccountCommand::Disable(one) => (switch(client, &one.name, "disable").await?, one.json),
        AccountCommand::Enable(one) => (switch(client, &one.name, "enable").await?, one.json),
        AccountCommand::Credit(one) => {
            let path = format!("/accounts/{}/credit", one.name);
            return adjust(&path, one.adjust, client, output).await;
        }
        AccountCommand::Debit(one) => {
            let path = format!("/accounts/{}/debit", one.name);
            return adjust(&path, one.adjust, client, output).await;
        }
        AccountCommand::List(json) => {
            let list: Vec<Account> = client.all("/accounts").await?;
            match json.format() {
                Format::Json => output.json(&list)?,
                _ => output.table(&table(&list))?,
            }
            return Ok(ExitCode::SUCCESS);
        }
    };
    match json.format() {
        Format::Json => output.json(&account)?,
        _ => output.table(&table(std::slice::from_ref(&account)))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn switch(client: &Client, name: &AccountName, how: &str) -> Result<Account, Error> {
    let path = format!("/accounts/{name}/{how}");
    client.post(&path, &serde_json::json!({})).await
}

fn table(accounts: &[Account]) -> Table {
    let mut table = Table::new([
        Column::text("NAME"),
        Column::text("CREATED"),
        Column::text("DISABLED"),
        Column::number("CREDITS"),
    ]);
    for account in accounts {
        table.row([
            account.name.to_string(),
            units::time(account.created_at),
            units::maybe_time(account.disabled_at),
            account.balance.map_or_else(
                || "unlimited".to_owned(),
                |left| units::count(left.remaining),
            ),
        ]);
    }
    table
}
