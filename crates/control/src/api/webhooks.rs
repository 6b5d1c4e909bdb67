//! `/webhooks`: receivers of events, and what was delivered to them.

use std::time::Duration;

use api_types::{
    ChangeWebhook, CreateWebhook, Delivery, DeliveryAttempt, DeliveryQuery, List, Nothing,
    Redeliver, Redelivered, RotateWebhookSecret, Scope, Webhook,
};
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use model::{AppName, DeliveryState, WebhookForm, WebhookId};
use schemars::JsonSchema;
use serde::Deserialize;
use store::{DeliveryFilter, WebhookFilter};
use webhooks::{AuditedWebhooks, IssuedWebhook, WebhookRequest, WebhookUpdate};

use super::query::{account_of, check_span, page_limit, within_app};
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::Caller;
use crate::http::client::Client;
use crate::http::extract::{Json, Name, Query};
use crate::http::problem::Problem;
use crate::http::state::{Api, Shared};

/// The filter and the page of a list of webhooks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// The app that they name.
    app: Option<AppName>,
    /// The form of what they get.
    form: Option<WebhookForm>,
    /// The largest number of items on the page, 1 to 1,000.
    limit: Option<usize>,
    /// The value of `next` on the page before.
    cursor: Option<WebhookId>,
}

const READ: Needs = Needs::Scope(Scope::ReadWebhooks);
const WRITE: Needs = Needs::Scope(Scope::WriteWebhooks);

/// Adds the requests about webhooks.
pub(super) fn routes(routes: Routes) -> Routes {
    let on_one = |id, summary, needs| Operation::new(id, summary, needs).of::<WebhookId>();
    let create = Operation::new(
        "createWebhook",
        "Register a receiver of events; its secret is shown this once",
        WRITE,
    );
    let list = Operation::new("listWebhooks", "List webhooks, oldest first", READ);
    let routes = routes
        .post(
            "/webhooks",
            self::create,
            create
                .body::<CreateWebhook>()
                .answers::<Webhook>(201)
                .idempotent(),
        )
        .get(
            "/webhooks",
            self::list,
            list.query::<ListParameters>().answers::<List<Webhook>>(200),
        )
        .get(
            "/webhooks/{id}",
            show,
            on_one("showWebhook", "Show a webhook", READ).answers::<Webhook>(200),
        )
        .patch(
            "/webhooks/{id}",
            change,
            on_one("changeWebhook", "Change a webhook", WRITE)
                .body::<ChangeWebhook>()
                .answers::<Webhook>(200),
        )
        .delete(
            "/webhooks/{id}",
            delete,
            on_one(
                "deleteWebhook",
                "Remove a webhook, with what waits for it",
                WRITE,
            ),
        );
    deliveries_routes(routes)
}

fn deliveries_routes(routes: Routes) -> Routes {
    let on_one = |id, summary, needs| Operation::new(id, summary, needs).of::<WebhookId>();
    let state = |id, summary| {
        on_one(id, summary, WRITE)
            .body::<Nothing>()
            .answers::<Webhook>(200)
    };
    routes
        .post(
            "/webhooks/{id}/pause",
            pause,
            state("pauseWebhook", "Let a webhook get nothing for now"),
        )
        .post(
            "/webhooks/{id}/resume",
            resume,
            state(
                "resumeWebhook",
                "Let a webhook get events again, those that failed and those that wait first",
            ),
        )
        .post(
            "/webhooks/{id}/rotate",
            rotate,
            on_one("rotateWebhookSecret", "Give a webhook a new secret", WRITE)
                .body::<RotateWebhookSecret>()
                .answers::<Webhook>(200)
                .idempotent(),
        )
        .post(
            "/webhooks/{id}/test",
            test,
            on_one("testWebhook", "Send a test event now", WRITE)
                .body::<Nothing>()
                .answers::<DeliveryAttempt>(200),
        )
        .get(
            "/webhooks/{id}/deliveries",
            deliveries,
            on_one("listDeliveries", "List deliveries, newest first", READ)
                .query::<DeliveryQuery>()
                .answers::<List<Delivery>>(200),
        )
        .post(
            "/webhooks/{id}/redeliver",
            redeliver,
            on_one("redeliver", "Deliver events again", WRITE)
                .body::<Redeliver>()
                .answers::<Redelivered>(200),
        )
}

