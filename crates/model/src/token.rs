//! Request tokens: one-use permits for one call, issued to a license's holder, consumed where the call is made.

use serde::{Deserialize, Serialize};

use crate::id::{CallId, LicenseId, RequestTokenId};
use crate::name::{AccountName, AppName};
use crate::outcome::Method;
use crate::time::Timestamp;
use crate::word_enum;

word_enum!(
    /// What has become of a token.
    TokenState: "What has become of a token." {
        /// It may be used.
        Issued = 0 => "issued",
        /// A call was admitted with it, and has no status yet.
        Claimed = 1 => "claimed",
        /// A call was made with it.
        Consumed = 2 => "consumed",
        /// Nobody used it in time: it cost nothing.
        Expired = 3 => "expired",
        /// Its holder agrees with the status that was reported.
        Confirmed = 4 => "confirmed",
        /// Its holder does not agree.
        Disputed = 5 => "disputed",
    }
);

/// A request token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestToken {
    /// Identity.
    pub id: RequestTokenId,
    /// The license that pays.
    pub license_id: LicenseId,
    /// The account that sells the app.
    pub account: AccountName,
    /// The app that it is for.
    pub app: AppName,
    /// The method that it is for.
    pub method: Method,
    /// The path that it is for, in its normal form.
    pub path: String,
    /// Units reserved for it.
    pub units: u64,
    /// What has become of it.
    pub state: TokenState,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Until when it may be used.
    pub expires_at: Timestamp,
    /// The call that it was used for.
    pub call_id: Option<CallId>,
    /// When it was used.
    pub consumed_at: Option<Timestamp>,
    /// The status of the call, as whoever served it reports it.
    pub status: Option<u16>,
    /// The status of the call, as its holder saw it.
    pub confirmed_status: Option<u16>,
}

impl RequestToken {
    /// Whether it is for this call.
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
