//! The command line: its arguments and its output.
//!
//! Every command but `run`, `check`, `init` and `demo` is a client of the native API.

mod account;
mod agent;
mod agent_table;
mod agent_token;
mod apikey;
mod app;
mod app_credentials;
mod app_keys;
mod app_software;
mod arguments;
mod audit;
pub(crate) mod calls;
mod client;
mod completions;
mod credits;
mod error;
mod failure;
mod help;
mod import;
pub(crate) mod init;
mod key;
mod keyring;
mod ledger;
mod license;
mod license_change;
mod license_keys;
mod license_table;
mod output;
mod progress;
mod secret_file;
mod session;
mod signing_key;
mod table;
mod target;
mod token;
mod trust;
mod units;
pub(crate) mod usage;
mod user;
mod webhook;
mod webhook_events;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use client::Client;
pub(crate) use error::{EXIT_CONFIG, Error};
pub(crate) use output::{Format, Output};
pub(crate) use table::{Column, Table};
pub(crate) use target::Target;

/// A reverse proxy that meters: callers with a license get in, every call is on the bill.
#[derive(Debug, Parser)]
#[command(
    name = "tallygate",
    version,
    max_term_width = 100,
    arg_required_else_help = false
)]
pub(crate) struct Cli {
    /// The gate's configuration; it also tells every other command which gate to talk to [default: ./gateway.toml]
    ///
    /// Without it, TALLYGATE_URL and TALLYGATE_KEY name a gate on another host and a management key.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Certificate authorities in PEM form that vouch for a gate at an https:// URL [default: TALLYGATE_CA_FILE, else those of the
    /// system]
    #[arg(long, global = true, value_name = "FILE", display_order = 900)]
    pub(crate) ca_file: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve until SIGTERM or Ctrl-C
    #[command(after_help = examples!("tallygate run", "tallygate --config /etc/tallygate/gateway.toml run"))]
    Run,
    /// Check the configuration and say where it is wrong
    #[command(after_help = examples!("tallygate check", "tallygate --config new.toml check"))]
    Check,
    /// Write a first configuration file, to be changed by hand
    #[command(after_help = examples!("tallygate init", "tallygate --config /etc/tallygate/gateway.toml init"))]
    Init,
    /// Serve a sample API behind the gate, with a license to try it
    #[command(after_help = examples!("tallygate demo", "tallygate demo --once"))]
    Demo(DemoArguments),
    #[command(flatten)]
    Client(Box<ClientCommand>),
    /// Print completions for a shell
    #[command(after_help = examples!("tallygate completions bash > /etc/bash_completion.d/tallygate"))]
    Completions(completions::CompletionsArguments),
}

/// The commands that ask a running gate.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Licenses: who may call what, and how much
    #[command(subcommand)]
    License(license::LicenseCommand),
    /// Users: the people and programs that licenses are for
    #[command(subcommand)]
    User(user::UserCommand),
    /// Request tokens: one-use permits of licenses
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// API keys: licenses that their owners manage and verify
    #[command(subcommand)]
    Apikey(apikey::ApiKeyCommand),
    /// Management keys: who may use the API of the gate
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Sessions: what key pairs were exchanged for
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Signing keys: what stamps and access tokens are signed with
    #[command(subcommand)]
    SigningKey(signing_key::SigningKeyCommand),
    /// The keyring: what seals the copies of keys that can be shown again
    #[command(subcommand)]
    Keyring(keyring::KeyringCommand),
    /// Apps: what the gate serves
    #[command(subcommand)]
    App(app::AppCommand),
    /// Accounts: who sells apps
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// AI agents: what they get, and which are known
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    /// Webhooks: who is told what happens
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// What was used, and what it costs
    #[command(after_help = usage::EXAMPLES)]
    Usage(usage::UsageArguments),
    /// The records of calls
    #[command(after_help = calls::EXAMPLES)]
    Calls(calls::CallsArguments),
    /// Who did what
    #[command(after_help = audit::EXAMPLES)]
    Audit(audit::AuditArguments),
    /// The ledger: verify, ship, export, rebuild
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
}

/// Arguments of `demo`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct DemoArguments {
    /// Make the tour's calls, print calls and bill, and exit
    #[arg(long)]
    pub(crate) once: bool,
}

pub(crate) use help::examples;

impl Cli {
    /// Reads the command line.
    ///
    /// # Errors
    /// Returns the exit code, after help and version are printed on stdout, or a bad argument as
    /// one line on stderr.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ExitCode> {
        Self::parse_arguments(arguments).map_err(|error| error::report_arguments(&error))
    }

    /// Parses arguments. A number, a duration or a time that begins with a sign is taken for one,
    /// and judged as such.
    fn parse_arguments(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let matches = with_signs(Self::command()).try_get_matches_from(arguments)?;
        Self::from_arg_matches(&matches)
    }

    /// Returns the path of the configuration file, named or by default.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.config
            .clone()
            .unwrap_or_else(|| PathBuf::from(target::DEFAULT_CONFIG))
    }
}

/// The names in help of values that are numbers, prices, durations or times.
const QUANTITIES: [&str; 6] = [
    "N",
    "DURATION",
    "TIME",
    "N/DURATION",
    "N/DURATION[,add]",
    "PRICE",
];

