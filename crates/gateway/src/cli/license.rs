//! `tallygate license`: who may call what, and how much.

use std::process::ExitCode;

use api_types::{CreateLicense, Extend, License, LicenseSpec, LicenseUpdate, List, Rotate};
use clap::{Args, Subcommand};
use model::{AppName, Interval, LicenseId, Timestamp};
use serde::Serialize;

use super::arguments::{JsonArgument, read_key};
use super::credits::{AdjustArguments, adjust};
use super::import::{self, ImportArguments};
use super::license_change::ChangeArguments;
use super::license_keys::{self, AddKeyArguments, EndKeyArguments};
use super::license_table::{list_row, list_table, show};
use super::units;
use crate::cli::{Client, Error, Format, Output, examples};

/// The commands on licenses.
#[derive(Debug, Subcommand)]
pub(crate) enum LicenseCommand {
    /// Make a license and print its key, which is shown this once
    #[command(after_help = examples!(
        "tallygate license create --app api",
        "tallygate license create --app api --user 4711 --plan pro --expires-at 2027-01-01T00:00:00Z",
        "tallygate license create --app api --remaining 1000 --refill 1000/30d --rate-limit 10/1s --rate-limit 500/1h",
        "tallygate license create --app api --permission 'GET /reports' --allow-ip 192.0.2.0/24",
        "tallygate license create --app api --key-format authforge --device-slots 3 --variable tier=pro",
        "tallygate license create --app api --key - < old-key.txt",
    ))]
    Create(Box<CreateArguments>),
    /// Take over licenses that were made elsewhere, with the keys that people have
    #[command(after_help = examples!(
        "tallygate license import licenses.csv --app api --dry-run",
        "tallygate license import authforge.jsonl --app api --key-format authforge",
        "tallygate license import better-auth.csv --app api --hashed --skip-bad",
        "export-licenses | tallygate license import - --app api",
    ))]
    Import(Box<ImportArguments>),
    /// List licenses, oldest first
    #[command(after_help = examples!(
        "tallygate license list",
        "tallygate license list --app api --status active --json",
    ))]
    List(ListArguments),
    /// Show one license, its keys and what is left of its units
    #[command(after_help = examples!("tallygate license show lic_0198c0de0198c0de0198c0de0198c0de"))]
    Show(OneArguments),
    /// Take a license back for good
    #[command(after_help = examples!("tallygate license revoke lic_0198c0de0198c0de0198c0de0198c0de"))]
    Revoke(OneArguments),
    /// Switch a disabled license on again
    #[command(after_help = examples!("tallygate license enable lic_0198c0de0198c0de0198c0de0198c0de"))]
    Enable(OneArguments),
    /// Free all devices that a license is bound to
    #[command(after_help = examples!("tallygate license reset-devices lic_0198c0de0198c0de0198c0de0198c0de"))]
    ResetDevices(OneArguments),
    /// Switch a license off for now
    #[command(after_help = examples!("tallygate license disable lic_0198c0de0198c0de0198c0de0198c0de"))]
    Disable(OneArguments),
    /// Change what was said when a license was made: all that is named, or nothing
    #[command(after_help = examples!(
        "tallygate license change lic_0198c0de0198c0de0198c0de0198c0de --plan pro --label 'paid by wire'",
        "tallygate license change lic_0198c0de0198c0de0198c0de0198c0de --permission 'GET /reports' --allow-ip 192.0.2.0/24",
        "tallygate license change lic_0198c0de0198c0de0198c0de0198c0de --clear expires-at --clear rate-limit",
    ))]
    Change(Box<ChangeArguments>),
    /// Give a license a later end, or more units
    #[command(after_help = examples!(
        "tallygate license extend lic_0198c0de0198c0de0198c0de0198c0de --by 30d",
        "tallygate license extend lic_0198c0de0198c0de0198c0de0198c0de --expires-at 2027-01-01T00:00:00Z",
        "tallygate license extend lic_0198c0de0198c0de0198c0de0198c0de --remaining 5000",
    ))]
    Extend(ExtendArguments),
    /// Add units to what a license has left
    #[command(after_help = examples!("tallygate license credit lic_0198c0de0198c0de0198c0de0198c0de --units 100 --reason goodwill"))]
    Credit(AdjustOneArguments),
    /// Take units from what a license has left, as far as some are
    #[command(after_help = examples!("tallygate license debit lic_0198c0de0198c0de0198c0de0198c0de --units 100 --reason refund"))]
    Debit(AdjustOneArguments),
    /// Give a license a new key in place of those before
    #[command(after_help = examples!(
        "tallygate license rotate lic_0198c0de0198c0de0198c0de0198c0de",
        "tallygate license rotate lic_0198c0de0198c0de0198c0de0198c0de --overlap 1d",
    ))]
    Rotate(RotateArguments),
    /// Give a license one more key and print it, this once
    #[command(after_help = examples!("tallygate license add-key lic_0198c0de0198c0de0198c0de0198c0de"))]
    AddKey(AddKeyArguments),
    /// End one key of a license for good; the others stay
    #[command(after_help = examples!(
        "tallygate license end-key lic_0198c0de0198c0de0198c0de0198c0de crd_0198c0de0198c0de0198c0de0198c0de",
    ))]
    EndKey(EndKeyArguments),
}

