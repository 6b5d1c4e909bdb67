//! `tallygate agent`: what AI agents get, and which are known.

use std::path::PathBuf;
use std::process::ExitCode;

use api_types::{AgentDecision, KnownAgent, SetAgentRule, TestAgent};
use clap::{Args, Subcommand};
use model::agent::{
    AccessKind, AgentAnswer, AgentName, AgentPrice, AgentRule, Operator, Purpose, Verification,
};
use model::{AccountName, AgentRuleId, AppName, ParentPath};

use super::agent_table::{decision_table, known_table, list_table, rule_table};
use super::agent_token::{self, TokenCommand};
use super::arguments::{JsonArgument, read_bounded};
use super::units;
use crate::cli::{Client, Error, Format, Output, Table, examples};

/// The commands on AI agents.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Set a rule, in place of the one for the same agents, app and path
    #[command(after_help = examples!(
        "tallygate agent set --operator OpenAI --agent GPTBot --access deny",
        "tallygate agent set --operator Anthropic --access pay --price 'USD 0.01' --path /news",
        "tallygate agent set --purpose training --access deny --response-html sorry.html",
        "tallygate agent set --operator Google --access allow --verified --app api --instead-of-license",
    ))]
    Set(Box<SetArguments>),
    /// List the rules; of those that concern a call the first decides
    #[command(after_help = examples!("tallygate agent list", "tallygate agent list --app api --json"))]
    List(ListArguments),
    /// Remove a rule
    #[command(after_help = examples!("tallygate agent remove agr_0198c0de0198c0de0198c0de0198c0de"))]
    Remove(RemoveArguments),
    /// Say what is decided on a call, without making it
    #[command(after_help = examples!(
        "tallygate agent test --user-agent 'Mozilla/5.0 (compatible; GPTBot/1.2)'",
        "tallygate agent test --operator OpenAI --agent GPTBot --app api --path /news/today --verified",
    ))]
    Test(TestArguments),
    /// List the agents that the gate knows by their user agents
    #[command(after_help = examples!("tallygate agent known", "tallygate agent known --json"))]
    Known(JsonArgument),
    /// Tokens of agents: licenses that one agent alone can use
    #[command(subcommand)]
    Token(TokenCommand),
}

