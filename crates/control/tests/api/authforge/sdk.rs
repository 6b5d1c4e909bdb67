//! The real SDK, crate `authforge` 2.0.0, against the gate.

use std::sync::Arc;

use authforge::{AuthForgeClient, AuthForgeConfig, AuthForgeError, SessionKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use licensing::SoftwareTerms;
use licensing::signing::NewAppKey;
use model::Actor;
use serde_json::json;

use super::Software;

impl Software {
    /// Returns the SDK as the software on a device has it, which trusts these keys.
    async fn sdk(&self, device: &str) -> Arc<AuthForgeClient> {
        let app = "api".parse().unwrap();
        let keys = self.world.signing.app_keys(&app).await.unwrap();
        let text = |key: &licensing::signing::AppKey| STANDARD.encode(key.public_key());
        let config = AuthForgeConfig {
            app_id: self.app_id.clone(),
            app_secret: self.secret.clone(),
            public_keys: keys.iter().map(text).collect(),
            api_base_url: format!("http://{}", self.world.address),
            hwid_override: Some(device.to_owned()),
            session_ttl_seconds: Some(7_200),
            ..AuthForgeConfig::default()
        };
        Arc::new(AuthForgeClient::new(config))
    }
}

/// Runs what waits for the gate beside it.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_logs_in_with_variables_and_tells_refusals_apart() {
    let software = Software::start().await;
    let key = software.license(json!({ "label": "order 7" })).await;
    let path = format!("/v1/licenses/{key}/variables");
    software
        .sell("PUT", &path, &json!({ "tier": "pro" }))
        .await
        .json(200);
    let (one, two) = (software.sdk("a").await, software.sdk("b").await);
    let text = key.clone();
    let (result, client) = aside(move || (one.validate_license(&text), one)).await;
    let session = result.expect("it passes");
    let now = software.world.services.now().seconds().unsigned_abs();
    assert_eq!(session.expires_in, now + 7_200);
    // The SDK reads `null`, which is for ever, as it reads nothing.
    assert_eq!(session.license_expires_at, None);
    assert_eq!(
        (session.max_hwid_slots, session.hwid_count),
        (Some(1), Some(1))
    );
    assert_eq!(session.license_label.as_deref(), Some("order 7"));
    assert_eq!(session.license_variables.unwrap()["tier"], "pro");
    let text = key.clone();
    let refused = aside(move || two.validate_license(&text))
        .await
        .unwrap_err();
    assert!(matches!(refused, AuthForgeError::HwidMismatch), "{refused}");
    software
        .act(&key, &json!({ "action": "revoke" }))
        .await
        .json(200);
    let refused = aside(move || client.login(&key)).await.unwrap_err();
    assert!(
        matches!(refused, AuthForgeError::Revoked) && refused.is_fatal(),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_trusts_a_new_key_that_it_was_shipped_with_before_it_signs() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    let old = software.sdk("a").await;
    let add = async |lead: u64| {
        let app = "api".parse().unwrap();
        let new = NewAppKey {
            lead: std::time::Duration::from_secs(lead),
            ..NewAppKey::default()
        };
        software
            .world
            .signing
            .add_app_key(&app, &"default".parse().unwrap(), new, Actor::OPERATOR)
            .await
            .unwrap();
    };
    add(3_600).await;
    let shipped = software.sdk("a").await;
    let text = key.clone();
    let before =
        aside(move || [old.validate_license(&text), shipped.validate_license(&text)]).await;
    assert!(before.iter().all(Result::is_ok), "{before:?}");
    let shipped = software.sdk("a").await;
    software.pass(3_600).await;
    let text = key.clone();
    aside(move || shipped.validate_license(&text))
        .await
        .expect("the new key signs");
    add(0).await;
    let latest = software.sdk("a").await;
    aside(move || latest.validate_license(&key))
        .await
        .expect("so does one without notice");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_activates_offline_runs_from_its_file_and_bans_itself() {
    let terms = SoftwareTerms {
        offline_activation: true,
        ..SoftwareTerms::default()
    };
    let software = Software::with(terms).await;
    let key = software.license(json!({})).await;
    let (client, other) = (software.sdk("a").await, software.sdk("b").await);
    let path = software.world.directory.path().join("maker.authforge");
    let (text, file) = (key.clone(), path.clone());
    let client = aside(move || {
        client.activate_offline(&text, Some(&file)).expect("a file");
        client
    })
    .await;
    assert_eq!(client.get_session_kind(), Some(SessionKind::Offline));
    let file = path.to_str().unwrap().to_owned();
    let error = aside(move || other.login_from_file(&file))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "hwid_mismatch");
    let banning = software.sdk("a").await;
    let text = key.clone();
    aside(move || banning.self_ban(Some(&text), None, false, true, false))
        .await
        .expect("banned");
    let banned = software.sdk("a").await;
    let refused = aside(move || banned.validate_license(&key))
        .await
        .unwrap_err();
    assert!(matches!(refused, AuthForgeError::Blocked), "{refused}");
}