/// Arguments of `license create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// The app that it opens
    #[arg(long, value_name = "NAME")]
    app: AppName,
    #[command(flatten)]
    spec: LicenseSpec,
    /// The shape of the new key
    #[arg(long, value_name = "FORMAT", value_parser = ["tallygate", "uuid", "apifew", "authforge"])]
    key_format: Option<String>,
    /// Take over an existing key; `-` reads it from the standard input
    #[arg(long, value_name = "EXISTING")]
    key: Option<String>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `license list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only this app
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// Only this user
    #[arg(long)]
    user: Option<String>,
    /// Only this status
    #[arg(long, value_parser = ["active", "disabled", "revoked"])]
    status: Option<String>,
    /// Licenses at most [default: all]
    #[arg(long, value_name = "N", value_parser = units::whole::<usize>)]
    limit: Option<usize>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of commands on one license.
#[derive(Debug, Args)]
pub(crate) struct OneArguments {
    /// The license
    id: LicenseId,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of a credit or a debit of a license.
#[derive(Debug, Args)]
pub(crate) struct AdjustOneArguments {
    /// The license
    id: LicenseId,
    #[command(flatten)]
    adjust: AdjustArguments,
}

/// Arguments of `license extend`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct ExtendArguments {
    /// The license
    id: LicenseId,
    /// The new end, as RFC 3339
    #[arg(long, value_name = "TIME", group = "what", conflicts_with = "by")]
    expires_at: Option<Timestamp>,
    /// So much later than its end, or than now if that has passed
    #[arg(long, value_name = "DURATION", group = "what")]
    by: Option<Interval>,
    /// Units left from now on
    #[arg(long, value_name = "N", value_parser = units::left, group = "what")]
    remaining: Option<u64>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `license rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    /// The license
    id: LicenseId,
    /// How long the keys before stay valid [default: not at all]
    #[arg(long, value_name = "DURATION")]
    overlap: Option<Interval>,
    #[command(flatten)]
    json: JsonArgument,
}

/// The parameters of a page of the list.
#[derive(Debug, Serialize)]
struct ListParameters {
    app: Option<AppName>,
    user: Option<String>,
    status: Option<String>,
    limit: usize,
    cursor: Option<String>,
}

const PAGE: usize = 1_000;

pub(crate) async fn execute(
    command: LicenseCommand,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let (license, json): (License, JsonArgument) = match command {
        LicenseCommand::Create(arguments) => {
            let json = arguments.json;
            (client.post("/licenses", &arguments.request()?).await?, json)
        }
        LicenseCommand::Import(arguments) => {
            return import::execute(*arguments, client, output).await;
        }
        LicenseCommand::List(arguments) => return list(arguments, client, output).await,
        LicenseCommand::Credit(one) => {
            let path = format!("/licenses/{}/credit", one.id);
            return adjust(&path, one.adjust, client, output).await;
        }
        LicenseCommand::Debit(one) => {
            let path = format!("/licenses/{}/debit", one.id);
            return adjust(&path, one.adjust, client, output).await;
        }
        LicenseCommand::Show(one) => (
            client.get(&format!("/licenses/{}", one.id)).await?,
            one.json,
        ),
        LicenseCommand::Revoke(one) => (act(client, one.id, "revoke").await?, one.json),
        LicenseCommand::Enable(one) => (act(client, one.id, "enable").await?, one.json),
        LicenseCommand::Disable(one) => (act(client, one.id, "disable").await?, one.json),
        LicenseCommand::ResetDevices(one) => {
            (act(client, one.id, "reset-devices").await?, one.json)
        }
        LicenseCommand::Change(arguments) => {
            let (path, json) = (format!("/licenses/{}", arguments.id), arguments.json);
            (client.patch(&path, &arguments.request()?).await?, json)
        }
        LicenseCommand::Extend(arguments) => (extend(&arguments, client).await?, arguments.json),
        LicenseCommand::Rotate(arguments) => {
            let request = Rotate {
                overlap: arguments.overlap,
            };
            let path = format!("/licenses/{}/rotate", arguments.id);
            (client.post(&path, &request).await?, arguments.json)
        }
        LicenseCommand::AddKey(arguments) => {
            let json = arguments.json;
            (license_keys::add(arguments, client).await?, json)
        }
        LicenseCommand::EndKey(arguments) => {
            (license_keys::end(&arguments, client).await?, arguments.json)
        }
    };
    show(&license, json.format(), output)?;
    Ok(ExitCode::SUCCESS)
}

// === impl CreateArguments ===

impl CreateArguments {
    fn request(self) -> Result<CreateLicense, Error> {
        Ok(CreateLicense {
            app: self.app,
            spec: self.spec,
            key_format: self.key_format,
            key: read_key(self.key)?,
        })
    }
}

async fn act(client: &Client, id: LicenseId, action: &str) -> Result<License, Error> {
    client
        .post(&format!("/licenses/{id}/{action}"), &serde_json::json!({}))
        .await
}