/// Arguments of `agent set`.
#[derive(Debug, Args)]
pub(crate) struct SetArguments {
    /// Who operates the agent [default: whoever]
    #[arg(long, value_name = "NAME")]
    operator: Option<Operator>,
    /// The agent [default: whichever]
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// For what it fetches: training, search, user_fetch, user_action, data or other [default: whatever]
    #[arg(long, value_parser = purpose)]
    purpose: Option<Purpose>,
    /// Only agents whose signature holds
    #[arg(long, conflicts_with = "verification")]
    verified: bool,
    /// Only agents of whom this is known: verified, invalid or unverified [default: whatever]
    #[arg(long, value_name = "WORD", value_parser = verification)]
    verification: Option<Verification>,
    /// The app [default: every app of the account]
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// The account whose policy it is [default: that of the app, or `default`]
    #[arg(long, value_name = "NAME")]
    account: Option<AccountName>,
    /// The path, with all below it [default: every path]
    #[arg(long, value_name = "/PATH")]
    path: Option<ParentPath>,
    /// What they get: allow, deny, token (let in with a token) or pay (let in if they pay)
    #[arg(long, value_parser = access)]
    access: AccessKind,
    /// The price of one call, with `--access pay`, such as "USD 0.01"; without a currency it is in US dollars
    #[arg(long, value_name = "PRICE", value_parser = price)]
    price: Option<AgentPrice>,
    /// Let them in on routes that want a license, too
    #[arg(long)]
    instead_of_license: bool,
    /// The status for who is sent away, 300 to 599 [default: 402 or 403]
    #[arg(long, value_name = "N", value_parser = units::whole::<u16>)]
    response_code: Option<u16>,
    /// A file with the page for who is sent away
    #[arg(long, value_name = "FILE")]
    response_html: Option<PathBuf>,
    /// A file with the JSON for who is sent away and does not read HTML
    #[arg(long, value_name = "FILE")]
    response_json: Option<PathBuf>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `agent list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only rules that name this app
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `agent remove`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    /// Its id
    id: AgentRuleId,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `agent test`.
#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    /// The user agent
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["operator", "agent"], conflicts_with_all = ["operator", "agent"])]
    user_agent: Option<String>,
    /// Who operates the agent
    #[arg(long, value_name = "NAME")]
    operator: Option<Operator>,
    /// The agent
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// The path
    #[arg(long, value_name = "/PATH", default_value = "/")]
    path: String,
    /// The app [default: none, so that rules for one app are left out]
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// The account whose policy decides [default: that of the app, or `default`]
    #[arg(long, value_name = "NAME")]
    account: Option<AccountName>,
    /// As if its signature held
    #[arg(long, conflicts_with = "verification")]
    verified: bool,
    /// As if this was known of it: verified, invalid or unverified
    #[arg(long, value_name = "WORD", value_parser = verification)]
    verification: Option<Verification>,
    #[command(flatten)]
    json: JsonArgument,
}

pub(crate) async fn execute(
    command: AgentCommand,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    match command {
        AgentCommand::Set(arguments) => {
            let json = arguments.json;
            let rule: AgentRule = client.post("/agents/rules", &arguments.request()?).await?;
            show(json, &rule, output, || rule_table(&rule))?;
        }
        AgentCommand::List(arguments) => {
            let path = match &arguments.app {
                Some(app) => format!("/agents/rules?app={app}"),
                None => "/agents/rules".to_owned(),
            };
            let all: Vec<AgentRule> = client.all(&path).await?;
            show(arguments.json, &all, output, || list_table(&all))?;
        }
        AgentCommand::Remove(arguments) => {
            let id = arguments.id;
            client.delete(&format!("/agents/rules/{id}")).await?;
            match arguments.json.format() {
                Format::Json => output.json(&serde_json::json!({ "id": id }))?,
                _ => output.line(&format!("{id} is removed"))?,
            }
        }
        AgentCommand::Test(arguments) => {
            let json = arguments.json;
            let decided: AgentDecision = client.post("/agents/test", &arguments.request()).await?;
            show(json, &decided, output, || decision_table(&decided))?;
        }
        AgentCommand::Known(json) => {
            let all: Vec<KnownAgent> = client
                .get::<api_types::List<_>>("/agents/known")
                .await?
                .items;
            show(json, &all, output, || known_table(&all))?;
        }
        AgentCommand::Token(command) => return agent_token::execute(command, client, output).await,
    }
    Ok(ExitCode::SUCCESS)
}

fn show<T: serde::Serialize>(
    json: JsonArgument,
    value: &T,
    output: &mut Output,
    table: impl FnOnce() -> Table,
) -> Result<(), Error> {
    match json.format() {
        Format::Json => output.json(value)?,
        _ => output.table(&table())?,
    }
    Ok(())
}

// === impl SetArguments ===

impl SetArguments {
    fn request(self) -> Result<SetAgentRule, Error> {
        let answer = AgentAnswer {
            code: self.response_code,
            html: self.response_html.map(read_text).transpose()?,
            json: self.response_json.map(read_json).transpose()?,
            ..AgentAnswer::default()
        };
        Ok(SetAgentRule {
            account: self.account,
            app: self.app,
            path: self.path,
            operator: self.operator,
            agent: self.agent,
            purpose: self.purpose,
            verification: known(self.verified, self.verification),
            access: self.access,
            price: self.price,
            answer: (answer != AgentAnswer::default()).then_some(answer),
            instead_of_license: self.instead_of_license,
        })
    }
}

// === impl TestArguments ===

impl TestArguments {
    fn request(self) -> TestAgent {
        TestAgent {
            user_agent: self.user_agent,
            operator: self.operator,
            agent: self.agent,
            account: self.account,
            app: self.app,
            path: Some(self.path),
            verification: known(self.verified, self.verification).unwrap_or_default(),
        }
    }
}

fn known(verified: bool, named: Option<Verification>) -> Option<Verification> {
    named.or(verified.then_some(Verification::Verified))
}

/// Returns the text of a file for an answer.
fn read_text(path: PathBuf) -> Result<String, Error> {
    read_bounded(&path, AgentAnswer::MAX_BODY_BYTES)
}

/// Returns the JSON of a file for an answer.
fn read_json(path: PathBuf) -> Result<serde_json::Value, Error> {
    let text = read_text(path.clone())?;
    serde_json::from_str(&text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        let path = path.display();
        Error::Usage(format!("{path} is not JSON: it cannot be read at {place}"))
    })
}

fn purpose(text: &str) -> Result<Purpose, String> {
    let words = || Purpose::ALL.map(Purpose::as_str).join(", ");
    Purpose::parse(text).ok_or_else(|| format!("use one of {}", words()))
}

fn verification(text: &str) -> Result<Verification, String> {
    let words = || Verification::ALL.map(Verification::as_str).join(", ");
    Verification::parse(text).ok_or_else(|| format!("use one of {}", words()))
}

fn access(text: &str) -> Result<AccessKind, String> {
    let words = || AccessKind::ALL.map(AccessKind::as_str).join(", ");
    AccessKind::parse(text).ok_or_else(|| format!("use one of {}", words()))
}

/// Reads a price; an amount alone is in US dollars.
fn price(text: &str) -> Result<AgentPrice, model::agent::ParseAgentPriceError> {
    let is_amount = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    match is_amount && !text.contains(' ') {
        true => format!("USD {text}").parse(),
        false => text.parse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_without_a_currency_is_in_dollars_and_none_is_negative() {
        for (text, expected) in [
            ("USD 0.01", "USD 0.01"),
            ("0.01", "USD 0.01"),
            ("EUR 2", "EUR 2"),
        ] {
            assert_eq!(price(text).expect("valid").to_string(), expected);
        }
        let negative = price("-1").expect_err("negative").to_string();
        assert!(negative.contains("a price of -1"), "{negative}");
        for bad in ["", "free", "0.01 USD"] {
            assert!(price(bad).is_err(), "{bad}");
        }
    }
}
