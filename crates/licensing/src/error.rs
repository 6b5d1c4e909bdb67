//! The errors of operations on licenses and keys.

use std::path::PathBuf;

use model::{
    AccountName, ApiKeyRule, AppName, Blame, LicenseId, ManagementKeyId, PlanName, SessionId,
    Timestamp, UserId,
};

/// An error of an operation, or of opening.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of a request has a value that is not allowed. Blame: caller.
    #[error("`{field}`: {reason}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// The reason: what is wrong and what is allowed.
        reason: String,
    },
    /// The configuration has no such app, or it belongs to another account. Blame: caller.
    #[error("there is no app `{0}`: `tallygate app list` shows those of the configuration")]
    AppUnknown(AppName),
    /// The configuration has no such plan. Blame: caller.
    #[error("there is no plan `{0}`: declare it as a `[[plan]]` of the configuration")]
    PlanUnknown(PlanName),
    /// There is no such license. Blame: caller.
    #[error("there is no license {0}")]
    LicenseUnknown(LicenseId),
    /// There is no such management key. Blame: caller.
    #[error("there is no management key {0}")]
    ManagementKeyUnknown(ManagementKeyId),
    /// There is no such API key, or it belongs to another owner. Blame: caller.
    #[error("there is no api key {0}")]
    ApiKeyUnknown(LicenseId),
    /// A rule of API keys is broken. Blame: caller.
    #[error(transparent)]
    ApiKeyRule(#[from] ApiKeyRule),
    /// A key of every app is asked for by an account that has no app. Blame: caller.
    #[error("account `{0}` sells no app, so that a key would open nothing: name an app")]
    AccountWithoutApps(AccountName),
    /// There is no such account. Blame: caller.
    #[error("there is no account `{0}`: make it with `tallygate account create`")]
    AccountUnknown(AccountName),
    /// There is no such token of this license, or it was not used yet. Blame: caller.
    #[error("there is no such token of this license, or it was not used yet")]
    TokenUnknown,
    /// A revoked license takes no further change. Blame: caller.
    #[error("license {0} is revoked, which is final: create a new one")]
    LicenseRevoked(LicenseId),
    /// A license whose units are not counted has nothing that could be credited or debited. Blame:
    /// caller.
    #[error(
        "the units of license {0} are not counted: say how many are left (`tallygate license change {0} --remaining N`)"
    )]
    UnitsNotCounted(LicenseId),
    /// The wallet of an account is changed by credits and debits alone. Blame: caller.
    #[error(
        "this license holds the credits of account `{0}`: change them with `tallygate account credit` or `debit`"
    )]
    WalletUnchangeable(AccountName),
    /// A revoked or expired management key takes no further change. Blame: caller.
    #[error("management key {0} has ended: create a new one")]
    ManagementKeyEnded(ManagementKeyId),
    /// A record of this identity exists already. Blame: caller.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// The store's keyring was sealed with another secret. Blame: caller.
    #[error(
        "the keyring of the store was sealed with another secret than {0}: start with the secret that it was made with"
    )]
    SecretWrong(String),
    /// The keyring is sealed with a generated secret whose file is gone. Blame: caller.
    #[error(
        "the keyring of the store is sealed and its secret is missing: put back {0}, or set `[server] secret` if it was sealed with that"
    )]
    SecretMissing(PathBuf),
    /// The file of the generated secret cannot be read, written or used. Blame: caller.
    #[error("the secret file {path} cannot be used: {reason}")]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// The reason: what is wrong.
        reason: String,
    },
    /// The keyring in the store is not one that this version reads. Blame: us.
    #[error("the keyring of the store cannot be read by this version")]
    KeyringMalformed,
    /// There is no such user. Blame: caller.
    #[error("there is no user {0}")]
    UserUnknown(UserId),
    /// There is no such session. Blame: caller.
    #[error("there is no session {0}")]
    SessionUnknown(SessionId),
    /// A new signing key was made already and does not sign yet. Blame: caller.
    #[error("a new signing key takes over at {until}: wait for it, or withdraw the ones before")]
    RotationUnderWay {
        /// The time at which it begins to sign.
        until: Timestamp,
    },
    /// So many change the settings of an app at once, here and on other gates, that this change did
    /// not get its turn. Blame: caller.
    #[error("too many change the settings of app `{0}` at once: try again in a moment")]
    SettingsBusy(AppName),
    /// The store failed. Blame: us.
    #[error(transparent)]
    Store(store::Error),
}

impl Error {
    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            reason: reason.into(),
        }
    }

    /// Returns whose doing the error is.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Store(_) | Self::KeyringMalformed => Blame::Us,
            _ => Blame::Caller,
        }
    }

    /// Returns whether the store is out of reach, so that another try may help.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_unavailable())
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Exists(what) => Self::Exists(what),
            other => Self::Store(other),
        }
    }
}
