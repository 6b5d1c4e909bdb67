//! The crate `authforge`, in the process of the test.

use std::path::Path;
use std::sync::{Arc, Mutex};

use authforge::{AuthForgeClient, AuthForgeConfig, AuthForgeError, LoginResult};
use serde_json::{Value, json};

use super::sdk::{Installation, Said, Sdk};

/// A copy of the software that is written in Rust.
pub(super) struct CrateSdk {
    client: AuthForgeClient,
    told: Arc<Mutex<Vec<String>>>,
}

fn code(error: &AuthForgeError) -> String {
    error.code().to_owned()
}

/// Returns what a result says, by the names of the protocol.
fn said(result: LoginResult) -> Value {
    // The crate tells a license without an end from an absent field by an empty text.
    let ends = result.license_expires_at.filter(|end| !end.is_empty());
    json!({
        "sessionToken": result.session_token,
        "expiresIn": result.expires_in,
        "sessionExpiresAt": result.session_expires_at,
        "licenseExpiresAt": ends,
        "maxHwidSlots": result.max_hwid_slots,
        "hwidCount": result.hwid_count,
        "licenseLabel": result.license_label,
        "appVariables": result.app_variables,
        "licenseVariables": result.license_variables,
        "requestId": result.request_id,
    })
}

impl Sdk for CrateSdk {
    const REPEATS_WHEN_CUT: bool = true;
    const BEATS: u64 = 1;

    fn start(installation: &Installation) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = told.clone();
        let config = AuthForgeConfig {
            app_id: installation.app_id.clone(),
            app_secret: installation.app_secret.clone(),
            public_key: installation.public_key.clone(),
            api_base_url: installation.base_url.clone(),
            hwid_override: Some(installation.device.clone()),
            session_ttl_seconds: installation.ttl,
            online_heartbeat: installation.heartbeats,
            // The crate checks no oftener.
            heartbeat_interval: 10,
            request_timeout: installation.timeout.unwrap_or_default(),
            on_heartbeat_failure: Some(Box::new(move |error| {
                telling.lock().expect("no panic").push(code(error));
            })),
            ..AuthForgeConfig::default()
        };
        Self {
            client: AuthForgeClient::new(config),
            told,
        }
    }

    fn login(&mut self, key: &str) -> Said {
        self.client
            .login(key)
            .map(said)
            .map_err(|error| code(&error))
    }

    fn validate(&mut self, key: &str) -> Said {
        let result = self.client.validate_license(key);
        result.map(said).map_err(|error| code(&error))
    }

    fn session(&mut self) -> Value {
        self.client.get_session_data().unwrap_or_default()
    }

    fn is_authenticated(&mut self) -> bool {
        self.client.is_authenticated()
    }

    fn told(&mut self) -> Vec<String> {
        self.told.lock().expect("no panic").clone()
    }

    fn ban(&mut self, key: Option<&str>, revoke: bool) -> Result<(), String> {
        let banned = self.client.self_ban(key, None, revoke, true, false);
        banned.map_err(|error| code(&error))
    }

    fn activate(&mut self, key: &str, path: &Path) -> Result<(), String> {
        let activated = self.client.activate_offline(key, Some(path));
        activated.map_err(|error| code(&error))
    }

    fn login_from_file(&mut self, path: &Path) -> Said {
        let license = self.client.login_from_file(&path.to_string_lossy());
        license
            .map(|license| license.payload)
            .map_err(|error| error.code().to_owned())
    }

    fn request(&mut self) -> String {
        self.client
            .create_activation_request(authforge::ActivationRequestOptions::default())
    }
}