async fn extend(arguments: &ExtendArguments, client: &Client) -> Result<License, Error> {
    let mut license = None;
    if arguments.expires_at.is_some() || arguments.by.is_some() {
        let request = Extend {
            expires_at: arguments.expires_at,
            by: arguments.by,
        };
        let path = format!("/licenses/{}/extend", arguments.id);
        let extended = client.post(&path, &request).await;
        license = Some(extended.map_err(in_arguments)?);
    }
    if let Some(units) = arguments.remaining {
        let request = LicenseUpdate {
            remaining: Some(Some(units)),
            ..LicenseUpdate::default()
        };
        license = Some(
            client
                .patch(&format!("/licenses/{}", arguments.id), &request)
                .await?,
        );
    }
    license.ok_or_else(|| Error::Usage("give one of --by, --expires-at and --remaining".to_owned()))
}

/// A refusal in the words of the command line. That a license has no end is an answer, not a wrong argument.
fn in_arguments(error: Error) -> Error {
    match error {
        Error::Refused(mut problem) if problem.field.as_deref() == Some("by") => {
            problem.detail = problem.detail.replace("`expires_at`", "--expires-at");
            problem.field = None;
            Error::No(problem.detail)
        }
        error => error,
    }
}

/// Lists licenses page by page, so that a million of them take the memory of a thousand as JSON.
async fn list(
    arguments: ListArguments,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let json = arguments.json.format() == Format::Json;
    let mut table = list_table();
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let mut parameters = ListParameters {
        app: arguments.app,
        user: arguments.user,
        status: arguments.status,
        limit: PAGE,
        cursor: None,
    };
    let mut separator = "[";
    while left > 0 {
        parameters.limit = left.min(PAGE);
        let page: List<License> = client.query("/licenses", &parameters).await?;
        left = left.saturating_sub(page.items.len());
        for license in &page.items {
            if json {
                output.bytes(separator.as_bytes())?;
                separator = ",\n";
                output.compact_json(license)?;
            } else {
                table.row(list_row(license));
            }
        }
        parameters.cursor = page.next;
        if parameters.cursor.is_none() {
            break;
        }
    }
    if json {
        output.line(if separator == "[" { "[]" } else { "]" })?;
    } else {
        output.table(&table)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, ClientCommand, Command};
    use clap::{Arg, CommandFactory, Parser};

    fn create(arguments: &[&str]) -> CreateLicense {
        let all = ["tallygate", "license", "create"].iter().chain(arguments);
        let Command::Client(command) = Cli::try_parse_from(all).expect("valid arguments").command
        else {
            panic!("not a command of a client");
        };
        match *command {
            ClientCommand::License(LicenseCommand::Create(arguments)) => {
                arguments.request().expect("a request")
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_flag_of_creation_reaches_the_request() {
        let request = create(&[
            "--app",
            "api",
            "--plan",
            "pro",
            "--user",
            "u",
            "--label",
            "l",
            "--expires-at",
            "2027-01-01T00:00:00Z",
            "--remaining",
            "10",
            "--refill",
            "5/1h,add",
            "--rate-limit",
            "1/1s",
            "--rate-limit",
            "100/1h",
            "--concurrency",
            "3",
            "--permission",
            "GET /reports",
            "--allow-ip",
            "10.0.0.0/8",
            "--allow-ip",
            "::1",
            "--device-slots",
            "3",
            "--unlimited-devices",
            "--variable",
            "seats=5",
            "--variable",
            "tier=pro",
            "--key-format",
            "apifew",
        ]);
        let fields = |spec| serde_json::to_value(spec).expect("plain data");
        let (said, unsaid) = (fields(&request.spec), fields(&LicenseSpec::default()));
        let mut command = Cli::command();
        let license = command.find_subcommand_mut("license").expect("a command");
        let create_command = license.find_subcommand_mut("create").expect("a command");
        let help = create_command.render_long_help().to_string();
        // `tallygate agent token create` makes the tokens of agents.
        let names = LicenseSpec::field_names().into_iter();
        for name in names.filter(|name| *name != "agent") {
            assert_ne!(said[name], unsaid[name], "give {name} a value here");
            let flag = create_command
                .get_arguments()
                .find(|flag| flag.get_id() == name);
            let flag = flag.and_then(Arg::get_long).expect(name);
            assert!(help.contains(&format!("--{flag}")), "{help}");
        }
        assert_eq!(request.spec.limits.rate_limits.len(), 2);
        assert_eq!(request.spec.allow_ips[1].to_string(), "::1/128");
        assert_eq!(
            request
                .spec
                .limits
                .refill
                .map(|refill| refill.to_string())
                .as_deref(),
            Some("5/1h,add")
        );
        assert_eq!(request.spec.permissions[0].to_string(), "GET /reports");
        assert_eq!(request.key_format.as_deref(), Some("apifew"));
        assert_eq!(
            create(&["--app", "api", "--key", "an-old-key"])
                .key
                .as_deref(),
            Some("an-old-key")
        );
    }
}
