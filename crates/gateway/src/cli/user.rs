//! `tallygate user`: the people and programs that an app's licenses are for.

use std::process::ExitCode;

use api_types::{ChangeUser, CreateUser, User};
use clap::{Args, Subcommand};
use model::{AppName, UserId};
use serde::Serialize;

use super::arguments::JsonArgument;
use super::client::with_query;
use super::units;
use crate::cli::{Client, Column, Error, Format, Output, Table, examples};

/// The commands on users.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make a user of an app
    #[command(after_help = examples!(
        "tallygate user create --app api --login ann@example.com --first-name Ann",
    ))]
    Create(CreateArguments),
    /// List the users of an app, oldest first
    #[command(after_help = examples!("tallygate user list --app api --login ann@example.com --json"))]
    List(ListArguments),
    /// Show one user
    #[command(after_help = examples!("tallygate user show usr_0198c0de0198c0de0198c0de0198c0de"))]
    Show(OneArguments),
    /// Change the names of a user; an empty one is taken away
    #[command(after_help = examples!(
        "tallygate user change usr_0198c0de0198c0de0198c0de0198c0de --last-name Lee",
    ))]
    Change(ChangeArguments),
    /// Forget a user; licenses stay in force and name them no more
    #[command(after_help = examples!("tallygate user forget usr_0198c0de0198c0de0198c0de0198c0de"))]
    Forget(ForgetArguments),
}

/// Arguments of `user create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// The app
    #[arg(long, value_name = "NAME")]
    app: AppName,
    /// Your own name for them, which licenses name as `--user`
    #[arg(long)]
    login: String,
    /// First name
    #[arg(long)]
    first_name: Option<String>,
    /// Last name
    #[arg(long)]
    last_name: Option<String>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `user list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// The app
    #[arg(long, value_name = "NAME")]
    app: AppName,
    /// Only the one of this login
    #[arg(long)]
    login: Option<String>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of commands on one user.
#[derive(Debug, Args)]
pub(crate) struct OneArguments {
    /// The user
    id: UserId,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `user change`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct ChangeArguments {
    /// The user
    id: UserId,
    /// First name
    #[arg(long, group = "what")]
    first_name: Option<String>,
    /// Last name
    #[arg(long, group = "what")]
    last_name: Option<String>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `user forget`.
#[derive(Debug, Args)]
pub(crate) struct ForgetArguments {
    /// The user
    id: UserId,
}

/// The parameters of the list of users.
#[derive(Debug, Serialize)]
struct Wanted<'a> {
    app: &'a AppName,
    login: Option<&'a str>,
}

pub(crate) async fn execute(
    command: UserCommand,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let (user, json): (User, JsonArgument) = match command {
        UserCommand::Create(arguments) => {
            let request = CreateUser {
                app: arguments.app,
                login: arguments.login,
                first_name: arguments.first_name,
                last_name: arguments.last_name,
            };
            (client.post("/users", &request).await?, arguments.json)
        }
        UserCommand::List(arguments) => return list(&arguments, client, output).await,
        UserCommand::Show(one) => (client.get(&format!("/users/{}", one.id)).await?, one.json),
        UserCommand::Change(arguments) => {
            let named =
                |name: Option<String>| name.map(|name| Some(name).filter(|n| !n.is_empty()));
            let request = ChangeUser {
                first_name: named(arguments.first_name),
                last_name: named(arguments.last_name),
            };
            let path = format!("/users/{}", arguments.id);
            (client.patch(&path, &request).await?, arguments.json)
        }
        UserCommand::Forget(one) => {
            client.delete(&format!("/users/{}", one.id)).await?;
            output.line(&format!("{} is forgotten", one.id))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    match json.format() {
        Format::Json => output.json(&user)?,
        _ => output.table(&table(std::slice::from_ref(&user)))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(
    arguments: &ListArguments,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let wanted = Wanted {
        app: &arguments.app,
        login: arguments.login.as_deref(),
    };
    let users: Vec<User> = client.all(&with_query("/users", &wanted)).await?;
    match arguments.json.format() {
        Format::Json => output.json(&users)?,
        _ => output.table(&table(&users))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(users: &[User]) -> Table {
    let mut table = Table::new([
        Column::text("ID"),
        Column::text("APP"),
        Column::text("LOGIN"),
        Column::text("ALIAS"),
        Column::text("FIRST NAME"),
        Column::text("LAST NAME"),
        Column::text("CREATED"),
    ]);
    for user in users {
        table.row([
            user.id.to_string(),
            user.app.to_string(),
            user.login.clone(),
            user.alias.to_string(),
            units::maybe(user.first_name.as_ref()),
            units::maybe(user.last_name.as_ref()),
            units::time(user.created_at),
        ]);
    }
    table
}
