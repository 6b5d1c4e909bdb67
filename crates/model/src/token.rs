//! Request tokens: permits for one call each, issued to a license's holder and consumed where the
//! call is made.

use serde::{Deserialize, Serialize};

use crate::id::{CallId, LicenseId, RequestTokenId};
use crate::name::{AccountName, AppName};
use crate::outcome::Method;
use crate::time::Timestamp;
use crate::word_enum;

word_enum!(
    /// The state of a request token.
    TokenState: "What has become of a token." {
        /// The token may be used.
        Issued = 0 => "issued",
        /// A call was admitted with it, and has no status yet.
        Claimed = 1 => "claimed",
        /// A call was made with it.
        Consumed = 2 => "consumed",
        /// Nobody used the token in time; it cost nothing.
        Expired = 3 => "expired",
        /// The holder agrees with the status that was reported.
        Confirmed = 4 => "confirmed",
        /// The holder does not agree with the status that was reported.
        Disputed = 5 => "disputed",
    }
);

/// A request token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestToken {
    /// The id.
    pub id: RequestTokenId,
    /// The license that pays.
    pub license_id: LicenseId,
    /// The account that sells the app.
    pub account: AccountName,
    /// The app of the call.
    pub app: AppName,
    /// The method of the call.
    pub method: Method,
    /// The path of the call, in its normal form.
    pub path: String,
    /// The units reserved for the call.
    pub units: u64,
    /// The state.
    pub state: TokenState,
    /// The time of issue.
    pub issued_at: Timestamp,
    /// The end of its life.
    pub expires_at: Timestamp,
    /// The call that the token was used for.
    pub call_id: Option<CallId>,
    /// The time of use.
    pub consumed_at: Option<Timestamp>,
    /// The status of the call, as its server reports it.
    pub status: Option<u16>,
    /// The status of the call, as the holder saw it.
    pub confirmed_status: Option<u16>,
}

impl RequestToken {
    /// Returns whether the token is for this method and path.
    #[must_use]
    pub fn fits(&self, method: Method, path: &str) -> bool {
        self.method == method && self.path == path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_states() {
        for state in TokenState::ALL {
            assert_eq!(TokenState::from_number(state as u8), Some(state));
        }
        assert_eq!(TokenState::from_number(6), None);
    }
}
