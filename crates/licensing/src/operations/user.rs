//! The operations on users of apps.

use model::{AccountName, Alias, AppName, License, User, UserId};
use store::{AuditEntries, Changed, UserChange};

use super::acting::AuditedLicensing;
use super::validate;
use crate::error::Error;
use crate::licensing::Licensing;

/// A request for a user.
#[derive(Clone, Debug)]
pub struct UserRequest {
    /// The app.
    pub app: AppName,
    /// The account that asks; it must sell the app. `None`: whoever sells it.
    pub account: Option<AccountName>,
    /// The seller's own name for the user.
    pub login: String,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
}

impl AuditedLicensing {
    /// Creates a user of an app. The audit log holds the user's id alone, so that a person can be
    /// forgotten.
    ///
    /// # Errors
    /// A field has a value that is not allowed, the app is unknown, it has a user of this login, or
    /// the store fails.
    pub async fn create_user(&self, request: UserRequest) -> Result<User, Error> {
        validate::text("login", Some(&request.login))?;
        validate::text("first_name", request.first_name.as_deref())?;
        validate::text("last_name", request.last_name.as_deref())?;
        let account = self.seller(&request.app, request.account.as_ref())?;
        let now = self.clock.now();
        let user = User {
            id: UserId::generate(),
            account,
            alias: self.alias(&request.app, &request.login),
            app: request.app,
            login: request.login,
            first_name: request.first_name,
            last_name: request.last_name,
            created_at: now,
            updated_at: now,
        };
        let line = self.own_audit_writer().line("user.create", user.id);
        let entries = AuditEntries::of(vec![line.of(&user.account)]);
        self.store.create_user(user.clone(), entries).await?;
        Ok(user)
    }

    /// Changes a user and returns them; `None`: there is none.
    ///
    /// # Errors
    /// A field has a value that is not allowed, or the store fails.
    pub async fn change_user(
        &self,
        app: &AppName,
        login: &str,
        change: UserChange,
    ) -> Result<Option<User>, Error> {
        let given = |name: &Option<Option<String>>| name.clone().flatten();
        validate::text("first_name", given(&change.first_name).as_deref())?;
        validate::text("last_name", given(&change.last_name).as_deref())?;
        let now = self.clock.now();
        let audit_writer = self.own_audit_writer();
        let entries = AuditEntries::from_result(move |Changed { after, .. }: &Changed<User>| {
            vec![
                audit_writer
                    .line("user.change", after.id)
                    .of(&after.account),
            ]
        });
        let changing = self.store.change_user(app, login, change, now, entries);
        Ok(changing.await?)
    }

    /// Deletes a user. Returns whether there was one. Licenses stay, but do not name them any more:
    /// nothing of the person is left.
    ///
    /// # Errors
    /// The store fails.
    pub async fn delete_user(&self, app: &AppName, login: &str) -> Result<bool, Error> {
        let audit_writer = self.own_audit_writer();
        let entries = AuditEntries::from_result(move |user: &User| {
            vec![audit_writer.line("user.delete", user.id).of(&user.account)]
        });
        let deleted = self.store.delete_user(app, login, entries).await?;
        self.changes.learn_now().await;
        Ok(deleted)
    }
}

impl Licensing {
    /// Returns the user of an app with this login; `None`: there is none.
    ///
    /// # Errors
    /// The store fails.
    pub async fn user(&self, app: &AppName, login: &str) -> Result<Option<User>, Error> {
        Ok(self.store.user(app, login).await?)
    }

    /// Returns the user with this id.
    ///
    /// # Errors
    /// There is no such user, or the store fails.
    pub async fn user_by_id(&self, id: UserId) -> Result<User, Error> {
        let user = self.store.user_by_id(id).await?;
        user.ok_or(Error::UserUnknown(id))
    }

    /// Returns up to `limit` users of an app (at most 100,000), oldest first, beginning after
    /// `after`.
    ///
    /// # Errors
    /// The store fails.
    pub async fn users(
        &self,
        app: &AppName,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<User>, Error> {
        Ok(self.store.users(app, after, limit).await?)
    }

    /// Returns the name by which the app may call the holder of a license: the alias of its user,
    /// or, if it names none, one of its own.
    #[must_use]
    pub fn holder_alias(&self, license: &License) -> Alias {
        match &license.spec.user {
            Some(user) => self.alias(&license.app, user),
            None => self.alias(&license.app, &format!("\0{}", license.id)),
        }
    }

    /// Returns the alias of a user of an app. It is derived from both with the store's key, so that
    /// it is the same on every gate and after every start, and says nothing about the login.
    #[must_use]
    pub fn alias(&self, app: &AppName, login: &str) -> Alias {
        // No credential holds a NUL, so no credential has this hash.
        let text = format!("alias\0{app}\0{login}");
        let hash = self.hasher.hash(text.as_bytes());
        let (first, _) = hash
            .as_bytes()
            .split_first_chunk()
            .expect("a hash is longer than an alias");
        Alias::from_u64(u64::from_be_bytes(*first))
    }
}
