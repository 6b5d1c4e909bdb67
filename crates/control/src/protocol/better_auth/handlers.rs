//! One handler a path: read, ask the operation, translate.

use api_types::Scope;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use licensing::{ApiKeyRequest, ApiKeyUpdate, KeyEnd, KeyRefusal};

use super::body::{Create, Delete, List, Nothing, Show, Update, Verify, key_id, read};
use super::context::{Context, in_default, is_default};
use super::record::{Done, Listed, Page, Record, Swept, Verified};
use super::refusal::{KeyCode, Refused};
use crate::http::client::Client;
use crate::http::state::KeyShape;
use crate::verify::Verification;

/// Makes a key, of the app of the management key or of every app of its account.
pub(super) async fn create(
    State(context): State<Context>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Record>, Refused> {
    let caller = context
        .caller(&client, &headers, Scope::WriteLicenses)
        .await?;
    let body: Create = read(body).await?;
    body.check()?;
    if caller.license().is_some() {
        return Err(KeyCode::InsufficientPermissions.into());
    }
    let policy = &context.services.api().api_keys;
    let request = ApiKeyRequest {
        metadata: body.metadata(policy.metadata)?,
        prefix: body.prefix()?,
        end: body
            .expires_in
            .map_or(KeyEnd::Never, |seconds| seconds.end()),
        name: body.name,
        ..ApiKeyRequest::new(caller.account().cloned(), caller.app().cloned())
    };
    let acting = context.services.acting(&caller, &client);
    let issued = acting.create_api_key(policy, request).await?;
    context.sweep().await;
    Ok(Json(Record::issued(issued, context.shape())))
}

/// Whether a key is valid; asking uses it.
pub(super) async fn verify(
    State(context): State<Context>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Verified>, Refused> {
    let caller = context
        .caller(&client, &headers, Scope::ReadLicenses)
        .await?;
    let body: Verify = read(body).await?;
    if !is_default(body.config_id.as_deref()) {
        return Ok(Json(Verified::refused(KeyRefusal::Unknown)));
    }
    let asked = body.permissions.as_ref().map(|asked| &asked.0);
    let api = context.services.api();
    let question = Verification {
        owner: &caller.api_key_owner(),
        key: &body.key,
        asked,
        only_api_keys: true,
    };
    Ok(Json(match api.verify_key(&question).await? {
        Ok(key) => Verified::valid(key.view, context.shape()),
        Err(refusal) => Verified::refused(refusal),
    }))
}

/// Shows a key.
pub(super) async fn show(
    State(context): State<Context>,
    client: Client,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Record>, Refused> {
    let caller = context
        .caller(&client, &headers, Scope::ReadLicenses)
        .await?;
    let query = Show::read(&uri)?;
    in_default(query.config_id.as_deref())?;
    let id = key_id(&query.id)?;
    context.sweep().await;
    let view = context
        .services
        .licensing()
        .api_key(&caller.api_key_owner(), id)
        .await?;
    Ok(Json(Record::of(view, context.shape())))
}

/// Changes what clients may change of a key.
pub(super) async fn update(
    State(context): State<Context>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Record>, Refused> {
    let caller = context
        .caller(&client, &headers, Scope::WriteLicenses)
        .await?;
    let body: Update = read(body).await?;
    let account = caller.account().map(ToString::to_string);
    body.check(&account.unwrap_or_default())?;
    in_default(body.config_id.as_deref())?;
    let id = key_id(&body.key_id)?;
    let policy = &context.services.api().api_keys;
    let end = |end: Option<super::body::Seconds>| end.map_or(KeyEnd::Never, |end| end.end());
    let update = ApiKeyUpdate {
        metadata: body.metadata(policy.metadata)?,
        enabled: body.enabled,
        end: body.expires_in.map(end),
        name: body.name.map(Some),
        ..ApiKeyUpdate::default()
    };
    let acting = context.services.acting(&caller, &client);
    let owner = caller.api_key_owner();
    let changed = acting.update_api_key(policy, &owner, id, update);
    let view = changed.await?;
    context.sweep().await;
    Ok(Json(Record::of(view, context.shape())))
}

/// Deletes a key.
pub(super) async fn delete(
    State(context): State<Context>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Refused> {
    let caller = context
        .caller(&client, &headers, Scope::WriteLicenses)
        .await?;
    let body: Delete = read(body).await?;
    in_default(body.config_id.as_deref())?;
    let id = key_id(&body.key_id)?;
    let acting = context.services.acting(&caller, &client);
    acting.delete_api_key(&caller.api_key_owner(), id).await?;
    context.sweep().await;
    Ok(Json(Done { success: true }))
}

/// Lists keys.
pub(super) async fn list(
    State(context): State<Context>,
    client: Client,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Listed>, Refused> {
    let caller = context
        .caller(&client, &headers, Scope::ReadLicenses)
        .await?;
    let query = List::read(&uri)?;
    context.sweep().await;
    let shape = context.shape();
    let licensing = context.services.licensing();
    let (views, total) = if is_default(query.config_id.as_deref()) {
        licensing
            .api_keys(&caller.api_key_owner(), None, query.page())
            .await?
    } else {
        (Vec::new(), 0)
    };
    // The store gives one key at least, the original none where none is asked for.
    let most = query.page().limit;
    let records: Vec<Record> = views
        .into_iter()
        .take(most)
        .map(|view| Record::of(view, shape))
        .collect();
    Ok(Json(match shape {
        KeyShape::Seed => Listed::Bare(records),
        KeyShape::Current => Listed::Page(Page {
            api_keys: records,
            total,
            limit: query.limit,
            offset: query.offset,
        }),
    }))
}

/// Deletes the keys that have ended.
pub(super) async fn delete_expired(
    State(context): State<Context>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Swept>, Refused> {
    let caller = context
        .caller(&client, &headers, Scope::WriteLicenses)
        .await?;
    let Nothing {} = read(body).await?;
    let acting = context.services.acting(&caller, &client);
    acting
        .delete_expired_api_keys(&caller.api_key_owner())
        .await?;
    Ok(Json(Swept {
        success: true,
        error: (),
    }))
}
