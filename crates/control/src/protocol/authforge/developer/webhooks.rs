//! The handlers of webhooks: receivers of the events of an app, in AuthForge's form.

use std::sync::Arc;

use api_types::Scope;
use axum::Json;
use axum::response::Response;
use licensing::SoftwareApp;
use model::{EventType, Webhook, WebhookForm, WebhookId, WebhookState};
use serde_json::{Value, json};
use store::WebhookFilter;
use webhooks::{AuditedWebhooks, WebhookRequest, WebhookUpdate};

use super::answer::Failure;
use super::body::{ChangeWebhook, CreateWebhook};
use super::context::Asked;
use super::licenses::created;
use crate::protocol::authforge::forms::iso;

const FORM: WebhookForm = WebhookForm::Authforge;

/// Registers a receiver. Its secret is shown this once.
pub(super) async fn create(asked: Asked) -> Result<Response, Failure> {
    let app = of_app(&asked, Scope::WriteWebhooks).await?;
    let create: CreateWebhook = asked.content()?;
    let request = WebhookRequest {
        account: app.account.clone(),
        app: Some(app.app.clone()),
        url: create.url,
        events: types(&create.events)?,
        form: FORM,
        secret: None,
        paused: !create.enabled.unwrap_or(true),
    };
    let issued = acting(&asked).create(request).await?;
    let mut shown = shown(&issued.webhook);
    shown["secret"] = issued.secret.expose().into();
    Ok(created(shown))
}

/// Lists the receivers of an app.
pub(super) async fn list(asked: Asked) -> Result<Json<Value>, Failure> {
    /// More than an app may have.
    const LIMIT: usize = 100;
    let app = of_app(&asked, Scope::ReadWebhooks).await?;
    let filter = WebhookFilter {
        account: Some(app.account.clone()),
        app: Some(app.app.clone()),
        form: Some(FORM),
    };
    let found = asked.services.api().webhooks.list(filter, None, LIMIT);
    let shown: Vec<_> = found.await?.iter().map(shown).collect();
    Ok(Json(json!({ "webhooks": shown })))
}

/// Changes a receiver.
pub(super) async fn change(asked: Asked) -> Result<Json<Value>, Failure> {
    let webhook = own(&asked).await?;
    let change: ChangeWebhook = asked.content()?;
    let update = WebhookUpdate {
        url: change.url,
        events: change.events.as_deref().map(types).transpose()?,
        active: change.enabled,
    };
    let changed = acting(&asked).change(webhook.id, update).await?;
    Ok(Json(shown(&changed)))
}

/// Removes a receiver, with what waits for it.
pub(super) async fn delete(asked: Asked) -> Result<Json<Value>, Failure> {
    let webhook = own(&asked).await?;
    acting(&asked).delete(webhook.id).await?;
    Ok(Json(json!({ "webhookId": webhook.id, "deleted": true })))
}

/// Sends `test.ping` to a receiver, and says what it answered.
pub(super) async fn test(asked: Asked) -> Result<Json<Value>, Failure> {
    let webhook = own(&asked).await?;
    let attempt = acting(&asked).test(webhook.id).await?;
    Ok(Json(json!({
        "webhookId": webhook.id,
        "event": FORM.name_of(EventType::Test),
        "status": attempt.status,
        "response": attempt.answer,
        "durationMs": attempt.duration_us / 1_000,
    })))
}

fn acting(asked: &Asked) -> AuditedWebhooks {
    asked.services.api().webhooks.acting(asked.actor())
}

/// Returns the app whose receivers are asked about.
async fn of_app(asked: &Asked, scope: Scope) -> Result<Arc<SoftwareApp>, Failure> {
    asked.requires(scope)?;
    asked.requires_more_than_one_license()?;
    asked.app().await
}

/// Returns the receiver that the path names, if it is one of the app.
async fn own(asked: &Asked) -> Result<Webhook, Failure> {
    let unknown = || Failure::not_found("the app has no such webhook");
    let app = of_app(asked, Scope::WriteWebhooks).await?;
    let id: WebhookId = asked.parameter("webhook").parse().map_err(|_| unknown())?;
    let found = asked.services.api().webhooks.webhook(id).await?;
    let is_own = found.account == app.account && found.app.as_ref() == Some(&app.app);
    match is_own && found.form == FORM {
        true => Ok(found),
        false => Err(unknown()),
    }
}

/// Returns the types of events that these names stand for, at least one.
fn types(names: &[String]) -> Result<Vec<EventType>, Failure> {
    let find = |name: &String| FORM.type_named(name);
    let types: Option<Vec<_>> = names.iter().map(find).collect();
    types.filter(|types| !types.is_empty()).ok_or_else(|| {
        let names: Vec<_> = FORM.told().map(|(_, name)| format!("`{name}`")).collect();
        Failure::invalid("events", format!("send some of {}", names.join(", ")))
    })
}

fn shown(webhook: &Webhook) -> Value {
    let events = webhook.events.iter().filter_map(|kind| FORM.name_of(*kind));
    json!({
        "webhookId": webhook.id,
        "url": webhook.url,
        "events": events.collect::<Vec<_>>(),
        "enabled": webhook.state == WebhookState::Active,
        "createdAt": iso(webhook.created_at),
        "lastDeliveryAt": webhook.last_delivery_at.map(iso),
    })
}

impl From<webhooks::Error> for Failure {
    fn from(error: webhooks::Error) -> Self {
        match error {
            webhooks::Error::Invalid { field, reason } => Self::invalid(field, reason),
            webhooks::Error::Unknown(_) => Self::not_found("the app has no such webhook"),
            webhooks::Error::TooMany(_) => Self::invalid("url", error),
            webhooks::Error::AppUnknown(_) | webhooks::Error::AccountUnknown(_) => {
                Self::forbidden("the app is not one of this account")
            }
            webhooks::Error::Store(error) => crate::http::fault::Fault::from(error).into(),
            error => crate::http::fault::Fault::internal(&error).into(),
        }
    }
}
