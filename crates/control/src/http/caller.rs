//! The caller of a request: how it is admitted, and what it may do and see.

use std::sync::Arc;

use api_types::Scope;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use licensing::{ApiKeyOwner, AuditedLicensing};
use model::{AccountName, Actor, AppName, License, LicenseId, Who};
use store::ManagementKey;

use crate::http::client::{Client, may_send_plain};
use crate::http::fault::{Denied, Fault};
use crate::http::problem::{Code, Problem};
use crate::http::serve::{Access, Peer};
use crate::http::state::Api;

/// The caller of a request: the operator on the gate's own host, or the holder of a management key.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The operator, who could open the Unix socket and has full rights.
    Operator,
    /// The holder of a management key, with the rights of the key.
    Key(Arc<ManagementKey>),
}

/// Authenticates a request of the native API, and adds its [`Client`] and its [`Caller`] as
/// extensions.
pub(crate) async fn admit(
    State(state): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let peer = request.extensions().get::<Peer>().cloned();
    let peer = peer.ok_or_else(|| Problem::internal(&"a request came in without a peer"))?;
    let client = Client::of(&peer, request.headers(), &state.trusted_proxies);
    let caller = match peer.access {
        Access::Local => Caller::Operator,
        Access::Keys { .. } => {
            if !may_send_plain(&peer) {
                let detail = "put TLS in front, or name the network in `[control] plain_http_from`";
                return Err(Problem::new(Code::PlainHttp, detail));
            }
            let presented = bearer(request.headers())?;
            let found = state.authenticate(&client, presented).await;
            found.map_err(denied)?
        }
    };
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Returns the problem for a management key that did not let its holder in.
fn denied(fault: Fault) -> Problem {
    match fault {
        Fault::Denied(Denied::Missing) => {
            let detail = "send `Authorization: Bearer` with a key of `tallygate key create`";
            Problem::new(Code::KeyMissing, detail)
        }
        Fault::Denied(Denied::Wrong) => {
            let detail = "make a key with `tallygate key create`, this one is unknown or has ended";
            Problem::new(Code::KeyUnknown, detail)
        }
        Fault::Denied(Denied::Throttled { wait }) => {
            let detail = "too many bad keys came from this address";
            Problem::new(Code::TooManyFailures, detail).retry_after(wait)
        }
        Fault::Unavailable => {
            let wait = std::time::Duration::from_secs(1);
            Problem::new(Code::StoreUnavailable, fault.to_string()).retry_after(wait)
        }
        fault => Problem::internal(&fault),
    }
}

/// Returns the token of the one `Authorization: Bearer` header (the scheme in any case); `None`
/// without the header, or with another scheme.
///
/// # Errors
/// Returns a problem if there is more than one such header.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Problem::new(
            Code::RequestMalformed,
            "send one `Authorization` header",
        ));
    }
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Ok(token.map(|(_, token)| token.trim()))
}

// === impl Caller ===

impl Caller {
    /// Returns the owner of the API keys that the caller may see.
    pub(crate) fn api_key_owner(&self) -> ApiKeyOwner {
        ApiKeyOwner {
            account: self.account().cloned(),
            app: self.app().cloned(),
            license: self.license(),
        }
    }

    /// Returns the only account that the caller may see; `None` for all.
    #[must_use]
    pub fn account(&self) -> Option<&AccountName> {
        self.key().map(|key| &key.account)
    }

    /// Returns the only app that the caller may see; `None` for all of the account.
    #[must_use]
    pub fn app(&self) -> Option<&AppName> {
        self.key().and_then(|key| key.app.as_ref())
    }

    /// Returns the only license that the caller may see; `None` for all of the app.
    #[must_use]
    pub fn license(&self) -> Option<LicenseId> {
        self.key().and_then(|key| key.license_id)
    }

    /// Returns the management key of the caller; `None` for the operator.
    #[must_use]
    pub fn key(&self) -> Option<&ManagementKey> {
        match self {
            Self::Operator => None,
            Self::Key(key) => Some(key),
        }
    }

    /// Returns the name of the caller for the audit log, with the address.
    #[must_use]
    pub fn actor(&self, client: &Client) -> Actor {
        Actor {
            who: self.who(),
            address: client.address,
        }
    }

