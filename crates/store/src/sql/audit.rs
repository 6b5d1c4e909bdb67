//! [`AuditStore`] on both engines. Adding lines is a step of its own on each: [`Twins::add_lines`].

use async_trait::async_trait;
use model::AuditEntry;

use super::filter::Filter;
use super::{Backend, Kind, Outcome, Part, Row, Sql, Statement, Twins, count};
use crate::audit::{AuditEntries, AuditFilter, AuditStore, Changed, NumberedEntry};
use crate::error::Error;

/// The largest number of lines of a page.
const PAGE: usize = 1_000;

#[async_trait]
impl<B: Backend> AuditStore for B {
    async fn add_audit(&self, entries: Vec<AuditEntry>) -> Result<(), Error> {
        self.run(Part::Licenses, Kind::Write, entries, |sql, entries| {
            Box::pin(sql.add_lines(entries))
        })
        .await
    }

    async fn audit(
        &self,
        filter: AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<NumberedEntry>, Error> {
        let asked = (filter, after, limit);
        self.run(Part::Licenses, Kind::Report, asked, |sql, asked| {
            Box::pin(page(sql, &asked.0, asked.1, asked.2))
        })
        .await
    }
}

/// Writes the lines of a change for its result, as the last step of its transaction.
pub(crate) async fn add_entries<T, S: Twins>(
    sql: &S,
    entries: &AuditEntries<T>,
    result: &T,
) -> Outcome<(), S> {
    let lines = entries.lines(result);
    if lines.is_empty() {
        return Ok(());
    }
    sql.add_lines(&lines).await
}

/// Writes the lines of a change as [`add_entries`] does, with the states before and after. Returns
/// the state after.
pub(crate) async fn add_changed<T, S: Twins>(
    sql: &S,
    entries: &AuditEntries<Changed<T>>,
    before: Option<T>,
    after: Option<T>,
) -> Outcome<Option<T>, S> {
    let Some(changed) = Changed::of(before, after) else {
        return Ok(None);
    };
    add_entries(sql, entries, &changed).await?;
    Ok(Some(changed.after))
}

async fn page<S: Sql>(
    sql: &S,
    filter: &AuditFilter,
    after: u64,
    limit: usize,
) -> Outcome<Vec<NumberedEntry>, S> {
    let family = filter
        .action
        .as_ref()
        .is_some_and(|name| name.ends_with('.'));
    let action = if family {
        "substr(action, 1, length(?)) = ?"
    } else {
        "action = ?"
    };
    let mut asked = Filter::new();
    asked
        .and("number > ?", count(after))
        .and("account = ?", filter.account.as_ref())
        .and("who = ?", filter.who.as_ref())
        .and(action, filter.action.as_ref())
        .and("subject = ?", filter.subject.as_ref())
        .and("at >= ?", filter.from)
        .and("at < ?", filter.to);
    let text = format!(
        "SELECT number, id, at, account, who, address, action, subject, before, after, count
        FROM audit {} ORDER BY number LIMIT {}",
        asked.clause(),
        limit.clamp(1, PAGE)
    );
    let found = sql.query(&Statement::new(text), asked.values()).await?;
    Ok(found.iter().map(read_entry).collect::<Result<_, _>>()?)
}

fn read_entry(row: &Row) -> Result<NumberedEntry, Error> {
    Ok(NumberedEntry {
        number: row.count(0)?,
        entry: AuditEntry {
            id: row.get(1)?,
            at: row.get(2)?,
            account: row.optional_text(3)?,
            who: row.text(4)?,
            address: row.optional_text(5)?,
            action: row.get(6)?,
            subject: row.get(7)?,
            before: row.json(8)?,
            after: row.json(9)?,
            count: row.get(10)?,
        },
    })
}
