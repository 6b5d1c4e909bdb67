//! Webhooks and their secrets, as rows.

use model::{AccountName, Timestamp, Webhook, WebhookForm, WebhookId, WebhookState};

use super::queue::{make_due_at_once, refresh_due};
use crate::error::Error;
use crate::licenses::SealedKey;
use crate::rules::numbers::WEBHOOK_UNPROVEN;
use crate::sql::filter::Filter;
use crate::sql::{Engine, Outcome, Row, Sql, Statement, Value, list, rows, sql, values};
use crate::webhooks::{NewWebhook, WebhookChange, WebhookFilter, WebhookSecret};

/// The columns in the order that [`read`] reads.
const WEBHOOK: &str = "id, account, app, url, events, form, state, created_at, last_delivery_at";

/// Keeps a webhook, unless there are `most` of its kind. Those who make webhooks of one account wait
/// for each other.
pub(super) async fn create<S: Sql>(sql: &S, new: &NewWebhook, most: u32) -> Outcome<bool, S> {
    let NewWebhook { webhook, secret } = new;
    if S::ENGINE == Engine::Postgres {
        let statement = sql!(
            "SELECT pg_advisory_xact_lock(hashtextextended('tallygate webhooks ' || $1::text, 0))"
        );
        sql.execute(statement, &values![&webhook.account]).await?;
    }
    let statement = sql!(
        "SELECT count(*) FROM webhooks
        WHERE account = $1 AND app IS NOT DISTINCT FROM $2::text AND form = $3"
    );
    let kind = values![
        &webhook.account,
        webhook.app.as_ref(),
        i64::from(webhook.form as u8)
    ];
    let there = sql.query_opt(statement, &kind).await?;
    if there.map_or(Ok(0), |row| row.count(0))? >= u64::from(most) {
        return Ok(false);
    }
    let statement =
        sql!("INSERT INTO webhooks ({WEBHOOK}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    let values = values![
        webhook.id,
        &webhook.account,
        webhook.app.as_ref(),
        &webhook.url,
        list(&webhook.events),
        i64::from(webhook.form as u8),
        i64::from(webhook.state as u8),
        webhook.created_at,
        webhook.last_delivery_at,
    ];
    sql.insert(statement, &values, "a webhook with this id")
        .await?;
    add_secret(sql, webhook.id, secret).await?;
    Ok(true)
}

async fn add_secret<S: Sql>(sql: &S, webhook: WebhookId, secret: &SealedKey) -> Outcome<(), S> {
    let statement = sql!(
        "INSERT INTO webhook_secrets (webhook_id, number, sealed)
        SELECT $1, coalesce(max(number), 0) + 1, $2 FROM webhook_secrets WHERE webhook_id = $1"
    );
    let values = values![webhook, secret.as_bytes()];
    sql.execute(statement, &values).await.map(drop)
}

