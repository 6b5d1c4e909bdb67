//! The bodies of requests and answers.

use api_types::Scope;
use licensing::sessions::{Holder, PairTerms, Tokens};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::field::Secret;

/// The body of `POST /v1/auth/token`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ApimwLogIn")]
#[serde(deny_unknown_fields)]
pub(super) struct LogIn {
    /// The key of a pair.
    pub(super) api_key: Secret,
    /// The secret of the key.
    pub(super) api_secret: Secret,
}

/// The body of `POST /v1/auth/refresh`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ApimwRefresh")]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    /// A refresh token, good for one use.
    pub(super) refresh_token: Secret,
}

/// The answer with new tokens.
#[derive(Serialize)]
pub(super) struct Granted<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: &'a str,
}

/// The answer of `GET /v1/auth/me`.
#[derive(Serialize)]
pub(super) struct Me {
    user: User,
    tenant: Tenant,
    permissions: Vec<String>,
}

#[derive(Serialize)]
struct User {
    id: String,
    email: Option<String>,
    name: Option<String>,
}

#[derive(Serialize)]
struct Tenant {
    id: String,
    name: String,
    plan: Option<String>,
    status: &'static str,
}

/// The answer of a revocation.
#[derive(Serialize)]
pub(super) struct Revoked {
    pub(super) revoked: bool,
}

impl<'a> From<&'a Tokens> for Granted<'a> {
    fn from(tokens: &'a Tokens) -> Self {
        Self {
            access_token: tokens.access.expose(),
            token_type: "Bearer",
            expires_in: tokens.expires_in.as_secs(),
            refresh_token: tokens.refresh.expose(),
        }
    }
}

impl Me {
    pub(super) fn new(holder: &Holder, terms: &PairTerms) -> Self {
        let key = &holder.key;
        let email = terms.user.as_ref().filter(|user| user.contains('@'));
        Self {
            user: User {
                id: key.id.to_string(),
                email: email.cloned(),
                name: key.name.clone(),
            },
            tenant: Tenant {
                id: key.account.to_string(),
                name: key.account.to_string(),
                plan: terms.plan.as_ref().map(ToString::to_string),
                status: "active",
            },
            permissions: permissions(&key.held()),
        }
    }
}

/// Returns scopes as permissions: `verb:area` becomes `area:verb`.
fn permissions(held: &[Scope]) -> Vec<String> {
    let turned = |scope: &Scope| match scope.as_str().split_once(':') {
        Some((verb, area)) => format!("{area}:{verb}"),
        None => scope.to_string(),
    };
    held.iter().map(turned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_turned_into_permissions() {
        let held = [Scope::ReadUsage, Scope::WriteKeys];
        assert_eq!(permissions(&held), ["usage:read", "keys:write"]);
    }
}
