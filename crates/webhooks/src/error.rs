//! The errors of operations on webhooks.

use model::{AccountName, AppName, Blame, EventId, WebhookId};

/// An error of an operation.
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
    /// There is no such webhook. Blame: caller.
    #[error("there is no webhook {0}")]
    Unknown(WebhookId),
    /// The webhook has no such event. Blame: caller.
    #[error(
        "webhook {webhook} has no event {event}: `tallygate webhook deliveries {webhook}` lists those that are kept"
    )]
    EventUnknown {
        /// The webhook.
        webhook: WebhookId,
        /// The event.
        event: EventId,
    },
    /// There is no such app, or it belongs to another account. Blame: caller.
    #[error("there is no app `{0}`: `tallygate app list` shows those of the configuration")]
    AppUnknown(AppName),
    /// There is no such account. Blame: caller.
    #[error("there is no account `{0}`: make it with `tallygate account create`")]
    AccountUnknown(AccountName),
    /// The account or app has as many webhooks as it may have. Blame: caller.
    #[error("there are {0} webhooks already, which is the most: delete one")]
    TooMany(u32),
    /// The receiver did not answer the challenge, so that the webhook stays inactive. Blame: caller.
    #[error("the receiver did not answer with the challenge that it was sent: {answer}")]
    Unproven {
        /// What it answered.
        answer: String,
    },
    /// Somebody else changed the webhook while its receiver was asked. Blame: caller.
    #[error("webhook {0} was changed by somebody else meanwhile: look at it, and try again")]
    ChangedMeanwhile(WebhookId),
    /// The secret in the store was not sealed by this store's keyring. Blame: us.
    #[error(
        "the secret of webhook {0} cannot be opened, somebody changed it or put it there: rotate it"
    )]
    SecretMalformed(WebhookId),
    /// The store failed. Blame: us.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    pub(crate) fn invalid(field: &'static str, reason: impl ToString) -> Self {
        Self::Invalid {
            field,
            reason: reason.to_string(),
        }
    }

    /// Returns whose doing the error is.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Store(_) | Self::SecretMalformed(_) => Blame::Us,
            _ => Blame::Caller,
        }
    }
}
