//! `tallygate apikey`: API keys, with the fields that protocols keep from their clients.

use std::collections::BTreeMap;
use std::process::ExitCode;

use api_types::{
    ApiKey, ChangeApiKey, CreateApiKey, DeletedApiKeys, LARGEST_LIMIT, Lasting, List,
    VerifiedApiKey, VerifyApiKey,
};
use clap::{Args, Subcommand};
use model::{
    AccountName, ApiKeyPrefix, AppName, Interval, LicenseId, Metadata, RateLimit, Refill,
    ResourcePermissions, Timestamp,
};
use serde::Serialize;

use super::arguments::{JsonArgument, read_key};

use super::units;
use crate::cli::{Client, Column, Error, Format, Output, Table, examples};

/// The commands on API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeyCommand {
    /// Make an API key and print it, this once
    #[command(after_help = examples!(
        "tallygate apikey create --app api --name ci --prefix ci_",
        "tallygate apikey create --remaining 100 --refill 100/1d --rate-limit 10/1m --permission files:read",
    ))]
    Create(Box<CreateArguments>),
    /// List API keys, oldest first
    #[command(after_help = examples!("tallygate apikey list", "tallygate apikey list --app api --json"))]
    List(ListArguments),
    /// Show an API key and what is left of it
    #[command(after_help = examples!("tallygate apikey show lic_0198c0de0198c0de0198c0de0198c0de"))]
    Show(OneArguments),
    /// Change an API key, wholly or not at all
    #[command(after_help = examples!(
        "tallygate apikey update lic_0198c0de0198c0de0198c0de0198c0de --disable",
        "tallygate apikey update lic_0198c0de0198c0de0198c0de0198c0de --remaining 100 --no-rate-limit",
    ))]
    Update(Box<UpdateArguments>),
    /// Delete an API key, or those that have ended
    #[command(after_help = examples!(
        "tallygate apikey delete lic_0198c0de0198c0de0198c0de0198c0de",
        "tallygate apikey delete --expired",
    ))]
    Delete(DeleteArguments),
    /// Say whether a key is valid, which uses it; exit code 1 if it is not
    #[command(after_help = examples!(
        "tallygate apikey verify - --permission files:read < key.txt",
    ))]
    Verify(VerifyArguments),
}

/// Arguments of `apikey create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// The app that it opens [default: every app of the account]
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// The account [default: that of the app, else `default`]
    #[arg(long, value_name = "NAME")]
    account: Option<AccountName>,
    /// Your own name for the user it is given to
    #[arg(long)]
    user: Option<String>,
    /// A word for people
    #[arg(long)]
    name: Option<String>,
    /// What the key begins with
    #[arg(long)]
    prefix: Option<ApiKeyPrefix>,
    /// When it ends, as RFC 3339 [default: never]
    #[arg(long, value_name = "TIME", conflicts_with = "expires_in")]
    expires_at: Option<Timestamp>,
    /// After how long it ends
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<Interval>,
    /// Units to start with [default: not counted]
    #[arg(long, value_name = "N", value_parser = units::left)]
    remaining: Option<u64>,
    /// Units that come back by themselves; with `,add` what is left is kept
    #[arg(long, value_name = "N/DURATION[,add]")]
    refill: Option<Refill>,
    #[command(flatten)]
    rate: RateArguments,
    #[command(flatten)]
    content: ContentArguments,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `apikey update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArguments {
    /// The API key
    id: LicenseId,
    /// A word for people
    #[arg(long)]
    name: Option<String>,
    /// Switch it on again
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Switch it off for now
    #[arg(long)]
    disable: bool,
    /// When it ends, as RFC 3339
    #[arg(long, value_name = "TIME", group = "end")]
    expires_at: Option<Timestamp>,
    /// After how long from now it ends
    #[arg(long, value_name = "DURATION", group = "end")]
    expires_in: Option<Interval>,
    /// It never ends
    #[arg(long, group = "end")]
    no_expiry: bool,
    /// Units that are left from now on
    #[arg(long, value_name = "N", value_parser = units::left)]
    remaining: Option<u64>,
    /// Units that come back by themselves; with `,add` what is left is kept
    #[arg(long, value_name = "N/DURATION[,add]")]
    refill: Option<Refill>,
    #[command(flatten)]
    rate: RateArguments,
    #[command(flatten)]
    content: ContentArguments,
    #[command(flatten)]
    json: JsonArgument,
}

/// The rate limit of a key.
#[derive(Debug, Args)]
pub(crate) struct RateArguments {
    /// Calls in a window [default: that of the configuration]
    #[arg(long, value_name = "N/DURATION")]
    rate_limit: Option<RateLimit>,
    /// Let no rate limit hold; one that is named holds again when it is switched on
    #[arg(long)]
    no_rate_limit: bool,
}

/// What a key carries.
#[derive(Debug, Args)]
pub(crate) struct ContentArguments {
    /// What it gives leave for, as RESOURCE:ACTION; may be repeated
    #[arg(long = "permission", value_name = "RESOURCE:ACTION", value_parser = parse_permission)]
    permissions: Vec<(String, String)>,
    /// A JSON object to keep with it
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    metadata: Option<Metadata>,
}

/// Arguments of `apikey list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only this app
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// Keys at most [default: all]
    #[arg(long, value_name = "N", value_parser = units::whole::<usize>)]
    limit: Option<usize>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `apikey show`.
