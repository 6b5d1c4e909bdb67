//! [`UserStore`] on both engines.

use async_trait::async_trait;
use model::{AppName, LicenseId, Timestamp, User, UserId};

use super::audit::{add_changed, add_entries};
use super::license_changes::forget_keys;
use super::license_events::{AT_ONCE, is_told, tell_changes};
use super::license_rows::get_all;
use super::{Backend, Kind, Outcome, Part, Row, Sql, Twins, rows, sql, values};
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::licenses::ChangeNumber;
use crate::users::{UserChange, UserStore};

/// The columns in the order that [`read`] reads.
const USER: &str = "id, account, app, login, alias, first_name, last_name, created_at, updated_at";

#[async_trait]
impl<B: Backend> UserStore for B {
    async fn create_user(&self, user: User, entries: AuditEntries<()>) -> Result<(), Error> {
        let new = (user, entries);
        self.run(
            Part::Licenses,
            Kind::Transaction,
            new,
            |sql, (user, entries)| {
                Box::pin(async move {
                    create(sql, user).await?;
                    add_entries(sql, entries, &()).await
                })
            },
        )
        .await
    }

    async fn user(&self, app: &AppName, login: &str) -> Result<Option<User>, Error> {
        let whom = (app.clone(), login.to_owned());
        self.run(Part::Licenses, Kind::Read, whom, |sql, (app, login)| {
            Box::pin(find(sql, app, login))
        })
        .await
    }

    async fn user_by_id(&self, wanted: UserId) -> Result<Option<User>, Error> {
        self.run(Part::Licenses, Kind::Read, wanted, |sql, wanted| {
            Box::pin(async move {
                let statement = sql!("SELECT {USER} FROM users WHERE id = $1");
                let row = sql.query_opt(statement, &values![*wanted]).await?;
                Ok(row.as_ref().map(read).transpose()?)
            })
        })
        .await
    }

