//! `tallygate agent token`: licenses that one agent alone can use.

use std::process::ExitCode;

use api_types::{AgentToken, CreateAgentToken};
use clap::{Args, Subcommand};
use model::agent::{AgentName, Operator};
use model::cli::left;
use model::{AccountName, AppName, LicenseId, LicenseStatus, PlanName, Timestamp};

use super::arguments::JsonArgument;
use super::units;
use crate::cli::{Client, Column, Error, Format, Output, Table, examples};

/// The commands on tokens of agents.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it, this once
    #[command(after_help = examples!(
        "tallygate agent token create --operator OpenAI --agent GPTBot",
        "tallygate agent token create --operator OpenAI --app api --expires-at 2027-01-01T00:00:00Z --remaining 10000",
        "tallygate agent token create --operator OpenAI --app api --payer lic_0198c0de0198c0de0198c0de0198c0de",
    ))]
    Create(CreateArguments),
    /// List tokens, oldest first
    #[command(after_help = examples!("tallygate agent token list", "tallygate agent token list --status active --json"))]
    List(ListArguments),
    /// End a token for good
    #[command(after_help = examples!("tallygate agent token revoke lic_0198c0de0198c0de0198c0de0198c0de"))]
    Revoke(RevokeArguments),
}

/// Arguments of `agent token create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// Who operates the agent
    #[arg(long, value_name = "NAME")]
    operator: Operator,
    /// The agent that alone may show it [default: every agent of the operator]
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// The app that it opens [default: every app of the account]
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// The account whose apps it opens [default: that of the app, or `default`]
    #[arg(long, value_name = "NAME")]
    account: Option<AccountName>,
    /// The license that pays for calls with it [default: the token itself]
    #[arg(long, value_name = "LICENSE")]
    payer: Option<LicenseId>,
    /// The plan [default: that of the app]
    #[arg(long, value_name = "NAME")]
    plan: Option<PlanName>,
    /// A word for people
    #[arg(long)]
    label: Option<String>,
    /// When it ends, as RFC 3339 [default: never]
    #[arg(long, value_name = "TIME")]
    expires_at: Option<Timestamp>,
    /// Units that it may use [default: they are not counted]
    #[arg(long, value_name = "N", value_parser = left)]
    remaining: Option<u64>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `agent token list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only this app; `*` for those that open every app
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// Only this status
    #[arg(long, value_parser = ["active", "disabled", "revoked"])]
    status: Option<String>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `agent token revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArguments {
    /// Its id
    id: LicenseId,
    #[command(flatten)]
    json: JsonArgument,
}

pub(super) async fn execute(
    command: TokenCommand,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let (token, json): (AgentToken, JsonArgument) = match command {
        TokenCommand::Create(arguments) => {
            let json = arguments.json;
            let request = arguments.request();
            (client.post("/agents/tokens", &request).await?, json)
        }
        TokenCommand::Revoke(one) => {
            let path = format!("/agents/tokens/{}/revoke", one.id);
            let revoked = client.post(&path, &serde_json::json!({})).await?;
            (revoked, one.json)
        }
        TokenCommand::List(arguments) => {
            let json = arguments.json;
            let all: Vec<AgentToken> = client.all(&arguments.path()).await?;
            match json.format() {
                Format::Json => output.json(&all)?,
                _ => output.table(&list_table(&all))?,
            }
            return Ok(ExitCode::SUCCESS);
        }
    };
    let is_new = token.token.is_some();
    output.shown_once(json.format(), &token, || one_table(&token), is_new)?;
    Ok(ExitCode::SUCCESS)
}

// === impl CreateArguments ===

impl CreateArguments {
    fn request(self) -> CreateAgentToken {
        CreateAgentToken {
            operator: self.operator,
            agent: self.agent,
            account: self.account,
            app: self.app,
            payer: self.payer,
            plan: self.plan,
            label: self.label,
            expires_at: self.expires_at,
            remaining: self.remaining,
        }
    }
}

// === impl ListArguments ===

impl ListArguments {
    fn path(&self) -> String {
        let app = self.app.as_ref().map(|app| format!("app={app}"));
        let status = self
            .status
            .as_ref()
            .map(|status| format!("status={status}"));
        let parameters: Vec<String> = app.into_iter().chain(status).collect();
        match parameters.is_empty() {
            true => "/agents/tokens".to_owned(),
            false => format!("/agents/tokens?{}", parameters.join("&")),
        }
    }
}

// === tables ===

fn list_table(all: &[AgentToken]) -> Table {
    let mut table = Table::new([
        Column::text("ID"),
        Column::text("TOKEN"),
        Column::text("OPERATOR"),
        Column::text("AGENT"),
        Column::text("APP"),
        Column::text("LABEL"),
        Column::text("STATUS"),
        Column::text("EXPIRES"),
        Column::number("LEFT"),
    ]);
    for one in all {
        table.row([
            one.id.to_string(),
            format!("{}…", one.prefix),
            one.operator.to_string(),
            units::maybe(one.agent.as_ref()),
            one.app.to_string(),
            units::maybe(one.label.as_ref()),
            status(one.status).to_owned(),
            units::maybe_time(one.expires_at),
            one.remaining.map(units::count).unwrap_or_default(),
        ]);
    }
    table
}

fn one_table(token: &AgentToken) -> Table {
    let mut table = Table::of_fields("AGENT TOKEN");
    let mut field = |name: &str, value: String| table.field(name, value);
    field("id", token.id.to_string());
    field("token", units::maybe(token.token.as_ref()));
    field("operator", token.operator.to_string());
    field("agent", units::maybe(token.agent.as_ref()));
    field("account", token.account.to_string());
    field("app", token.app.to_string());
    field("payer", units::maybe(token.payer));
    field("label", units::maybe(token.label.as_ref()));
    field("status", status(token.status).to_owned());
    field("created", units::time(token.created_at));
    field("expires", units::maybe_time(token.expires_at));
    let left = token.remaining.map(units::count);
    field("units left", left.unwrap_or_default());
    table
}

const fn status(status: LicenseStatus) -> &'static str {
    match status {
        LicenseStatus::Active => "active",
        LicenseStatus::Disabled => "disabled",
        LicenseStatus::Revoked => "revoked",
    }
}