pub(super) async fn find<S: Sql>(sql: &S, webhook: WebhookId) -> Outcome<Option<Webhook>, S> {
    let statement = sql!("SELECT {WEBHOOK} FROM webhooks WHERE id = $1");
    let row = sql.query_opt(statement, &values![webhook]).await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// Returns a webhook whose deliveries nobody else changes until the transaction is over.
pub(super) async fn locked<S: Sql>(sql: &S, webhook: WebhookId) -> Outcome<Option<Webhook>, S> {
    let statement = sql!("SELECT {WEBHOOK} FROM webhooks WHERE id = $1 FOR NO KEY UPDATE");
    let row = sql.query_opt(statement, &values![webhook]).await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// Returns the webhooks of these accounts that may get events, locked as by [`locked`].
pub(super) async fn locked_of<S: Sql>(
    sql: &S,
    accounts: &[AccountName],
) -> Outcome<Vec<Webhook>, S> {
    let statement = sql!(
        "SELECT {WEBHOOK} FROM webhooks WHERE account = ANY ($1) AND state <> {WEBHOOK_UNPROVEN}
        ORDER BY id FOR NO KEY UPDATE"
    );
    let accounts = accounts.iter().map(|account| account.as_str().to_owned());
    let accounts = [Value::Texts(accounts.collect())];
    let found = sql.query(statement, &accounts).await?;
    Ok(found.iter().map(read).collect::<Result<_, _>>()?)
}

/// Locks webhooks as [`locked`] does.
pub(super) async fn lock<S: Sql>(sql: &S, webhooks: &Value) -> Outcome<(), S> {
    if S::ENGINE == Engine::Postgres {
        let statement = sql!(
            "SELECT 1 FROM webhooks WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
        );
        sql.execute(statement, std::slice::from_ref(webhooks))
            .await?;
    }
    Ok(())
}

pub(super) async fn page<S: Sql>(
    sql: &S,
    asked: &WebhookFilter,
    after: Option<WebhookId>,
    limit: usize,
) -> Outcome<Vec<Webhook>, S> {
    let mut filter = Filter::new();
    filter
        .and("account = ?", asked.account.as_ref())
        .and("app = ?", asked.app.as_ref())
        .and("form = ?", asked.form.map(|form| i64::from(form as u8)))
        .and("id > ?", after);
    let limit = filter.place(rows(limit));
    let text = format!(
        "SELECT {WEBHOOK} FROM webhooks {} ORDER BY id LIMIT {limit}",
        filter.clause()
    );
    let found = sql.query(&Statement::new(text), filter.values()).await?;
    Ok(found.iter().map(read).collect::<Result<_, _>>()?)
}

pub(super) async fn secrets<S: Sql>(
    sql: &S,
    webhook: WebhookId,
    now: Timestamp,
) -> Outcome<Vec<WebhookSecret>, S> {
    let statement = sql!(
        "SELECT sealed, ends_at FROM webhook_secrets
        WHERE webhook_id = $1 AND (ends_at IS NULL OR ends_at > $2) ORDER BY number DESC"
    );
    let read = |row: &Row| {
        Ok(WebhookSecret {
            sealed: SealedKey::new(row.get(0)?),
            ends_at: row.get(1)?,
        })
    };
    let found = sql.query(statement, &values![webhook, now]).await?;
    Ok(found.iter().map(read).collect::<Result<_, Error>>()?)
}

/// Returns whether a webhook is as a change wants it to be.
pub(super) fn may_change(webhook: &Webhook, change: &WebhookChange) -> bool {
    let wanted = change.only_if.as_ref();
    wanted.is_none_or(|(url, state)| webhook.url == *url && webhook.state == *state)
}

/// Returns whether a webhook that got nothing gets events by a change.
pub(super) fn becomes_active(before: &Webhook, change: &WebhookChange) -> bool {
    change.state == Some(WebhookState::Active) && before.state != WebhookState::Active
}

/// Changes a webhook, which is locked. Returns its state after.
pub(super) async fn change<S: Sql>(
    sql: &S,
    before: &Webhook,
    change: &WebhookChange,
    now: Timestamp,
) -> Outcome<Webhook, S> {
    let webhook = before.id;
    let statement = sql!(
        "UPDATE webhooks SET url = coalesce($2, url), events = CASE WHEN $3 THEN $4 ELSE events END,
        state = coalesce($5, state) WHERE id = $1 RETURNING {WEBHOOK}"
    );
    let values = values![
        webhook,
        change.url.as_ref(),
        change.events.is_some(),
        change.events.as_ref().and_then(|events| list(events)),
        change.state.map(|state| i64::from(state as u8)),
    ];
    let row = sql.query_opt(statement, &values).await?;
    if let Some((secret, others_end_at)) = &change.secret {
        replace_secret(sql, webhook, secret, *others_end_at, now).await?;
    }
    if becomes_active(before, change) {
        make_due_at_once(sql, webhook, now).await?;
        refresh_due(sql, &Value::Ids(vec![webhook.as_u128()])).await?;
    }
    // It is locked, so that it is there.
    let after = row.as_ref().map(read).transpose()?;
    Ok(after.unwrap_or_else(|| before.clone()))
}

async fn replace_secret<S: Sql>(
    sql: &S,
    webhook: WebhookId,
    secret: &SealedKey,
    others_end_at: Timestamp,
    now: Timestamp,
) -> Outcome<(), S> {
    const OTHERS: u32 = WebhookChange::MAX_SECRETS - 1;
    let ended = sql!(
        "DELETE FROM webhook_secrets WHERE webhook_id = $1 AND (ends_at <= $2 OR number NOT IN (
          SELECT s.number FROM webhook_secrets s WHERE s.webhook_id = $1 ORDER BY s.number DESC LIMIT {OTHERS}))"
    );
    sql.execute(ended, &values![webhook, now]).await?;
    let end = sql!(
        "UPDATE webhook_secrets SET ends_at = least(coalesce(ends_at, $2), $2) WHERE webhook_id = $1"
    );
    sql.execute(end, &values![webhook, others_end_at]).await?;
    add_secret(sql, webhook, secret).await
}

/// Removes a webhook and its secrets. Returns the webhook; `None`: there was none. Without it
/// nobody comes to its deliveries any more.
pub(super) async fn delete<S: Sql>(sql: &S, webhook: WebhookId) -> Outcome<Option<Webhook>, S> {
    let Some(found) = locked(sql, webhook).await? else {
        return Ok(None);
    };
    let secrets = sql!("DELETE FROM webhook_secrets WHERE webhook_id = $1");
    sql.execute(secrets, &values![webhook]).await?;
    let itself = sql!("DELETE FROM webhooks WHERE id = $1");
    sql.execute(itself, &values![webhook]).await?;
    Ok(Some(found))
}

fn read(row: &Row) -> Result<Webhook, Error> {
    Ok(Webhook {
        id: row.get(0)?,
        account: row.text(1)?,
        app: row.optional_text(2)?,
        url: row.get(3)?,
        events: row.list(4)?,
        form: row.word(5, WebhookForm::from_number)?,
        state: row.word(6, WebhookState::from_number)?,
        created_at: row.get(7)?,
        last_delivery_at: row.get(8)?,
    })
}