    async fn users(
        &self,
        app: &AppName,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<User>, Error> {
        let asked = (app.clone(), after.unwrap_or_default(), limit);
        self.run(Part::Licenses, Kind::Report, asked, |sql, asked| {
            Box::pin(async move {
                let (app, after, limit) = asked;
                let statement = sql!(
                    "SELECT {USER} FROM users WHERE app = $1 AND id > $2 ORDER BY id LIMIT $3"
                );
                let values = values![app, *after, rows(*limit)];
                let found = sql.query(statement, &values).await?;
                Ok(found.iter().map(read).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn change_user(
        &self,
        app: &AppName,
        login: &str,
        change: UserChange,
        at: Timestamp,
        entries: AuditEntries<Changed<User>>,
    ) -> Result<Option<User>, Error> {
        let asked = (app.clone(), login.to_owned(), change, at, entries);
        self.run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
            Box::pin(async move {
                let (app, login, requested, at, entries) = asked;
                let before = locked(sql, app, login).await?;
                let after = change_one(sql, app, login, requested, *at).await?;
                add_changed(sql, entries, before, after).await
            })
        })
        .await
    }

    async fn delete_user(
        &self,
        app: &AppName,
        login: &str,
        entries: AuditEntries<User>,
    ) -> Result<bool, Error> {
        let whom = (app.clone(), login.to_owned(), entries);
        let freed = self
            .run(Part::Licenses, Kind::Transaction, whom, |sql, whom| {
                Box::pin(async move {
                    let (app, login, entries) = whom;
                    let Some(user) = locked(sql, app, login).await? else {
                        return Ok(None);
                    };
                    let freed = delete(sql, &user).await?;
                    add_entries(sql, entries, &user).await?;
                    Ok(Some(freed))
                })
            })
            .await?;
        if let Some((last, count)) = freed {
            self.after_changes(last, count).await;
        }
        Ok(freed.is_some())
    }
}

async fn create<S: Sql>(sql: &S, user: &User) -> Outcome<(), S> {
    let statement = sql!("INSERT INTO users ({USER}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    let values = values![
        user.id,
        &user.account,
        &user.app,
        &user.login,
        user.alias,
        user.first_name.as_ref(),
        user.last_name.as_ref(),
        user.created_at,
        user.updated_at,
    ];
    sql.insert(statement, &values, "a user of this app with this login")
        .await
}

async fn find<S: Sql>(sql: &S, app: &AppName, login: &str) -> Outcome<Option<User>, S> {
    let statement = sql!("SELECT {USER} FROM users WHERE app = $1 AND login = $2");
    let row = sql.query_opt(statement, &values![app, login]).await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// Returns a user that nobody else may change until the transaction is over.
async fn locked<S: Sql>(sql: &S, app: &AppName, login: &str) -> Outcome<Option<User>, S> {
    let statement = sql!("SELECT {USER} FROM users WHERE app = $1 AND login = $2 FOR UPDATE");
    let row = sql.query_opt(statement, &values![app, login]).await?;
    Ok(row.as_ref().map(read).transpose()?)
}

async fn change_one<S: Sql>(
    sql: &S,
    app: &AppName,
    login: &str,
    requested: &UserChange,
    at: Timestamp,
) -> Outcome<Option<User>, S> {
    let statement = sql!(
        "UPDATE users SET first_name = CASE WHEN $3 THEN $4 ELSE first_name END,
        last_name = CASE WHEN $5 THEN $6 ELSE last_name END, updated_at = $7
        WHERE app = $1 AND login = $2 RETURNING {USER}"
    );
    let values = values![
        app,
        login,
        requested.first_name.is_some(),
        requested.first_name.as_ref().and_then(Option::as_ref),
        requested.last_name.is_some(),
        requested.last_name.as_ref().and_then(Option::as_ref),
        at,
    ];
    let row = sql.query_opt(statement, &values).await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// Removes a user, and their name from the licenses that they held. Returns the number of the last
/// change of a license, and of how many there were.
async fn delete<S: Twins>(sql: &S, user: &User) -> Outcome<(ChangeNumber, u64), S> {
    sql.execute(sql!("DELETE FROM users WHERE id = $1"), &values![user.id])
        .await?;
    let statement = sql!(
        "UPDATE licenses SET \"user\" = NULL
        WHERE \"user\" = $2 AND (app = $1 OR (app = '*' AND account = $3)) RETURNING id"
    );
    let values = values![&user.app, &user.login, &user.account];
    let held = sql.query(statement, &values).await?;
    if held.is_empty() {
        return Ok((ChangeNumber(0), 0));
    }
    let held = held.iter().map(|row| row.get(0));
    let held = held.collect::<Result<Vec<LicenseId>, _>>()?;
    forget_keys(sql, &held).await?;
    tell_freed(sql, user, &held).await?;
    let changes: Vec<_> = held.into_iter().map(|license| (license, None)).collect();
    let last = sql.record_changes(&changes).await?;
    Ok((last, changes.len() as u64))
}

/// Writes down that licenses lost the name of their user.
async fn tell_freed<S: Sql>(sql: &S, user: &User, held: &[LicenseId]) -> Outcome<(), S> {
    if !is_told(sql, &user.account).await? {
        return Ok(());
    }
    for some in held.chunks(AT_ONCE) {
        let changed = get_all(sql, some).await?.into_iter().map(|after| {
            let mut before = after.clone();
            before.license.spec.user = Some(user.login.clone());
            Changed { before, after }
        });
        tell_changes(sql, changed).await?;
    }
    Ok(())
}

fn read(row: &Row) -> Result<User, Error> {
    Ok(User {
        id: row.get(0)?,
        account: row.text(1)?,
        app: row.text(2)?,
        login: row.get(3)?,
        alias: row.get(4)?,
        first_name: row.get(5)?,
        last_name: row.get(6)?,
        created_at: row.get(7)?,
        updated_at: row.get(8)?,
    })
}
