//! Users in SQL.

use async_trait::async_trait;
use model::{Alias, AppName, LicenseId, Timestamp, User, UserId};
use rusqlite::{Connection, Row, params};

use super::audit::{add_changed, add_entries};
use super::backend_error::{BackendError, unique};
use super::convert::{id, read_id, read_text, read_time, rows};
use super::{SqliteStore, licenses};
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::users::{UserChange, UserStore};

/// The columns in the order that [`read`] reads.
const USER: &str = "id, account, app, login, alias, first_name, last_name, created_at, updated_at";

#[async_trait]
impl UserStore for SqliteStore {
    async fn create_user(&self, user: User, entries: AuditEntries<()>) -> Result<(), Error> {
        self.licenses
            .write(move |session| {
                create(session.connection(), &user)?;
                add_entries(session.connection(), &entries, &())
            })
            .await
    }

    async fn user(&self, app: &AppName, login: &str) -> Result<Option<User>, Error> {
        let (app, login) = (app.clone(), login.to_owned());
        self.licenses
            .read(move |session| get(session.connection(), &app, &login))
            .await
    }

    async fn user_by_id(&self, wanted: UserId) -> Result<Option<User>, Error> {
        self.licenses
            .read(move |session| by_id(session.connection(), wanted))
            .await
    }

    async fn users(
        &self,
        app: &AppName,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<User>, Error> {
        let app = app.clone();
        self.licenses
            .read_background(move |session| page(session.connection(), &app, after, limit))
            .await
    }

    async fn change_user(
        &self,
        app: &AppName,
        login: &str,
        requested: UserChange,
        at: Timestamp,
        entries: AuditEntries<Changed<User>>,
    ) -> Result<Option<User>, Error> {
        let (app, login) = (app.clone(), login.to_owned());
        self.licenses
            .write(move |session| {
                let connection = session.connection();
                let before = get(connection, &app, &login)?;
                let after = change(connection, &app, &login, &requested, at)?;
                add_changed(connection, &entries, before, after)
            })
            .await
    }

    async fn delete_user(
        &self,
        app: &AppName,
        login: &str,
        entries: AuditEntries<User>,
    ) -> Result<bool, Error> {
        let (app, login, now) = (app.clone(), login.to_owned(), self.clock.now());
        self.licenses
            .write(move |session| {
                let connection = session.connection();
                let Some(user) = get(connection, &app, &login)? else {
                    return Ok(false);
                };
                delete(connection, &user, now)?;
                add_entries(connection, &entries, &user)?;
                Ok(true)
            })
            .await
    }
}

fn create(connection: &Connection, user: &User) -> Result<(), BackendError> {
    let sql = format!("INSERT INTO users ({USER}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    connection
        .prepare_cached(&sql)?
        .execute(params![
            id(user.id.as_u128()),
            user.account.as_str(),
            user.app.as_str(),
            user.login,
            user.alias.as_u64().to_be_bytes(),
            user.first_name,
            user.last_name,
            user.created_at.micros(),
            user.updated_at.micros(),
        ])
        .map_err(|error| unique(error, "a user of this app with this login"))?;
    Ok(())
}

fn get(connection: &Connection, app: &AppName, login: &str) -> Result<Option<User>, BackendError> {
    let sql = format!("SELECT {USER} FROM users WHERE app = ?1 AND login = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![app.as_str(), login])?;
    found.next()?.map(read).transpose()
}

fn by_id(connection: &Connection, wanted: UserId) -> Result<Option<User>, BackendError> {
    let sql = format!("SELECT {USER} FROM users WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query([id(wanted.as_u128())])?;
    found.next()?.map(read).transpose()
}

fn page(
    connection: &Connection,
    app: &AppName,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<User>, BackendError> {
    let sql = format!("SELECT {USER} FROM users WHERE app = ?1 AND id > ?2 ORDER BY id LIMIT ?3");
    let after = after.map_or(0, UserId::as_u128);
    connection
        .prepare_cached(&sql)?
        .query_and_then(params![app.as_str(), id(after), rows(limit) as i64], read)?
        .collect()
}

fn change(
    connection: &Connection,
    app: &AppName,
    login: &str,
    requested: &UserChange,
    at: Timestamp,
) -> Result<Option<User>, BackendError> {
    let sql = format!(
        "UPDATE users SET first_name = CASE WHEN ?3 THEN ?4 ELSE first_name END,
            last_name = CASE WHEN ?5 THEN ?6 ELSE last_name END, updated_at = ?7
        WHERE app = ?1 AND login = ?2 RETURNING {USER}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![
        app.as_str(),
        login,
        requested.first_name.is_some(),
        requested.first_name.as_ref().and_then(Option::as_ref),
        requested.last_name.is_some(),
        requested.last_name.as_ref().and_then(Option::as_ref),
        at.micros(),
    ])?;
    found.next()?.map(read).transpose()
}

fn delete(connection: &Connection, user: &User, now: Timestamp) -> Result<(), BackendError> {
    connection
        .prepare_cached("DELETE FROM users WHERE id = ?1")?
        .execute([id(user.id.as_u128())])?;
    let sql = "UPDATE licenses SET user = NULL
        WHERE user = ?2 AND (app = ?1 OR (app = '*' AND account = ?3)) RETURNING id";
    let held = connection
        .prepare_cached(sql)?
        .query_map(
            params![user.app.as_str(), user.login, user.account.as_str()],
            |row| read_id(row, 0),
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for license in held.into_iter().map(LicenseId::from_u128) {
        licenses::forget_keys(connection, license)?;
        licenses::touch(connection, license, None, now)?;
    }
    Ok(())
}

fn read(row: &Row<'_>) -> Result<User, BackendError> {
    Ok(User {
        id: UserId::from_u128(read_id(row, 0)?),
        account: read_text(row, 1)?,
        app: read_text(row, 2)?,
        login: row.get(3)?,
        alias: Alias::from_u64(u64::from_be_bytes(row.get(4)?)),
        first_name: row.get(5)?,
        last_name: row.get(6)?,
        created_at: read_time(row, 7)?,
        updated_at: read_time(row, 8)?,
    })
}