/// Registers a webhook.
async fn create(
    State(state): Shared,
    caller: Caller,
    client: Client,
    Json(request): Json<CreateWebhook>,
) -> Result<(StatusCode, Answer<Webhook>), Problem> {
    let app = within_app(&caller, request.app)?;
    let account = account_of(&state, &caller, request.account, app.as_ref())?;
    let request = WebhookRequest {
        account,
        app,
        url: request.url,
        events: request.events,
        form: request.form,
        secret: request.secret,
        paused: request.paused,
    };
    let issued = acting(&state, &caller, &client).create(request).await?;
    Ok((StatusCode::CREATED, Answer(with_secret(issued))))
}

/// Lists the webhooks that the caller may see, oldest first.
async fn list(
    State(state): Shared,
    caller: Caller,
    Query(parameters): Query<ListParameters>,
) -> Result<Answer<List<Webhook>>, Problem> {
    let limit = page_limit(parameters.limit)?;
    let filter = WebhookFilter {
        account: caller.account().cloned(),
        app: within_app(&caller, parameters.app)?,
        form: parameters.form,
    };
    let found = state.webhooks.list(filter, parameters.cursor, limit + 1);
    let items = found.await?.into_iter().map(Webhook::from).collect();
    let cursor = |webhook: &Webhook| webhook.id.to_string();
    Ok(Answer(List::cut(items, limit, cursor)))
}

/// Shows a webhook.
async fn show(
    State(state): Shared,
    caller: Caller,
    Name(id): Name,
) -> Result<Answer<Webhook>, Problem> {
    Ok(Answer(own(&state, &caller, &id).await?.into()))
}

/// Changes a webhook.
async fn change(
    State(state): Shared,
    caller: Caller,
    client: Client,
    Name(id): Name,
    Json(request): Json<ChangeWebhook>,
) -> Result<Answer<Webhook>, Problem> {
    let webhook = own(&state, &caller, &id).await?;
    let update = WebhookUpdate {
        url: request.url,
        events: request.events,
        active: None,
    };
    let acting = acting(&state, &caller, &client);
    let changed = acting.change(webhook.id, update).await?;
    Ok(Answer(changed.into()))
}

