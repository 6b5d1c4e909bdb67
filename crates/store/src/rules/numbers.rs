//! The numbers that columns hold for statuses and states. They are in every store that there is: a
//! number never changes its meaning.

use model::{
    CredentialStatus, DeliveryState, LicenseStatus, TokenState, WebhookForm, WebhookState,
};

/// The number of a license that is revoked.
pub(crate) const LICENSE_REVOKED: i16 = license(LicenseStatus::Revoked);
/// The number of a credential that may be used.
pub(crate) const CREDENTIAL_ACTIVE: i16 = credential(CredentialStatus::Active);
/// The number of a credential that is revoked.
pub(crate) const CREDENTIAL_REVOKED: i16 = credential(CredentialStatus::Revoked);
/// The number of a request token that nobody used yet.
pub(crate) const TOKEN_ISSUED: i16 = TokenState::Issued as i16;
/// The number of a request token that a call was admitted with.
pub(crate) const TOKEN_CLAIMED: i16 = TokenState::Claimed as i16;
/// The number of a request token that a call was made with.
pub(crate) const TOKEN_CONSUMED: i16 = TokenState::Consumed as i16;
/// The number of a request token that nobody used in time.
pub(crate) const TOKEN_EXPIRED: i16 = TokenState::Expired as i16;
/// The number of a request token whose status its holder agrees with.
pub(crate) const TOKEN_CONFIRMED: i16 = TokenState::Confirmed as i16;
/// The number of a request token whose status its holder does not agree with.
pub(crate) const TOKEN_DISPUTED: i16 = TokenState::Disputed as i16;

/// The number of a webhook that gets events.
pub(crate) const WEBHOOK_ACTIVE: i16 = WebhookState::Active as i16;
/// The number of a webhook whose receiver failed too often.
pub(crate) const WEBHOOK_DISABLED: i16 = WebhookState::Disabled as i16;
/// The number of a webhook that did not prove that it wants events.
pub(crate) const WEBHOOK_UNPROVEN: i16 = WebhookState::Unproven as i16;
/// The number of the form of webhooks in which the keys of licenses are told.
pub(crate) const TELLS_KEYS: i16 = WebhookForm::Authforge as i16;
/// The number of a delivery that waits.
pub(crate) const WAITING: i16 = DeliveryState::Waiting as i16;
/// The number of a delivery that failed for good.
pub(crate) const FAILED: i16 = DeliveryState::Failed as i16;

/// Returns the number of a license's status.
pub(crate) const fn license(status: LicenseStatus) -> i16 {
    match status {
        LicenseStatus::Active => 0,
        LicenseStatus::Disabled => 1,
        LicenseStatus::Revoked => 2,
    }
}

/// Returns the license status of a number; `None`: no status has it.
pub(crate) fn license_of(number: i16) -> Option<LicenseStatus> {
    [
        LicenseStatus::Active,
        LicenseStatus::Disabled,
        LicenseStatus::Revoked,
    ]
    .into_iter()
    .find(|status| license(*status) == number)
}

/// Returns the number of a credential's status.
pub(crate) const fn credential(status: CredentialStatus) -> i16 {
    match status {
        CredentialStatus::Active => 0,
        CredentialStatus::Revoked => 1,
    }
}

/// Returns the credential status of a number; `None`: no status has it.
pub(crate) fn credential_of(number: i16) -> Option<CredentialStatus> {
    [CredentialStatus::Active, CredentialStatus::Revoked]
        .into_iter()
        .find(|status| credential(*status) == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_statuses_are_those_that_stores_hold() {
        for (number, status) in [
            (0, LicenseStatus::Active),
            (1, LicenseStatus::Disabled),
            (2, LicenseStatus::Revoked),
        ] {
            assert_eq!(license(status), number);
            assert_eq!(license_of(number), Some(status));
        }
        for (number, status) in [
            (0, CredentialStatus::Active),
            (1, CredentialStatus::Revoked),
        ] {
            assert_eq!(credential(status), number);
            assert_eq!(credential_of(number), Some(status));
        }
        assert_eq!((license_of(3), credential_of(2)), (None, None));
        let tokens = [
            TOKEN_ISSUED,
            TOKEN_CLAIMED,
            TOKEN_CONSUMED,
            TOKEN_EXPIRED,
            TOKEN_CONFIRMED,
            TOKEN_DISPUTED,
        ];
        assert_eq!(tokens, [0, 1, 2, 3, 4, 5]);
        let webhooks = [WEBHOOK_ACTIVE, WEBHOOK_DISABLED, WEBHOOK_UNPROVEN];
        assert_eq!((webhooks, [WAITING, FAILED]), ([0, 2, 3], [0, 2]));
    }
}
