//! Who asks, and what they may see.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;
use model::{AccountName, AppName, License, LicenseId};
use store::ManagementKey;

use crate::problem::{Code, Problem};
use crate::serve::{Access, Peer};
use crate::state::Api;
use crate::wire::Scope;

/// Who asks: the operator on the gate's own host, or the holder of a management key.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// Full rights: they could open the Unix socket.
    Operator,
    /// The rights of the key.
    Key(Arc<ManagementKey>),
}

/// Lets requests in whose peer may ask at all, and notes who it is.
pub(crate) async fn admit(
    State(state): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let peer = request.extensions().get::<Peer>().cloned();
    let peer = peer.ok_or_else(|| Problem::internal(&"a request came in without a peer"))?;
    let caller = match peer.access {
        Access::Local => Caller::Operator,
        Access::Keys { plain_http_from } => {
            let address = peer.address.map(|address| address.ip().to_canonical());
            let address = address
                .ok_or_else(|| Problem::internal(&"a TCP request came in without an address"))?;
            if !may_come_plain(address, &plain_http_from) {
                let detail = "put TLS in front, or name the network in `[control] plain_http_from`";
                return Err(Problem::new(Code::PlainHttp, detail));
            }
            let key = authenticate(&state, request.headers(), address).await?;
            Caller::Key(Arc::new(key))
        }
    };
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Whether an unencrypted request may come from an address.
fn may_come_plain(address: IpAddr, networks: &[IpNet]) -> bool {
    address.is_loopback() || networks.iter().any(|network| network.contains(&address))
}

/// The management key that a request carries. Unknown, ended and revoked ones look the same.
async fn authenticate(
    state: &Api,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<ManagementKey, Problem> {
    let now = state.clock.now();
    state.throttle.admit(address, now).map_err(|wait| {
        Problem::new(
            Code::TooManyFailures,
            "too many bad keys came from this address",
        )
        .retry_after(wait)
    })?;
    let Some(presented) = bearer(headers)? else {
        let detail = "send `Authorization: Bearer` with a key of `tallygate key create`";
        return Err(Problem::new(Code::KeyMissing, detail));
    };
    match state.licensing.authenticate(presented).await? {
        Some(key) => Ok(key),
        None => {
            state.throttle.failed(address, now);
            let detail = "make a key with `tallygate key create`, this one is unknown or has ended";
            Err(Problem::new(Code::KeyUnknown, detail))
        }
    }
}

/// The token of the one `Authorization: Bearer` header (the scheme in any case).
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
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
    /// The only account whose things are theirs; `None`: all.
    pub(crate) fn account(&self) -> Option<&AccountName> {
        self.key().map(|key| &key.account)
    }

    /// The only app whose things are theirs; `None`: all of the account.
    pub(crate) fn app(&self) -> Option<&AppName> {
        self.key().and_then(|key| key.app.as_ref())
    }

    /// The only license that is theirs; `None`: all of the app.
    pub(crate) fn license(&self) -> Option<LicenseId> {
        self.key().and_then(|key| key.license_id)
    }

    pub(crate) fn key(&self) -> Option<&ManagementKey> {
        match self {
            Self::Operator => None,
            Self::Key(key) => Some(key),
        }
    }

    /// Refuses those whose key was not made for this.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Problem> {
        let granted = self.key().is_none_or(|key| {
            key.scopes.is_empty() || key.scopes.iter().any(|s| s == scope.as_str())
        });
        if granted {
            return Ok(());
        }
        Err(Problem::new(
            Code::ScopeMissing,
            format!("it takes a key with the scope `{scope}`"),
        ))
    }

    /// Refuses everybody but the operator.
    pub(crate) fn require_operator(&self) -> Result<(), Problem> {
        match self {
            Self::Operator => Ok(()),
            Self::Key(_) => {
                let detail = "run `tallygate` on that host, it uses the gate's unix socket";
                Err(Problem::new(Code::LocalOnly, detail))
            }
        }
    }

    /// Whether an app is theirs to see.
    pub(crate) fn sees_app(&self, account: &AccountName, app: &AppName) -> bool {
        self.account().is_none_or(|own| own == account) && self.app().is_none_or(|own| own == app)
    }

    /// Whether a license is theirs to see.
    pub(crate) fn sees(&self, license: &License) -> bool {
        self.sees_app(&license.account, &license.app)
            && self.license().is_none_or(|own| own == license.id)
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
            name: None,
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
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
    fn unencrypted_requests_come_from_this_host_and_from_networks_that_are_named() {
        let networks = ["10.1.0.0/16".parse().expect("valid")];
        let may = |text: &str| may_come_plain(text.parse().expect("valid"), &networks);
        assert!(may("127.0.0.1") && may("::1") && may("10.1.2.3"));
        assert!(!may("10.2.0.1") && !may("2001:db8::1"));
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
