//! The handlers, one for each path: each asks the operation and translates its result.

use axum::Json;
use licensing::{ApiKeyRequest, ApiKeyUpdate, KeyEnd, KeyRefusal};

use super::body::{Create, Delete, Nothing, Seconds, Update, Verify, key_id};
use super::context::{in_default, is_default};
use super::extract::Authenticated;
use super::query::{List, Show};
use super::record::{Done, Listed, Page, Record, Swept, Verified};
use super::refusal::{KeyCode, Refused};
use crate::http::state::KeyShape;
use crate::verify::Verification;

/// Makes a key, of the app of the management key or of every app of its account.
pub(super) async fn create(request: Authenticated<Create>) -> Result<Json<Record>, Refused> {
    let (context, caller) = (&request.context, &request.caller);
    let (policy, content) = (request.policy(), &request.content);
    content.check()?;
    if caller.license().is_some() {
        return Err(KeyCode::InsufficientPermissions.into());
    }
    let key = ApiKeyRequest {
        metadata: content.metadata(policy.metadata)?,
        prefix: content.prefix()?,
        end: content.expires_in.map_or(KeyEnd::Never, Seconds::end),
        name: content.name.clone(),
        ..ApiKeyRequest::new(caller.account().cloned(), caller.app().cloned())
    };
    let issued = request.acting().create_api_key(policy, key).await?;
    context.sweep().await;
    Ok(Json(Record::issued(issued, context.shape())))
}

/// Verifies a key, which uses it.
pub(super) async fn verify(request: Authenticated<Verify>) -> Result<Json<Verified>, Refused> {
    let (context, content) = (&request.context, &request.content);
    if !is_default(content.config_id.as_deref()) {
        return Ok(Json(Verified::refused(KeyRefusal::Unknown)));
    }
    let question = Verification {
        owner: &request.owner(),
        key: &content.key,
        asked: content.permissions.as_ref().map(|asked| &asked.0),
        only_api_keys: true,
    };
    let verified = context.services.api().verify_key(&question).await?;
    Ok(Json(match verified {
        Ok(key) => Verified::valid(key.view, context.shape()),
        Err(refusal) => Verified::refused(refusal),
    }))
}

/// Shows a key.
pub(super) async fn show(request: Authenticated<Show>) -> Result<Json<Record>, Refused> {
    let (context, query) = (&request.context, &request.content);
    in_default(query.config_id.as_deref())?;
    let id = key_id(&query.id)?;
    context.sweep().await;
    let licensing = context.services.licensing();
    let view = licensing.api_key(&request.owner(), id).await?;
    Ok(Json(Record::of(view, context.shape())))
}

/// Changes what clients may change of a key.
pub(super) async fn update(request: Authenticated<Update>) -> Result<Json<Record>, Refused> {
    let (policy, content) = (request.policy(), &request.content);
    let account = request.caller.account().map(ToString::to_string);
    content.check(&account.unwrap_or_default())?;
    in_default(content.config_id.as_deref())?;
    let id = key_id(&content.key_id)?;
    let update = ApiKeyUpdate {
        metadata: content.metadata(policy.metadata)?,
        enabled: content.enabled,
        end: content
            .expires_in
            .map(|end| end.map_or(KeyEnd::Never, Seconds::end)),
        name: content.name.clone().map(Some),
        ..ApiKeyUpdate::default()
    };
    let (acting, owner) = (request.acting(), request.owner());
    let view = acting.update_api_key(policy, &owner, id, update).await?;
    request.context.sweep().await;
    Ok(Json(Record::of(view, request.context.shape())))
}

/// Deletes a key.
pub(super) async fn delete(request: Authenticated<Delete>) -> Result<Json<Done>, Refused> {
    in_default(request.content.config_id.as_deref())?;
    let id = key_id(&request.content.key_id)?;
    let (acting, owner) = (request.acting(), request.owner());
    acting.delete_api_key(&owner, id).await?;
    request.context.sweep().await;
    Ok(Json(Done { success: true }))
}

/// Lists keys.
pub(super) async fn list(request: Authenticated<List>) -> Result<Json<Listed>, Refused> {
    let (context, query) = (&request.context, &request.content);
    let (owner, page, shape) = (request.owner(), query.page(), context.shape());
    context.sweep().await;
    let most = page.limit;
    let (views, total) = if is_default(query.config_id.as_deref()) {
        let licensing = context.services.licensing();
        licensing.api_keys(&owner, None, page).await?
    } else {
        (Vec::new(), 0)
    };
    // The store returns at least one key, the original none where the limit is 0.
    let views = views.into_iter().take(most);
    let records: Vec<Record> = views.map(|view| Record::of(view, shape)).collect();
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
    request: Authenticated<Nothing>,
) -> Result<Json<Swept>, Refused> {
    let (acting, owner) = (request.acting(), request.owner());
    acting.delete_expired_api_keys(&owner).await?;
    Ok(Json(Swept {
        success: true,
        error: (),
    }))
}