    /// Returns the caller as the audit log names them.
    #[must_use]
    pub fn who(&self) -> Who {
        match self {
            Self::Operator => Who::Operator,
            Self::Key(key) => Who::Key(key.id),
        }
    }

    /// Returns whether the caller's key has this scope. The operator has every scope.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.key().is_none_or(|key| key.held().contains(&scope))
    }

    /// Refuses callers whose key lacks this scope.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.may(scope) {
            return Ok(());
        }
        Err(Problem::new(
            Code::ScopeMissing,
            format!("it takes a key with the scope `{scope}`"),
        ))
    }

    /// Refuses callers whose key is for one license, which sees what is that license's and nothing
    /// around it.
    pub(crate) fn require_more_than_one_license(&self) -> Result<(), Problem> {
        if self.license().is_none() {
            return Ok(());
        }
        let detail = "the management key is for one license and reads what is that license's alone: use a key of its seller";
        Err(Problem::new(Code::ScopeMissing, detail))
    }

    /// Refuses every caller but the operator.
    pub(crate) fn require_operator(&self) -> Result<(), Problem> {
        match self {
            Self::Operator => Ok(()),
            Self::Key(_) => {
                let detail = "run `tallygate` on that host, it uses the gate's unix socket";
                Err(Problem::new(Code::LocalOnly, detail))
            }
        }
    }

    /// Returns whether the caller may see an app.
    #[must_use]
    pub fn sees_app(&self, account: &AccountName, app: &AppName) -> bool {
        self.account().is_none_or(|own| own == account) && self.app().is_none_or(|own| own == app)
    }

    /// Returns whether the caller may see a license.
    #[must_use]
    pub fn sees(&self, license: &License) -> bool {
        self.sees_app(&license.account, &license.app)
            && self.license().is_none_or(|own| own == license.id)
    }
}

/// The operations on licenses and keys in the name of the caller, which the audit log keeps.
pub(crate) struct Audited(pub(crate) AuditedLicensing);

impl FromRequestParts<Arc<Api>> for Audited {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Api>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let client = Client::from_request_parts(parts, state).await?;
        Ok(Self(state.licensing.acting(caller.actor(&client))))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::internal(&"a request was routed without being admitted"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scopes: &[&str]) -> Caller {
        Caller::Key(Arc::new(ManagementKey {
            id: model::ManagementKeyId::from_u128(1),
            account: AccountName::default(),
            app: Some("api".parse().expect("valid")),
            license_id: None,
            draws_on: None,
            name: None,
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            allow_ips: vec![],
            prefix: String::new(),
            created_at: model::Timestamp::default(),
            expires_at: None,
            revoked_at: None,
        }))
    }

    #[test]
    fn a_key_without_scopes_may_do_everything_and_one_with_scopes_only_those() {
        assert!(key(&[]).require(Scope::WriteLicenses).is_ok());
        assert!(key(&["read:usage"]).require(Scope::ReadUsage).is_ok());
        assert!(key(&["read:usage"]).require(Scope::WriteLicenses).is_err());
        assert!(key(&[]).require_operator().is_err());
        assert!(Caller::Operator.require_operator().is_ok());
    }

    #[test]
    fn a_key_sees_its_own_account_and_app_only() {
        let (own, other) = (AccountName::default(), "other".parse().expect("valid"));
        let (api, shop) = (
            "api".parse().expect("valid"),
            "shop".parse().expect("valid"),
        );
        assert!(key(&[]).sees_app(&own, &api));
        assert!(!key(&[]).sees_app(&own, &shop));
        assert!(!key(&[]).sees_app(&other, &api));
        assert!(Caller::Operator.sees_app(&other, &shop));
    }

    #[test]
    fn one_bearer_header_is_read_in_any_case_and_two_are_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), Ok(None));
        headers.append(AUTHORIZATION, "bEARER abc".parse().expect("valid"));
        assert_eq!(bearer(&headers), Ok(Some("abc")));
        headers.append(AUTHORIZATION, "Bearer def".parse().expect("valid"));
        assert!(bearer(&headers).is_err());
        headers.insert(AUTHORIZATION, "Basic abc".parse().expect("valid"));
        assert_eq!(bearer(&headers), Ok(None));
    }
}
