//! `tallygate key`: management keys, which open the API and never the gate.

use std::process::ExitCode;

use api_types::{ChangeManagementKey, CreateManagementKey, ManagementKey, Rotate, Scope};
use clap::{Args, Subcommand};
use ipnet::IpNet;
use model::{AccountName, AppName, Interval, LicenseId, ManagementKeyId, Timestamp};

use super::arguments::JsonArgument;
use super::units;
use crate::cli::{Client, Column, Error, Format, Output, Table, examples};

/// The commands on management keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a management key and print it, this once
    #[command(after_help = examples!(
        "tallygate key create --name ci",
        "tallygate key create --app api --scope read:usage --scope read:calls --expires-at 2027-01-01T00:00:00Z",
        "tallygate key create --pair --license lic_0198c0de0198c0de0198c0de0198c0de",
    ))]
    Create(CreateArguments),
    /// List management keys, oldest first
    #[command(after_help = examples!("tallygate key list", "tallygate key list --json"))]
    List(JsonArgument),
    /// Show one management key
    #[command(after_help = examples!("tallygate key show mgk_0198c0de0198c0de0198c0de0198c0de"))]
    Show(OneArguments),
    /// Make a new key with the rights of another, which ends
    #[command(after_help = examples!(
        "tallygate key rotate mgk_0198c0de0198c0de0198c0de0198c0de --overlap 1h",
    ))]
    Rotate(RotateArguments),
    /// Change from where a management key may be used
    #[command(after_help = examples!(
        "tallygate key change mgk_0198c0de0198c0de0198c0de0198c0de --allow-ip 192.0.2.0/24 --allow-ip 2001:db8::/32",
        "tallygate key change mgk_0198c0de0198c0de0198c0de0198c0de --allow-all",
    ))]
    Change(ChangeArguments),
    /// End a management key now
    #[command(after_help = examples!("tallygate key revoke mgk_0198c0de0198c0de0198c0de0198c0de"))]
    Revoke(OneArguments),
}

/// Arguments of `key create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// A word for people
    #[arg(long)]
    name: Option<String>,
    /// The account that it acts for [default: that of the app, else `default`]
    #[arg(long, value_name = "NAME")]
    account: Option<AccountName>,
    /// The only app that it may act on [default: every app of the account]
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// The only license that it may act on; tokens of a pair draw on it
    #[arg(long, value_name = "ID")]
    license: Option<LicenseId>,
    /// What it may do, such as `read:usage`; may be repeated [default: everything, with --license all that reads]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,
    /// When it ends, as RFC 3339 [default: never]
    #[arg(long, value_name = "TIME")]
    expires_at: Option<Timestamp>,
    /// Make a secret beside the key
    #[arg(long)]
    pair: bool,
    /// A network that it may be used from; may be repeated [default: from everywhere]
    #[arg(long = "allow-ip", value_name = "CIDR", value_parser = model::parse_network)]
    allow_ips: Vec<IpNet>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `key rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    /// The management key
    id: ManagementKeyId,
    /// How long the one before stays valid [default: not at all]
    #[arg(long, value_name = "DURATION")]
    overlap: Option<Interval>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `key change`.
#[derive(Debug, Args)]
pub(crate) struct ChangeArguments {
    /// The management key
    id: ManagementKeyId,
    /// A network that it may be used from, in place of those before; may be repeated
    #[arg(long = "allow-ip", value_name = "CIDR", value_parser = model::parse_network, required_unless_present = "allow_all")]
    allow_ips: Vec<IpNet>,
    /// Let it be used from everywhere
    #[arg(long, conflicts_with = "allow_ips")]
    allow_all: bool,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `key show` and `key revoke`.
#[derive(Debug, Args)]
pub(crate) struct OneArguments {
    /// The management key
    id: ManagementKeyId,
    #[command(flatten)]
    json: JsonArgument,
}

pub(crate) async fn execute(
    command: KeyCommand,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let (key, json): (ManagementKey, JsonArgument) = match command {
        KeyCommand::Create(arguments) => {
            let json = arguments.json;
            (
                client
                    .post("/management-keys", &arguments.request())
                    .await?,
                json,
            )
        }
        KeyCommand::List(json) => {
            let list: Vec<ManagementKey> = client.all("/management-keys").await?;
            match json.format() {
                Format::Json => output.json(&list)?,
                _ => output.table(&list_table(&list))?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        KeyCommand::Show(one) => {
            let path = format!("/management-keys/{}", one.id);
            (client.get(&path).await?, one.json)
        }
        KeyCommand::Rotate(arguments) => {
            let path = format!("/management-keys/{}/rotate", arguments.id);
            let request = Rotate {
                overlap: arguments.overlap,
            };
            (client.post(&path, &request).await?, arguments.json)
        }
        KeyCommand::Change(arguments) => {
            let path = format!("/management-keys/{}", arguments.id);
            let request = ChangeManagementKey {
                allow_ips: Some(arguments.allow_ips),
            };
            (client.patch(&path, &request).await?, arguments.json)
        }
        KeyCommand::Revoke(one) => {
            let path = format!("/management-keys/{}/revoke", one.id);
            (client.post(&path, &serde_json::json!({})).await?, one.json)
        }
    };
    show(&key, json.format(), output)?;
    Ok(ExitCode::SUCCESS)
}

// === impl CreateArguments ===

impl CreateArguments {
    fn request(self) -> CreateManagementKey {
        CreateManagementKey {
            name: self.name,
            account: self.account,
            app: self.app,
            license: self.license,
            scopes: self.scopes,
            expires_at: self.expires_at,
            pair: self.pair,
            allow_ips: self.allow_ips,
        }
    }
}

fn list_table(keys: &[ManagementKey]) -> Table {
    let mut table = Table::new([
        Column::text("ID"),
        Column::text("KEY"),
        Column::text("NAME"),
        Column::text("ACCOUNT"),
        Column::text("APP"),
        Column::text("SCOPES"),
        Column::text("EXPIRES"),
        Column::text("REVOKED"),
    ]);
    for key in keys {
        table.row([
            key.id.to_string(),
            format!("{}…", key.prefix),
            units::maybe(key.name.as_ref()),
            key.account.to_string(),
            units::maybe(key.app.as_ref()),
            scopes(key),
            units::maybe_time(key.expires_at),
            units::maybe_time(key.revoked_at),
        ]);
    }
    table
}

/// Returns the scopes of a key: everything if none is named, but nothing for a key of one license.
fn scopes(key: &ManagementKey) -> String {
    if key.scopes.is_empty() && key.license_id.is_none() {
        "all".to_owned()
    } else {
        units::words(&key.scopes)
    }
}

fn show(key: &ManagementKey, format: Format, output: &mut Output) -> Result<(), Error> {
    Ok(output.shown_once(format, key, || key_table(key), key.key.is_some())?)
}

fn key_table(key: &ManagementKey) -> Table {
    let mut table = Table::of_fields("MANAGEMENT KEY");
    let mut field = |name: &str, value: String| table.field(name, value);
    field("id", key.id.to_string());
    field("key", units::maybe(key.key.as_ref()));
    field("secret", units::maybe(key.secret.as_ref()));
    field("name", units::maybe(key.name.as_ref()));
    field("account", key.account.to_string());
    field("app", units::maybe(key.app.as_ref()));
    field("license", units::maybe(key.license_id));
    field("scopes", scopes(key));
    field("from", units::words(&key.allow_ips));
    field("expires", units::maybe_time(key.expires_at));
    field("revoked", units::maybe_time(key.revoked_at));
    table
}
