//! Tables whose rows are numbered in the order of commits over the whole table, so that whoever
//! follows the numbers misses no last change of any row. They are for what is changed seldom.

use std::sync::OnceLock;

use super::{Engine, Outcome, Sql, Statement, values};

/// A table with a unique column `number`. Its rows have owners, of whom each sees a state: that
/// after the greatest number of their rows.
pub(super) struct NumberedTable {
    name: &'static str,
    owner: &'static str,
    statements: OnceLock<(Statement, Statement)>,
}

impl NumberedTable {
    /// Returns the table of this name, with the column that names the owner.
    pub(super) const fn new(name: &'static str, owner: &'static str) -> Self {
        Self {
            name,
            owner,
            statements: OnceLock::new(),
        }
    }

    /// Returns the number for a change by this owner, above all others; `None`: the state that they
    /// saw, with this number (0: no row), is no longer the last. Until the end of the transaction
    /// nobody else gets a number.
    pub(super) async fn next<S: Sql>(
        &self,
        sql: &S,
        owner: &str,
        seen: u64,
    ) -> Outcome<Option<u64>, S> {
        let (lock, last) = self.statements.get_or_init(|| self.statements());
        if S::ENGINE == Engine::Postgres {
            // Whoever is next waits here, so that numbers become visible in their order.
            sql.execute(lock, &[]).await?;
        }
        let row = sql.query_opt(last, &values![owner]).await?;
        let (last, own) = match &row {
            Some(row) => (row.count(0)?, row.count(1)?),
            None => (0, 0),
        };
        Ok((own == seen).then_some(last + 1))
    }

    fn statements(&self) -> (Statement, Statement) {
        let Self { name, owner, .. } = self;
        let lock = format!("LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE");
        let last = format!(
            "SELECT coalesce((SELECT max(number) FROM {name}), 0),
            coalesce((SELECT max(number) FROM {name} WHERE {owner} = $1), 0)"
        );
        (Statement::new(lock), Statement::new(last))
    }
}
