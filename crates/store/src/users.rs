//! Users of apps at rest.

use async_trait::async_trait;
use model::{AppName, Timestamp, User, UserId};

use crate::audit::{AuditEntries, Changed};
use crate::error::Error;

/// What to change of a user. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The first name; `Some(None)` takes it away.
    pub first_name: Option<Option<String>>,
    /// The last name; `Some(None)` takes it away.
    pub last_name: Option<Option<String>>,
}

/// Users of apps.
#[async_trait]
pub trait UserStore: Send + Sync + 'static {
    /// Keeps a user.
    ///
    /// # Errors
    /// [`Error::Exists`] if the app has one of this login, or the id is there already.
    async fn create_user(&self, user: User, note: AuditEntries<()>) -> Result<(), Error>;

    /// The user of an app with this login.
    async fn user(&self, app: &AppName, login: &str) -> Result<Option<User>, Error>;

    /// The user with this id.
    async fn user_by_id(&self, id: UserId) -> Result<Option<User>, Error>;

    /// Up to `limit` users of an app (at most 100,000) in order of id, beginning after `after`; stable under inserts.
    async fn users(
        &self,
        app: &AppName,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<User>, Error>;

    /// Changes a user at a time; `None` if there is none such.
    async fn change_user(
        &self,
        app: &AppName,
        login: &str,
        change: UserChange,
        at: Timestamp,
        note: AuditEntries<Changed<User>>,
    ) -> Result<Option<User>, Error>;

    /// Forgets a user; whether there was one. Licenses of the app, and those of its account that open every app, stay, but
    /// name them no more and keep no copy of their keys: nothing of the person is left. Each of these licenses gets a number.
    async fn delete_user(
        &self,
        app: &AppName,
        login: &str,
        note: AuditEntries<User>,
    ) -> Result<bool, Error>;
}
