//! Request tokens and sessions, on the wire. Neither shows its secret: that was shown once, to its
//! holder.

use model::{
    AccountName, AppName, CallId, LicenseId, ManagementKeyId, Method, RequestTokenId, SessionId,
    Timestamp, TokenState,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A request token as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// The identity.
    pub id: RequestTokenId,
    /// The license that pays.
    pub license: LicenseId,
    /// The account that sells the app.
    pub account: AccountName,
    /// The app that it is for.
    pub app: AppName,
    /// The method that it is for.
    pub method: Method,
    /// The path that it is for.
    pub path: String,
    /// The units that it holds until it is used or has ended.
    pub units: u64,
    /// The state of the token.
    pub state: TokenState,
    /// The time at which it was issued.
    pub issued_at: Timestamp,
    /// The time until which it may be used.
    pub expires_at: Timestamp,
    /// The call that it was used for.
    pub call_id: Option<CallId>,
    /// The time at which it was used.
    pub consumed_at: Option<Timestamp>,
    /// The status of the call, as whoever served it reports it.
    pub status: Option<u16>,
    /// The status of the call, as its holder saw it.
    pub confirmed_status: Option<u16>,
}

/// A session as it is answered: the tokens of one log-in and of all its refreshes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// The identity.
    pub id: SessionId,
    /// The management key that it acts for.
    pub key: ManagementKeyId,
    /// The license that calls with its access tokens draw on; `null`: they open no gate.
    pub license: Option<LicenseId>,
    /// The time at which it began.
    pub created_at: Timestamp,
    /// The time at which it was ended before its time.
    pub ended_at: Option<Timestamp>,
}

impl From<model::RequestToken> for Token {
    fn from(token: model::RequestToken) -> Self {
        Self {
            id: token.id,
            license: token.license_id,
            account: token.account,
            app: token.app,
            method: token.method,
            path: token.path,
            units: token.units,
            state: token.state,
            issued_at: token.issued_at,
            expires_at: token.expires_at,
            call_id: token.call_id,
            consumed_at: token.consumed_at,
            status: token.status,
            confirmed_status: token.confirmed_status,
        }
    }
}

impl From<model::Session> for Session {
    fn from(session: model::Session) -> Self {
        Self {
            id: session.id,
            key: session.key_id,
            license: session.license_id,
            created_at: session.created_at,
            ended_at: session.ended_at,
        }
    }
}
