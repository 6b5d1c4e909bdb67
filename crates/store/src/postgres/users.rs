//! [`UserStore`] on PostgreSQL.

use async_trait::async_trait;
use model::{Alias, AppName, LicenseId, Timestamp, User, UserId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::audit::{add_changed, add_entries};
use super::backend_error::{BackendError, unique};
use super::conn::{Conn, PooledConn, Value};
use super::convert::{id, read, read_id, read_text, read_time, rows};
use super::server::TxOptions;
use super::{PostgresStore, licenses};
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::users::{UserChange, UserStore};

/// The columns in the order that [`read_user`] reads.
const USER: &str = "id, account, app, login, alias, first_name, last_name, created_at, updated_at";

#[async_trait]
impl UserStore for PostgresStore {
    async fn create_user(&self, user: User, entries: AuditEntries<()>) -> Result<(), Error> {
        let args = (user, entries);
        let create = self
            .server
            .run_with(TxOptions::TRANSACTION, args, |conn, args| async move {
                let (user, entries) = &*args;
                let sql = format!(
                    "INSERT INTO users ({USER}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
                );
                let values: [Value<'_>; 9] = [
                    &id(user.id.as_u128()),
                    &user.account.as_str(),
                    &user.app.as_str(),
                    &user.login,
                    &(user.alias.as_u64() as i64),
                    &user.first_name,
                    &user.last_name,
                    &user.created_at.micros(),
                    &user.updated_at.micros(),
                ];
                let made = conn.change(&sql, &values).await;
                made.map_err(|error| unique(error, "a user of this app with this login"))?;
                add_entries(&conn, entries, &()).await
            });
        create.await
    }

    async fn user(&self, app: &AppName, login: &str) -> Result<Option<User>, Error> {
        let whom = (app.clone(), login.to_owned());
        let found = self
            .server
            .run_with(TxOptions::READ, whom, |conn, whom| async move {
                find(&conn, &whom.0, &whom.1, "").await
            });
        found.await
    }

    async fn user_by_id(&self, wanted: UserId) -> Result<Option<User>, Error> {
        let find = move |conn: Conn| async move {
            let sql = format!("SELECT {USER} FROM users WHERE id = $1");
            let row = conn.row(&sql, &[&id(wanted.as_u128())]).await?;
            row.as_ref().map(read_user).transpose()
        };
        self.server.run(TxOptions::READ, find).await
    }

    async fn users(
        &self,
        app: &AppName,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<User>, Error> {
        let after = id(after.map_or(0, UserId::as_u128));
        let page = self.server.run_with(
            TxOptions::REPORT,
            app.clone(),
            move |conn, app| async move {
                let sql = format!(
                    "SELECT {USER} FROM users WHERE app = $1 AND id > $2 ORDER BY id LIMIT $3"
                );
                let found = conn
                    .rows(&sql, &[&app.as_str(), &after, &(rows(limit) as i64)])
                    .await?;
                found.iter().map(read_user).collect()
            },
        );
        page.await
    }

    async fn change_user(
        &self,
        app: &AppName,
        login: &str,
        change: UserChange,
        at: Timestamp,
        entries: AuditEntries<Changed<User>>,
    ) -> Result<Option<User>, Error> {
        let args = (app.clone(), login.to_owned(), change, entries);
        let carry_out =
            self.server
                .run_with(TxOptions::TRANSACTION, args, move |conn, args| async move {
                    let (app, login, change, entries) = &*args;
                    let before = find(&conn, app, login, LOCKED).await?;
                    let sql = format!(
                        "UPDATE users SET first_name = CASE WHEN $3 THEN $4 ELSE first_name END,
                last_name = CASE WHEN $5 THEN $6 ELSE last_name END, updated_at = $7
                WHERE app = $1 AND login = $2 RETURNING {USER}"
                    );
                    let values: [Value<'_>; 7] = [
                        &app.as_str(),
                        login,
                        &change.first_name.is_some(),
                        &change.first_name.as_ref().and_then(Option::as_deref),
                        &change.last_name.is_some(),
                        &change.last_name.as_ref().and_then(Option::as_deref),
                        &at.micros(),
                    ];
                    let row = conn.row(&sql, &values).await?;
                    let after = row.as_ref().map(read_user).transpose()?;
                    add_changed(&conn, entries, before, after).await
                });
        carry_out.await
    }

    async fn delete_user(
        &self,
        app: &AppName,
        login: &str,
        entries: AuditEntries<User>,
    ) -> Result<bool, Error> {
        let whom = (app.clone(), login.to_owned(), entries);
        let delete = self
            .server
            .run_with(TxOptions::TRANSACTION, whom, |conn, whom| async move {
                let (app, login, entries) = &*whom;
                let Some(user) = find(&conn, app, login, LOCKED).await? else {
                    return Ok(false);
                };
                delete(&conn, &user).await?;
                add_entries(&conn, entries, &user).await?;
                Ok(true)
            });
        delete.await
    }
}

/// The clause that keeps others from changing a user that was found.
const LOCKED: &str = "FOR UPDATE";

async fn find(
    conn: &PooledConn,
    app: &AppName,
    login: &str,
    lock: &str,
) -> Result<Option<User>, BackendError> {
    let sql = format!("SELECT {USER} FROM users WHERE app = $1 AND login = $2 {lock}");
    let row = conn.row(&sql, &[&app.as_str(), &login]).await?;
    row.as_ref().map(read_user).transpose()
}

async fn delete(conn: &PooledConn, user: &User) -> Result<(), BackendError> {
    let sql = "DELETE FROM users WHERE id = $1";
    conn.change(sql, &[&id(user.id.as_u128())]).await?;
    let sql = "UPDATE licenses SET \"user\" = NULL
        WHERE \"user\" = $2 AND (app = $1 OR (app = '*' AND account = $3)) RETURNING id";
    let values: [Value<'_>; 3] = [&user.app.as_str(), &user.login, &user.account.as_str()];
    let held = conn.rows(sql, &values).await?;
    if held.is_empty() {
        return Ok(());
    }
    let held = held.iter().map(|row| read(row, 0));
    let held = held.collect::<Result<Vec<Uuid>, _>>()?;
    licenses::forget_keys(conn, &held).await?;
    let changed = |id: &Uuid| (LicenseId::from_u128(id.as_u128()), None);
    let changes: Vec<_> = held.iter().map(changed).collect();
    licenses::record_changes(conn, &changes).await?;
    Ok(())
}

fn read_user(row: &Row) -> Result<User, BackendError> {
    Ok(User {
        id: UserId::from_u128(read_id(row, 0)?),
        account: read_text(row, 1)?,
        app: read_text(row, 2)?,
        login: read(row, 3)?,
        alias: Alias::from_u64(read::<i64>(row, 4)? as u64),
        first_name: read(row, 5)?,
        last_name: read(row, 6)?,
        created_at: read_time(row, 7)?,
        updated_at: read_time(row, 8)?,
    })
}
