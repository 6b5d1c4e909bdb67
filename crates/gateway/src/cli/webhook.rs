//! `tallygate webhook`: receivers of events, and what was delivered to them.

use std::process::ExitCode;

use api_types::{
    ChangeWebhook, CreateWebhook, Delivery, DeliveryAttempt, DeliveryQuery, LARGEST_LIMIT, List,
    Redeliver, Redelivered, RotateWebhookSecret, Webhook,
};
use clap::{Args, Subcommand};
use model::{
    AccountName, AppName, DeliveryState, EventId, Interval, Timestamp, WebhookForm, WebhookId,
};

use super::arguments::JsonArgument;
use super::{units, webhook_events};
use crate::cli::{Client, Column, Error, Format, Output, Table, examples};

/// The commands on webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Register a receiver of events and print its secret, this once
    #[command(after_help = examples!(
        "tallygate webhook create --url https://example.com/hooks",
        "tallygate webhook create --url https://example.com/hooks --app api --event license.created --event license.revoked",
        "tallygate webhook create --url https://example.com/hooks --app game --form authforge --event license.deleted",
    ))]
    Create(CreateArguments),
    /// List webhooks, oldest first
    #[command(after_help = examples!("tallygate webhook list", "tallygate webhook list --json"))]
    List(JsonArgument),
    /// Show one
    #[command(after_help = examples!("tallygate webhook show whk_0198c0de0198c0de0198c0de0198c0de"))]
    Show(OneArguments),
    /// Change where one is posted to, or what it gets
    #[command(after_help = examples!(
        "tallygate webhook change whk_0198c0de0198c0de0198c0de0198c0de --url https://example.com/new",
        "tallygate webhook change whk_0198c0de0198c0de0198c0de0198c0de --all-events",
    ))]
    Change(ChangeArguments),
    /// Send a test event now, and say what the receiver answers; exit 1 if it does not take it
    #[command(after_help = examples!("tallygate webhook test whk_0198c0de0198c0de0198c0de0198c0de"))]
    Test(OneArguments),
    /// List what was delivered and what waits, newest first
    #[command(after_help = examples!(
        "tallygate webhook deliveries whk_0198c0de0198c0de0198c0de0198c0de",
        "tallygate webhook deliveries whk_0198c0de0198c0de0198c0de0198c0de --state failed --from 2026-11-01T00:00:00Z",
    ))]
    Deliveries(DeliveriesArguments),
    /// Deliver events again: one, those of a time, or those that failed
    #[command(after_help = examples!(
        "tallygate webhook redeliver whk_0198c0de0198c0de0198c0de0198c0de --event evt_0198c0de0198c0de0198c0de0198c0de",
        "tallygate webhook redeliver whk_0198c0de0198c0de0198c0de0198c0de --failed --from 2026-11-01T00:00:00Z",
    ))]
    Redeliver(RedeliverArguments),
    /// Let one get nothing for now; what happens meanwhile waits
    #[command(after_help = examples!("tallygate webhook pause whk_0198c0de0198c0de0198c0de0198c0de"))]
    Pause(OneArguments),
    /// Let one get events again, those that failed and those that wait first
    #[command(after_help = examples!("tallygate webhook resume whk_0198c0de0198c0de0198c0de0198c0de"))]
    Resume(OneArguments),
    /// Make a new secret and print it, this once; those before sign beside it for a while
    #[command(after_help = examples!(
        "tallygate webhook rotate whk_0198c0de0198c0de0198c0de0198c0de --overlap 1h",
        "tallygate webhook rotate whk_0198c0de0198c0de0198c0de0198c0de --at-once",
    ))]
    Rotate(RotateArguments),
    /// Remove one, with what waits for it
    #[command(after_help = examples!("tallygate webhook delete whk_0198c0de0198c0de0198c0de0198c0de"))]
    Delete(OneArguments),
}

/// Arguments of `webhook create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// Where events are posted to: https, on the public internet unless `[control]` allows others
    #[arg(long, value_name = "URL")]
    url: String,
    /// A type of events that it gets, in the words of its form; may be repeated [default: all]
    #[arg(long = "event", value_name = "EVENT")]
    events: Vec<String>,
    /// The app whose events alone it gets [default: every app of the account]
    #[arg(long)]
    app: Option<AppName>,
    /// The account whose events it gets [default: that of the app, or `default`]
    #[arg(long)]
    account: Option<AccountName>,
    /// The form of what it gets: native, authforge or apimw
    #[arg(long, default_value = "native", value_parser = form)]
    form: WebhookForm,
    /// Let it get nothing until it is resumed
    #[arg(long)]
    paused: bool,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `webhook change`.