#[derive(Debug, Args)]
pub(crate) struct OneArguments {
    /// The API key
    id: LicenseId,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `apikey delete`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(crate) struct DeleteArguments {
    /// The API key
    #[arg(group = "which")]
    id: Option<LicenseId>,
    /// All that have ended
    #[arg(long, group = "which")]
    expired: bool,
}

/// Arguments of `apikey verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The key; `-` reads it from the standard input
    key: String,
    /// What it must give leave for, as RESOURCE:ACTION; may be repeated
    #[arg(long = "permission", value_name = "RESOURCE:ACTION", value_parser = parse_permission)]
    permissions: Vec<(String, String)>,
    #[command(flatten)]
    json: JsonArgument,
}

/// The parameters of a page of the list.
#[derive(Debug, Serialize)]
struct ListParameters {
    app: Option<AppName>,
    limit: usize,
    cursor: Option<String>,
}

pub(crate) async fn execute(
    command: ApiKeyCommand,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let (key, json): (ApiKey, JsonArgument) = match command {
        ApiKeyCommand::Create(arguments) => {
            let json = arguments.json;
            (client.post("/keys", &arguments.request()?).await?, json)
        }
        ApiKeyCommand::List(arguments) => return list(arguments, client, output).await,
        ApiKeyCommand::Show(one) => (client.get(&format!("/keys/{}", one.id)).await?, one.json),
        ApiKeyCommand::Update(arguments) => {
            let (path, json) = (format!("/keys/{}", arguments.id), arguments.json);
            (client.patch(&path, &arguments.request()?).await?, json)
        }
        ApiKeyCommand::Delete(arguments) => return delete(&arguments, client, output).await,
        ApiKeyCommand::Verify(arguments) => return verify(arguments, client, output).await,
    };
    show(&key, json.format(), output)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(
    arguments: ListArguments,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let mut keys: Vec<ApiKey> = Vec::new();
    let mut parameters = ListParameters {
        app: arguments.app,
        limit: LARGEST_LIMIT,
        cursor: None,
    };
    loop {
        let missing = arguments
            .limit
            .map_or(LARGEST_LIMIT, |limit| limit - keys.len());
        if missing == 0 {
            break;
        }
        parameters.limit = missing.min(LARGEST_LIMIT);
        let page: List<ApiKey> = client.query("/keys", &parameters).await?;
        keys.extend(page.items);
        parameters.cursor = page.next;
        if parameters.cursor.is_none() {
            break;
        }
    }
    match arguments.json.format() {
        Format::Json => output.json(&keys)?,
        _ => output.table(&list_table(&keys))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn delete(
    arguments: &DeleteArguments,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    match arguments.id {
        Some(id) => {
            client.delete(&format!("/keys/{id}")).await?;
            output.line(&format!("{id} is deleted"))?;
        }
        None => {
            let path = "/keys/delete-expired";
            let done: DeletedApiKeys = client.post(path, &serde_json::json!({})).await?;
            output.line(&format!("{} deleted", done.deleted))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn verify(
    arguments: VerifyArguments,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let request = VerifyApiKey {
        key: read_key(Some(arguments.key))?.unwrap_or_default(),
        permissions: permissions(arguments.permissions)?,
    };
    let verified: VerifiedApiKey = client.post("/keys/verify", &request).await?;
    if arguments.json.format() == Format::Json {
        output.json(&verified)?;
    } else if let Some(key) = &verified.key {
        output.table(&key_table(key))?;
    } else {
        let refusal = verified.refusal.as_deref().unwrap_or("unknown");
        output.line(&format!("not valid: {refusal}"))?;
    }
    Ok(if verified.valid {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

// === impl CreateArguments ===

impl CreateArguments {
    fn request(self) -> Result<CreateApiKey, Error> {
        Ok(CreateApiKey {
            app: self.app,
            account: self.account,
            user: self.user,
            name: self.name,
            prefix: self.prefix,
            metadata: self.content.metadata,
            permissions: permissions(self.content.permissions)?,
            expires_at: self.expires_at,
            expires_in: self.expires_in.map(Lasting),
            remaining: self.remaining,
            refill: self.refill,
            rate_limit: self.rate.rate_limit,
            rate_limit_enabled: self.rate.no_rate_limit.then_some(false),
            ..CreateApiKey::default()
        })
    }
}

// === impl UpdateArguments ===

impl UpdateArguments {
    fn request(self) -> Result<ChangeApiKey, Error> {
        let held = self.rate.rate_limit.is_some().then_some(true);
        Ok(ChangeApiKey {
            name: self.name.map(Some),
            enabled: (self.enable || self.disable).then_some(self.enable),
            expires_at: match self.expires_at {
                Some(at) => Some(Some(at)),
                None => self.no_expiry.then_some(None),
            },
            expires_in: self.expires_in.map(Lasting),
            metadata: self.content.metadata.map(Some),
            permissions: permissions(self.content.permissions)?.map(Some),
            remaining: self.remaining.map(Some),
            refill: self.refill.map(Some),
            rate_limit: self.rate.rate_limit,
            rate_limit_enabled: if self.rate.no_rate_limit {
                Some(false)
            } else {
                held
            },
            ..ChangeApiKey::default()
        })
    }
}

fn parse_permission(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once(':');
    parts
        .map(|(resource, action)| (resource.to_owned(), action.to_owned()))
        .ok_or_else(|| "write RESOURCE:ACTION, such as `files:read`".to_owned())
}

fn parse_metadata(text: &str) -> Result<Metadata, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|_| {
        "this is no JSON: write one object in quotes, such as '{\"team\": \"ci\"}'".to_owned()
    })?;
    if !value.is_object() {
        return Err(
            "this is JSON and no object: write one, such as '{\"team\": \"ci\"}'".to_owned(),
        );
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Returns the permissions that were named one by one; `None` if none was.
fn permissions(named: Vec<(String, String)>) -> Result<Option<ResourcePermissions>, Error> {
    if named.is_empty() {
        return Ok(None);
    }
    let mut by_resource: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (resource, action) in named {
        by_resource.entry(resource).or_default().push(action);
    }
    let permissions = ResourcePermissions::new(by_resource);
    let permissions = permissions.map_err(|rule| Error::Usage(rule.to_string()))?;
    Ok(Some(permissions))
}

fn list_table(keys: &[ApiKey]) -> Table {
    let mut table = Table::new([
        Column::text("ID"),
        Column::text("KEY"),
        Column::text("NAME"),
        Column::text("APP"),
        Column::text("ENABLED"),
        Column::number("LEFT"),
        Column::text("EXPIRES"),
        Column::text("LAST USED"),
    ]);
    for key in keys {
        table.row([
            key.id.to_string(),
            format!("{}…", key.start),
            units::maybe(key.name.as_ref()),
            key.app.to_string(),
            yes(key.enabled).to_owned(),
            key.remaining.map(units::count).unwrap_or_default(),
            units::maybe_time(key.expires_at),
            units::maybe_time(key.last_request),
        ]);
    }
    table
}

/// Prints one key; its text first, if it can be shown.
fn show(key: &ApiKey, format: Format, output: &mut Output) -> Result<(), Error> {
    Ok(output.shown_once(format, key, || key_table(key), key.key.is_some())?)
}

fn key_table(key: &ApiKey) -> Table {
    let mut table = Table::of_fields("API KEY");
    let mut field = |name: &str, value: String| table.field(name, value);
    field("id", key.id.to_string());
    field(
        "key",
        key.key.clone().unwrap_or_else(|| format!("{}…", key.start)),
    );
    field("account", key.account.to_string());
    field("app", key.app.to_string());
    field("user", units::maybe(key.user.as_ref()));
    field("name", units::maybe(key.name.as_ref()));
    field("enabled", yes(key.enabled).to_owned());
    field("created", units::time(key.created_at));
    field("expires", units::maybe_time(key.expires_at));
    field("permissions", units::maybe(key.permissions.as_ref()));
    field("metadata", units::maybe(key.metadata.as_ref()));
    field(
        "units left",
        key.remaining.map(units::count).unwrap_or_default(),
    );
    field("refill", units::maybe(key.refill));
    let held = if key.rate_limit_enabled { "" } else { ", off" };
    let limit = key.rate_limit.map(|limit| format!("{limit}{held}"));
    field("rate limit", limit.unwrap_or_default());
    field("calls in window", units::count(key.request_count.into()));
    field("last used", units::maybe_time(key.last_request));
    table
}

const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}
