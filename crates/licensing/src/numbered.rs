//! Rows of the store that are numbered in the order of their commits, as far as this gate has read
//! them. The gate that changed one has it at once, others with their next reading.

use std::collections::HashMap;
use std::hash::Hash;

use store::{AgentStore, SoftwareStore, Store, StoredAgentRule, StoredAppSettings};

use model::{AccountName, AppName};

/// A row with a number that its table gave it.
pub(crate) trait NumberedRow: Sized + Send {
    /// What the row is of; a row replaces the one of the same key.
    type Key: Clone + Eq + Hash + Send;
    /// The number of rows that are read at once.
    const PAGE: usize;

    /// Returns what the row is of.
    fn key(&self) -> Self::Key;

    /// Returns its number.
    fn number(&self) -> u64;

    /// Reads up to `limit` rows with numbers above `number`, in their order. A store that keeps
    /// none has none.
    fn read(
        store: &dyn Store,
        number: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Self>, store::Error>> + Send;
}

/// The rows that were read, the last of each key.
#[derive(Clone, Debug)]
pub(crate) struct NumberedRows<R: NumberedRow> {
    /// The number up to which all rows were read.
    reached: u64,
    rows: HashMap<R::Key, R>,
}

impl<R: NumberedRow> NumberedRows<R> {
    /// Reads the rows that are new since the last time. Returns their keys, in the order of their
    /// numbers.
    ///
    /// # Errors
    /// The store fails. What was read until then is kept.
    pub(crate) async fn read(&mut self, store: &dyn Store) -> Result<Vec<R::Key>, store::Error> {
        let mut changed = Vec::new();
        loop {
            let page = R::read(store, self.reached, R::PAGE).await?;
            let is_last = page.len() < R::PAGE;
            for row in page {
                self.reached = self.reached.max(row.number());
                changed.push(row.key());
                self.rows.insert(row.key(), row);
            }
            if is_last {
                return Ok(changed);
            }
        }
    }

    /// Takes in a row that this gate wrote. Returns whether it is newer than what is known. The
    /// number up to which rows were read stays: those of other gates may lie before it.
    pub(crate) fn learn(&mut self, row: R) -> bool {
        let known = self.rows.get(&row.key());
        let is_newer = known.is_none_or(|known| known.number() < row.number());
        if is_newer {
            self.rows.insert(row.key(), row);
        }
        is_newer
    }

    /// Returns the row of a key.
    pub(crate) fn get(&self, key: &R::Key) -> Option<&R> {
        self.rows.get(key)
    }

    /// Returns all rows, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &R> {
        self.rows.values()
    }
}

impl<R: NumberedRow> Default for NumberedRows<R> {
    fn default() -> Self {
        Self {
            reached: 0,
            rows: HashMap::new(),
        }
    }
}

impl NumberedRow for StoredAppSettings {
    type Key = AppName;
    const PAGE: usize = 100;

    fn key(&self) -> AppName {
        self.app.clone()
    }

    fn number(&self) -> u64 {
        self.number
    }

    async fn read(store: &dyn Store, number: u64, limit: usize) -> Result<Vec<Self>, store::Error> {
        match store.software() {
            Ok(software) => SoftwareStore::app_settings_after(software, number, limit).await,
            Err(_) => Ok(Vec::new()),
        }
    }
}

impl NumberedRow for StoredAgentRule {
    type Key = (AccountName, u32);
    const PAGE: usize = 200;

    fn key(&self) -> (AccountName, u32) {
        (self.account.clone(), self.place)
    }

    fn number(&self) -> u64 {
        self.number
    }

    async fn read(store: &dyn Store, number: u64, limit: usize) -> Result<Vec<Self>, store::Error> {
        match store.agents() {
            Ok(agents) => AgentStore::agent_rules_after(agents, number, limit).await,
            Err(_) => Ok(Vec::new()),
        }
    }
}