#[derive(Debug, Args)]
pub(crate) struct ChangeArguments {
    /// Its id
    id: WebhookId,
    /// Where events are posted to
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A type of events that it gets, in the words of its form, in place of those before; may be
    /// repeated
    #[arg(long = "event", value_name = "EVENT", conflicts_with = "all_events")]
    events: Vec<String>,
    /// Let it get events of all types
    #[arg(long)]
    all_events: bool,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `webhook deliveries`.
#[derive(Debug, Args)]
pub(crate) struct DeliveriesArguments {
    /// Its id
    id: WebhookId,
    /// The state: waiting, delivered or failed
    #[arg(long, value_parser = delivery_state)]
    state: Option<DeliveryState>,
    /// The event
    #[arg(long, value_name = "ID")]
    event: Option<EventId>,
    /// The earliest time of the events, included
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// The latest time of the events, excluded
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// How many
    #[arg(long, value_name = "N", default_value = "100", value_parser = units::whole::<usize>)]
    limit: usize,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `webhook redeliver`.
#[derive(Debug, Args)]
pub(crate) struct RedeliverArguments {
    /// Its id
    id: WebhookId,
    /// The event
    #[arg(long, value_name = "ID")]
    event: Option<EventId>,
    /// The earliest time of the events, included
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// The latest time of the events, excluded
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Only those that failed for good
    #[arg(long)]
    failed: bool,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `webhook rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    /// Its id
    id: WebhookId,
    /// How long the secrets before sign beside the new one [default: 1d]
    #[arg(long, value_name = "DURATION", value_parser = overlap, conflicts_with = "at_once")]
    overlap: Option<Interval>,
    /// End the secrets before at once
    #[arg(long)]
    at_once: bool,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of commands on one.
#[derive(Debug, Args)]
pub(crate) struct OneArguments {
    /// Its id
    id: WebhookId,
    #[command(flatten)]
    json: JsonArgument,
}

pub(crate) async fn execute(
    command: WebhookCommand,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let (webhook, json): (Webhook, JsonArgument) = match command {
        WebhookCommand::Create(arguments) => {
            let json = arguments.json;
            let request = arguments.request()?;
            (client.post("/webhooks", &request).await?, json)
        }
        WebhookCommand::List(json) => {
            let all: Vec<Webhook> = client.all("/webhooks").await?;
            match json.format() {
                Format::Json => output.json(&all)?,
                _ => output.table(&list_table(&all))?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        WebhookCommand::Show(one) => (client.get(&path(one.id, "")).await?, one.json),
        WebhookCommand::Change(arguments) => {
            let json = arguments.json;
            (change(arguments, client).await?, json)
        }
        WebhookCommand::Pause(one) => (told(client, one.id, "/pause").await?, one.json),
        WebhookCommand::Resume(one) => (told(client, one.id, "/resume").await?, one.json),
        WebhookCommand::Rotate(arguments) => {
            let request = RotateWebhookSecret {
                overlap: arguments.overlap,
                at_once: arguments.at_once,
            };
            let path = path(arguments.id, "/rotate");
            (client.post(&path, &request).await?, arguments.json)
        }
        WebhookCommand::Test(one) => return test(one, client, output).await,
        WebhookCommand::Deliveries(arguments) => {
            return deliveries(arguments, client, output).await;
        }
        WebhookCommand::Redeliver(arguments) => return redeliver(arguments, client, output).await,
        WebhookCommand::Delete(one) => {
            client.delete(&path(one.id, "")).await?;
            match one.json.format() {
                Format::Json => output.json(&serde_json::json!({"id": one.id}))?,
                _ => output.line(&format!("{} is removed", one.id))?,
            }
            return Ok(ExitCode::SUCCESS);
        }
    };
    let has_secret = webhook.secret.is_some();
    let table = || one_table(&webhook);
    output.secret_shown_once(json.format(), &webhook, table, has_secret)?;
    Ok(ExitCode::SUCCESS)
}

async fn change(arguments: ChangeArguments, client: &Client) -> Result<Webhook, Error> {
    let is_named = !arguments.events.is_empty();
    if arguments.url.is_none() && !is_named && !arguments.all_events {
        let reason = "nothing to change: give one of --url, --event and --all-events";
        return Err(Error::Usage(reason.to_owned()));
    }
    let path = path(arguments.id, "");
    let events = if is_named {
        let webhook: Webhook = client.get(&path).await?;
        Some(webhook_events::types_of(webhook.form, &arguments.events)?)
    } else {
        arguments.all_events.then(Vec::new)
    };
    let request = ChangeWebhook {
        url: arguments.url,
        events,
    };
    client.patch(&path, &request).await
}

async fn test(one: OneArguments, client: &Client, output: &mut Output) -> Result<ExitCode, Error> {
    let tested: DeliveryAttempt = told(client, one.id, "/test").await?;
    match one.json.format() {
        Format::Json => output.json(&tested)?,
        _ => {
            let mut table = Table::of_fields("TEST EVENT");
            table.field("status", units::maybe(tested.status));
            table.field("took", units::micros(tested.duration_us));
            table.field("answer", tested.answer.clone());
            output.table(&table)?;
        }
    }
    let took = tested
        .status
        .is_some_and(|status| (200..300).contains(&status));
    Ok(if took {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn deliveries(
    arguments: DeliveriesArguments,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let mut all: Vec<Delivery> = Vec::new();
    let mut query = DeliveryQuery {
        state: arguments.state,
        event: arguments.event,
        from: arguments.from,
        to: arguments.to,
        limit: None,
        cursor: None,
    };
    while all.len() < arguments.limit {
        query.limit = Some((arguments.limit - all.len()).min(LARGEST_LIMIT));
        let page: List<Delivery> = client
            .query(&path(arguments.id, "/deliveries"), &query)
            .await?;
        all.extend(page.items);
        query.cursor = page.next.and_then(|next| next.parse().ok());
        if query.cursor.is_none() {
            break;
        }
    }
    match arguments.json.format() {
        Format::Json => output.json(&all)?,
        _ => {
            let webhook: Webhook = client.get(&path(arguments.id, "")).await?;
            output.table(&deliveries_table(&all, webhook.form))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn redeliver(
    arguments: RedeliverArguments,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let request = Redeliver {
        event: arguments.event,
        from: arguments.from,
        to: arguments.to,
        failed: arguments.failed,
    };
    let path = path(arguments.id, "/redeliver");
    let again: Redelivered = client.post_patiently(&path, &request).await?;
    match arguments.json.format() {
        Format::Json => output.json(&again)?,
        _ => {
            let said = match (again.deliveries, arguments.event) {
                (0, Some(event)) => format!("{event} waits already"),
                (1, _) => "1 delivery is due again".to_owned(),
                (count, _) => format!("{} deliveries are due again", units::count(count)),
            };
            output.line(&said)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

// === impl CreateArguments ===

impl CreateArguments {
    fn request(self) -> Result<CreateWebhook, Error> {
        Ok(CreateWebhook {
            url: self.url,
            account: self.account,
            app: self.app,
            events: webhook_events::types_of(self.form, &self.events)?,
            form: self.form,
            secret: None,
            paused: self.paused,
        })
    }
}

fn path(id: WebhookId, rest: &str) -> String {
    format!("/webhooks/{id}{rest}")
}

async fn told<T: serde::de::DeserializeOwned>(
    client: &Client,
    id: WebhookId,
    what: &str,
) -> Result<T, Error> {
    client.post(&path(id, what), &serde_json::json!({})).await
}

fn overlap(text: &str) -> Result<Interval, String> {
    let parsed = text.parse::<Interval>();
    parsed.map_err(|error| format!("{error}; --at-once ends the secrets before now"))
}

fn form(text: &str) -> Result<WebhookForm, String> {
    let words = || WebhookForm::ALL.map(WebhookForm::as_str).join(", ");
    WebhookForm::parse(text).ok_or_else(|| format!("use one of {}", words()))
}

fn delivery_state(text: &str) -> Result<DeliveryState, String> {
    let words = || DeliveryState::ALL.map(DeliveryState::as_str).join(", ");
    DeliveryState::parse(text).ok_or_else(|| format!("use one of {}", words()))
}

fn list_table(all: &[Webhook]) -> Table {
    let mut table = Table::new([
        Column::text("ID"),
        Column::text("URL"),
        Column::text("ACCOUNT"),
        Column::text("APP"),
        Column::text("FORM"),
        Column::text("EVENTS"),
        Column::text("STATE"),
        Column::text("LAST"),
    ]);
    for one in all {
        table.row([
            one.id.to_string(),
            one.url.clone(),
            one.account.to_string(),
            units::maybe(one.app.as_ref()),
            one.form.to_string(),
            webhook_events::shown(one),
            one.state.to_string(),
            units::maybe_time(one.last_delivery_at),
        ]);
    }
    table
}

fn one_table(webhook: &Webhook) -> Table {
    let mut table = Table::of_fields("WEBHOOK");
    let mut field = |name: &str, value: String| table.field(name, value);
    field("id", webhook.id.to_string());
    field("secret", units::maybe(webhook.secret.as_ref()));
    field("url", webhook.url.clone());
    field("account", webhook.account.to_string());
    field("app", units::maybe(webhook.app.as_ref()));
    field("form", webhook.form.to_string());
    field("events", webhook_events::shown(webhook));
    field("state", webhook.state.to_string());
    field("created", units::time(webhook.created_at));
    field("last delivery", units::maybe_time(webhook.last_delivery_at));
    table
}

fn deliveries_table(all: &[Delivery], form: WebhookForm) -> Table {
    let mut table = Table::new([
        Column::text("EVENT"),
        Column::text("TYPE"),
        Column::text("AT"),
        Column::text("LICENSE"),
        Column::text("STATE"),
        Column::number("TRIES"),
        Column::text("NEXT"),
        Column::text("STATUS"),
        Column::text("ANSWER"),
    ]);
    for one in all {
        let last = one.last.as_ref();
        table.row([
            one.event_id.to_string(),
            webhook_events::name_in(form, one.kind).to_owned(),
            units::time(one.event_at),
            units::maybe(one.license_id),
            one.state.to_string(),
            one.attempts.to_string(),
            units::maybe_time(one.next_at),
            units::maybe(last.and_then(|last| last.status)),
            last.map_or_else(String::new, |last| last.answer.chars().take(60).collect()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_overlap_names_the_flag_that_ends_secrets_at_once() {
        assert!(overlap("1h").is_ok());
        let error = overlap("0s").expect_err("nothing");
        assert!(error.contains("--at-once"), "{error}");
    }
}
