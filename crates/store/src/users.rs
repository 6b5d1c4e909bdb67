//! The store of users of apps.

use async_trait::async_trait;
use model::{AppName, Timestamp, User, UserId};

use crate::audit::{AuditEntries, Changed};
use crate::error::Error;

/// A change of a user. A field that is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The first name; `Some(None)` removes it.
    pub first_name: Option<Option<String>>,
    /// The last name; `Some(None)` removes it.
    pub last_name: Option<Option<String>>,
}

/// The store of users.
#[async_trait]
pub trait UserStore: Send + Sync + 'static {
    /// Keeps a user.
    ///
    /// # Errors
    /// [`Error::Exists`] if the app has one of this login, or the id is there already.
    async fn create_user(&self, user: User, entries: AuditEntries<()>) -> Result<(), Error>;

    /// Returns the user of an app with this login.
    async fn user(&self, app: &AppName, login: &str) -> Result<Option<User>, Error>;

    /// Returns the user with this id.
    async fn user_by_id(&self, id: UserId) -> Result<Option<User>, Error>;

    /// Returns up to `limit` users of an app (at most 100,000) in order of id, beginning after
    /// `after`; stable under inserts.
    async fn users(
        &self,
        app: &AppName,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<User>, Error>;

    /// Changes a user at a time; returns `None` if there is no such user.
    async fn change_user(
        &self,
        app: &AppName,
        login: &str,
        change: UserChange,
        at: Timestamp,
        entries: AuditEntries<Changed<User>>,
    ) -> Result<Option<User>, Error>;

    /// Forgets a user. Returns whether there was one. Licenses of the app, and those of its account
    /// that open every app, stay, but name them no more and keep no copy of their keys: nothing of
    /// the person is left. Each of these licenses gets a change number.
    async fn delete_user(
        &self,
        app: &AppName,
        login: &str,
        entries: AuditEntries<User>,
    ) -> Result<bool, Error>;
}
