//! [`UpstreamStore`] on both engines.

use async_trait::async_trait;
use model::{AppName, Event, EventId, EventType, Timestamp};
use serde_json::json;

use super::webhooks::outbox::{with_webhook, write_of_ledger};
use super::{Backend, Engine, Kind, Outcome, Part, Row, Sql, rows, sql, values};
use crate::error::Error;
use crate::upstreams::{DownUpstream, UpstreamStore};

/// The largest number of findings that are read.
const MOST: usize = 10_000;

#[async_trait]
impl<B: Backend> UpstreamStore for B {
    async fn upstream_is_down(&self, found: DownUpstream, now: Timestamp) -> Result<(), Error> {
        let is_told = is_told(self, &found).await?;
        let asked = (found, now, is_told);
        self.run(Part::Ledger, Kind::Transaction, asked, |sql, asked| {
            Box::pin(keep(sql, &asked.0, asked.1, asked.2))
        })
        .await
    }

    async fn upstream_is_up(&self, found: DownUpstream, now: Timestamp) -> Result<(), Error> {
        let is_told = is_told(self, &found).await?;
        let asked = (found, now, is_told);
        self.run(Part::Ledger, Kind::Transaction, asked, |sql, asked| {
            Box::pin(forget(sql, &asked.0, asked.1, asked.2))
        })
        .await
    }

    async fn down_upstreams(&self) -> Result<Vec<DownUpstream>, Error> {
        self.run(Part::Ledger, Kind::Read, (), |sql, ()| {
            Box::pin(async move {
                let statement = sql!(
                    "SELECT node, account, app, upstream, since FROM upstreams_down
                    ORDER BY app, upstream, node LIMIT $1"
                );
                let found = sql.query(statement, &values![rows(MOST)]).await?;
                Ok(found.iter().map(read).collect::<Result<_, _>>()?)
            })
        })
        .await
    }
}

/// Returns whether the account has a webhook, whose row may be in another file than the findings.
async fn is_told<B: Backend>(store: &B, found: &DownUpstream) -> Result<bool, Error> {
    let account = found.account.clone();
    store
        .run(Part::Licenses, Kind::Read, account, |sql, account| {
            Box::pin(async move {
                let told = with_webhook(sql, std::iter::once(account)).await?;
                Ok(!told.is_empty())
            })
        })
        .await
}

async fn keep<S: Sql>(
    sql: &S,
    found: &DownUpstream,
    now: Timestamp,
    is_told: bool,
) -> Outcome<(), S> {
    lock(sql).await?;
    let others = count(sql, found).await?;
    let statement = sql!(
        "INSERT INTO upstreams_down (node, account, app, upstream, since) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (app, upstream, node) DO NOTHING"
    );
    let values = values![
        &found.node,
        &found.account,
        &found.app,
        &found.upstream,
        found.since
    ];
    let is_first = sql.execute(statement, &values).await? == 1 && others == 0;
    if is_first && is_told {
        let event = event(found, EventType::UpstreamDown, found.since, now);
        write_of_ledger(sql, &[event]).await?;
    }
    Ok(())
}

async fn forget<S: Sql>(
    sql: &S,
    found: &DownUpstream,
    now: Timestamp,
    is_told: bool,
) -> Outcome<(), S> {
    lock(sql).await?;
    let statement =
        sql!("DELETE FROM upstreams_down WHERE app = $1 AND upstream = $2 AND node = $3");
    let values = values![&found.app, &found.upstream, &found.node];
    let is_gone = sql.execute(statement, &values).await? == 1;
    if is_gone && is_told && count(sql, found).await? == 0 {
        let event = event(found, EventType::UpstreamUp, now, now);
        write_of_ledger(sql, &[event]).await?;
    }
    Ok(())
}

/// Has findings wait for each other, so that one of them is the first and one the last. They are
/// rare.
async fn lock<S: Sql>(sql: &S) -> Outcome<(), S> {
    if S::ENGINE == Engine::Postgres {
        let statement = sql!("LOCK TABLE upstreams_down IN SHARE ROW EXCLUSIVE MODE");
        sql.execute(statement, &[]).await?;
    }
    Ok(())
}

/// Returns how many nodes find an upstream down.
async fn count<S: Sql>(sql: &S, found: &DownUpstream) -> Outcome<u64, S> {
    let statement = sql!("SELECT count(*) FROM upstreams_down WHERE app = $1 AND upstream = $2");
    let values = values![&found.app, &found.upstream];
    let row = sql.query_opt(statement, &values).await?;
    Ok(row.map_or(Ok(0), |row| row.count(0))?)
}

fn event(found: &DownUpstream, kind: EventType, since: Timestamp, now: Timestamp) -> Event {
    let facts = json!({"app": found.app, "upstream": found.upstream, "since": since});
    Event {
        id: EventId::generate(),
        kind,
        at: now,
        account: found.account.clone(),
        app: found.app.clone(),
        license_id: None,
        data: facts.as_object().cloned().unwrap_or_default(),
    }
}

fn read(row: &Row) -> Result<DownUpstream, Error> {
    Ok(DownUpstream {
        node: row.get(0)?,
        account: row.text(1)?,
        app: row.text::<AppName>(2)?,
        upstream: row.get(3)?,
        since: row.get(4)?,
    })
}
