//! The authentication of consumers, who present the key of their license.

use std::sync::Arc;

use licensing::CachedLicense;
use model::Refusal;

use super::answer::Failure;
use crate::http::client::Client;
use crate::http::field::Secret;
use crate::http::services::Services;

/// Returns the license of a key, whatever its state.
///
/// # Errors
/// Returns a failure if no license has the key, which counts against the client, or if the license
/// cannot be looked up.
pub(super) async fn license(
    services: &Services,
    client: &Client,
    key: &Secret,
) -> Result<Arc<CachedLicense>, Failure> {
    services.may_try(client)?;
    let found = services.spender().look_up(key.expose().as_bytes()).await;
    found.map_err(|refusal| {
        note(services, client, refusal);
        refusal.into()
    })
}

/// Counts a key of no license against the client that sent it.
pub(super) fn note(services: &Services, client: &Client, refusal: Refusal) {
    if refusal == Refusal::LicenseUnknown {
        services.failed(client);
    }
}