/// Removes a webhook.
async fn delete(
    State(state): Shared,
    caller: Caller,
    client: Client,
    Name(id): Name,
) -> Result<StatusCode, Problem> {
    let webhook = own(&state, &caller, &id).await?;
    acting(&state, &caller, &client).delete(webhook.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a webhook get nothing for now.
async fn pause(
    State(state): Shared,
    caller: Caller,
    client: Client,
    Name(id): Name,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<Webhook>, Problem> {
    let webhook = own(&state, &caller, &id).await?;
    let paused = acting(&state, &caller, &client).pause(webhook.id).await?;
    Ok(Answer(paused.into()))
}

/// Lets a webhook get events again.
async fn resume(
    State(state): Shared,
    caller: Caller,
    client: Client,
    Name(id): Name,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<Webhook>, Problem> {
    let webhook = own(&state, &caller, &id).await?;
    let resumed = acting(&state, &caller, &client).resume(webhook.id).await?;
    Ok(Answer(resumed.into()))
}

/// Gives a webhook a new secret.
async fn rotate(
    State(state): Shared,
    caller: Caller,
    client: Client,
    Name(id): Name,
    Json(request): Json<RotateWebhookSecret>,
) -> Result<Answer<Webhook>, Problem> {
    let webhook = own(&state, &caller, &id).await?;
    let overlap = match (request.overlap, request.at_once) {
        (Some(_), true) => {
            let detail = "name an overlap, or end the secrets before at once";
            return Err(Problem::field("overlap", detail));
        }
        (None, true) => Some(Duration::ZERO),
        (overlap, false) => overlap.map(model::Interval::duration),
    };
    let acting = acting(&state, &caller, &client);
    let issued = acting.rotate_secret(webhook.id, overlap).await?;
    Ok(Answer(with_secret(issued)))
}

/// Sends a test event.
async fn test(
    State(state): Shared,
    caller: Caller,
    client: Client,
    Name(id): Name,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<DeliveryAttempt>, Problem> {
    let webhook = own(&state, &caller, &id).await?;
    let attempt = acting(&state, &caller, &client).test(webhook.id).await?;
    Ok(Answer(attempt_of(attempt)))
}

/// Lists the deliveries of a webhook, newest first.
async fn deliveries(
    State(state): Shared,
    caller: Caller,
    Name(id): Name,
    Query(query): Query<DeliveryQuery>,
) -> Result<Answer<List<Delivery>>, Problem> {
    let limit = page_limit(query.limit)?;
    check_span(query.from, query.to)?;
    let webhook = own(&state, &caller, &id).await?;
    let filter = DeliveryFilter {
        state: query.state,
        from: query.from,
        to: query.to,
        event_id: query.event,
    };
    let found = state
        .webhooks
        .deliveries(webhook.id, filter, query.cursor, limit + 1);
    let items = found.await?.into_iter().map(delivery).collect();
    let cursor = |delivery: &Delivery| delivery.number.to_string();
    Ok(Answer(List::cut(items, limit, cursor)))
}

/// Delivers events again.
async fn redeliver(
    State(state): Shared,
    caller: Caller,
    client: Client,
    Name(id): Name,
    Json(request): Json<Redeliver>,
) -> Result<Answer<Redelivered>, Problem> {
    check_span(request.from, request.to)?;
    let webhook = own(&state, &caller, &id).await?;
    let filter = DeliveryFilter {
        state: request.failed.then_some(DeliveryState::Failed),
        from: request.from,
        to: request.to,
        event_id: request.event,
    };
    let acting = acting(&state, &caller, &client);
    let deliveries = acting.redeliver(webhook.id, filter).await?;
    Ok(Answer(Redelivered { deliveries }))
}

fn acting(state: &Api, caller: &Caller, client: &Client) -> AuditedWebhooks {
    state.webhooks.acting(caller.actor(client))
}

/// Returns a webhook by the text of its id, if the caller may see it: one of their account, and of
/// their app if their key is for one.
async fn own(state: &Api, caller: &Caller, id: &str) -> Result<model::Webhook, Problem> {
    let not_found = || Problem::id_unknown("webhook", id);
    let parsed: WebhookId = id.parse().map_err(|_| not_found())?;
    let webhook = match state.webhooks.webhook(parsed).await {
        Err(webhooks::Error::Unknown(_)) => return Err(not_found()),
        found => found?,
    };
    let of_account = caller.account().is_none_or(|own| *own == webhook.account);
    let of_app = caller
        .app()
        .is_none_or(|own| webhook.app.as_ref() == Some(own));
    (of_account && of_app)
        .then_some(webhook)
        .ok_or_else(not_found)
}

fn with_secret(issued: IssuedWebhook) -> Webhook {
    Webhook {
        secret: Some(issued.secret.expose().to_owned()),
        ..issued.webhook.into()
    }
}

fn delivery(delivery: store::Delivery) -> Delivery {
    Delivery {
        next_at: delivery.next_at,
        last: delivery.last.map(attempt_of),
        ..Delivery::of_event(
            delivery.number,
            &delivery.event,
            delivery.state,
            delivery.attempts,
        )
    }
}

fn attempt_of(attempt: store::Attempt) -> DeliveryAttempt {
    DeliveryAttempt {
        at: attempt.at,
        duration_us: attempt.duration_us,
        status: attempt.status,
        answer: attempt.answer,
    }
}
