//! [`AgentStore`] on both engines.

use std::sync::Arc;

use async_trait::async_trait;
use model::AccountName;
use model::agent::AgentRule;

use super::audit::add_entries;
use super::numbered::NumberedTable;
use super::{Backend, Kind, Outcome, Part, Row, Sql, json, rows, sql, values};
use crate::agents::{AgentStore, StoredAgentRule};
use crate::audit::AuditEntries;
use crate::error::Error;

/// The columns in the order that [`read`] reads.
const RULE: &str = "account, place, number, rule";

static TABLE: NumberedTable = NumberedTable::new("agent_rules", "account");

#[async_trait]
impl<B: Backend> AgentStore for B {
    async fn agent_rules_after(
        &self,
        number: u64,
        limit: usize,
    ) -> Result<Vec<StoredAgentRule>, Error> {
        let asked = (i64::try_from(number).unwrap_or(i64::MAX), limit);
        self.run(Part::Licenses, Kind::List, asked, |sql, (number, limit)| {
            Box::pin(async move {
                let statement = sql!(
                    "SELECT {RULE} FROM agent_rules WHERE number > $1 ORDER BY number LIMIT $2"
                );
                let values = values![*number, rows(*limit)];
                let found = sql.query(statement, &values).await?;
                Ok(found.iter().map(read).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn put_agent_rule(
        &self,
        account: &AccountName,
        in_place_of: u64,
        place: u32,
        rule: Option<Arc<AgentRule>>,
        entries: AuditEntries<()>,
    ) -> Result<Option<u64>, Error> {
        let asked = (account.clone(), in_place_of, place, rule, entries);
        self.run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
            Box::pin(async move {
                let (account, in_place_of, place, rule, entries) = asked;
                let number = put(sql, account, *in_place_of, *place, rule.as_deref()).await?;
                if number.is_some() {
                    add_entries(sql, entries, &()).await?;
                }
                Ok(number)
            })
        })
        .await
    }
}

async fn put<S: Sql>(
    sql: &S,
    account: &AccountName,
    in_place_of: u64,
    place: u32,
    rule: Option<&AgentRule>,
) -> Outcome<Option<u64>, S> {
    let Some(number) = TABLE.next(sql, account.as_str(), in_place_of).await? else {
        return Ok(None);
    };
    let statement = sql!(
        "INSERT INTO agent_rules ({RULE}) VALUES ($1, $2, $3, $4)
        ON CONFLICT (account, place) DO UPDATE SET number = excluded.number, rule = excluded.rule"
    );
    let values = values![account, place, number as i64, rule.map(json)];
    sql.execute(statement, &values).await?;
    Ok(Some(number))
}

fn read(row: &Row) -> Result<StoredAgentRule, Error> {
    let place = row.count(1)?;
    Ok(StoredAgentRule {
        account: row.text(0)?,
        place: u32::try_from(place).map_err(|_| row.unreadable(1))?,
        number: row.count(2)?,
        rule: row.json::<AgentRule>(3)?.map(Arc::new),
    })
}