/// Returns the same command, whose quantities may begin with a sign: otherwise they would be taken
/// for other arguments.
fn with_signs(command: clap::Command) -> clap::Command {
    let is_quantity = |argument: &clap::Arg| {
        let names = argument.get_value_names().unwrap_or_default();
        names.iter().any(|name| QUANTITIES.contains(&name.as_str()))
    };
    command
        .mut_args(|argument| {
            let signs = is_quantity(&argument);
            argument.allow_hyphen_values(signs)
        })
        .mut_subcommands(with_signs)
}

/// Runs a command that is a client of a gate, from connecting to the last line of output.
pub(crate) fn execute(
    config: Option<&Path>,
    ca_file: Option<PathBuf>,
    command: Box<ClientCommand>,
) -> ExitCode {
    let mut output = Output::standard();
    let target = Target::find(config, ca_file);
    let result = target.and_then(|target| try_execute(target, *command, &mut output));
    finish(result, &mut output)
}

/// Prints the completions for a shell.
pub(crate) fn print_completions(arguments: &completions::CompletionsArguments) -> ExitCode {
    let mut output = Output::standard();
    finish(completions::print(arguments, &mut output), &mut output)
}

/// Flushes the output and turns the result into an exit code. An error is one line on stderr.
fn finish(result: Result<ExitCode, Error>, output: &mut Output) -> ExitCode {
    let flushed = output.flush();
    match result.and_then(|code| flushed.map(|()| code)) {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}

fn try_execute(
    target: Target,
    command: ClientCommand,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let client = Client::new(target)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    runtime.block_on(async {
        match command {
            ClientCommand::License(command) => license::execute(command, &client, output).await,
            ClientCommand::User(command) => user::execute(command, &client, output).await,
            ClientCommand::Token(command) => token::execute(command, &client, output).await,
            ClientCommand::Session(command) => session::execute(command, &client, output).await,
            ClientCommand::Apikey(command) => apikey::execute(command, &client, output).await,
            ClientCommand::Key(command) => key::execute(command, &client, output).await,
            ClientCommand::SigningKey(command) => {
                signing_key::execute(command, &client, output).await
            }
            ClientCommand::Keyring(command) => keyring::execute(command, &client, output).await,
            ClientCommand::App(command) => app::execute(command, &client, output).await,
            ClientCommand::Account(command) => account::execute(command, &client, output).await,
            ClientCommand::Agent(command) => agent::execute(command, &client, output).await,
            ClientCommand::Webhook(command) => webhook::execute(command, &client, output).await,
            ClientCommand::Usage(arguments) => usage::execute(arguments, &client, output).await,
            ClientCommand::Calls(arguments) => calls::execute(arguments, &client, output).await,
            ClientCommand::Audit(arguments) => audit::execute(arguments, &client, output).await,
            ClientCommand::Ledger(command) => ledger::execute(command, &client, output).await,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_examples(command: &clap::Command) {
        if command.has_subcommands() {
            return command.get_subcommands().for_each(assert_examples);
        }
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            help.starts_with("Examples:\n  tallygate "),
            "`{}` has none",
            command.get_name()
        );
        for line in help.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert!(words.contains(&command.get_name()), "{line}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed_and_every_command_has_examples() {
        Cli::command().debug_assert();
        assert_examples(&Cli::command());
    }

    /// Says every quantity of every command wrongly.
    fn assert_own_words(path: &[&str], command: &clap::Command) {
        for inner in command.get_subcommands() {
            assert_own_words(&[path, &[inner.get_name()]].concat(), inner);
        }
        for argument in command.get_arguments() {
            let names = argument.get_value_names().unwrap_or_default();
            let is_quantity = names.iter().any(|name| QUANTITIES.contains(&name.as_str()));
            let Some(long) = argument.get_long().filter(|_| is_quantity) else {
                continue;
            };
            let flag = format!("--{long}");
            for wrong in ["-30d", "1e6", "+1", "99999999999999999999999", ""] {
                let all = [path, &[&flag, wrong]].concat();
                let Err(error) = Cli::parse_arguments(all) else {
                    continue;
                };
                let message = error.to_string();
                for raw in [
                    "digit found",
                    "too large to fit",
                    "IP address syntax",
                    "tip:",
                    "parse integer",
                ] {
                    assert!(!message.contains(raw), "{path:?} {flag} {wrong}: {message}");
                }
            }
        }
    }

    #[test]
    fn no_argument_is_refused_in_the_words_of_a_parser() {
        assert_own_words(&["tallygate"], &Cli::command());
        let wrong = [
            "tallygate",
            "license",
            "extend",
            "lic_0198c0de0198c0de0198c0de0198c0de",
            "--by",
            "-30d",
        ];
        let message = Cli::parse_arguments(wrong)
            .expect_err("no duration")
            .to_string();
        assert!(
            message.contains("`-30d` is not a duration: write a whole number and a unit"),
            "{message}"
        );
    }

    #[test]
    fn the_configuration_may_be_named_before_or_after_the_command() {
        for arguments in [
            ["tallygate", "--config", "a.toml", "check"],
            ["tallygate", "check", "--config", "a.toml"],
        ] {
            let cli = Cli::try_parse_from(arguments).expect("valid arguments");
            assert_eq!(cli.config_path(), Path::new("a.toml"));
        }
        let cli = Cli::try_parse_from(["tallygate", "run"]).expect("valid arguments");
        assert_eq!(cli.config_path(), Path::new("gateway.toml"));
    }
}
