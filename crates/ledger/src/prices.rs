//! The prices of calls, by the plan revisions that they name.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use billing::price_of_call;
use model::{Plan, Symbol};
use store::Store;
use tokio::runtime::Handle;

use crate::closed::ClosedCall;
use crate::error::Error;
use crate::names::Names;
use crate::row::Row;

/// A store that threads of the ledger ask and wait for.
#[derive(Clone)]
pub(crate) struct BlockingStore {
    store: Arc<dyn Store>,
    runtime: Handle,
}

impl BlockingStore {
    pub(crate) fn new(store: Arc<dyn Store>, runtime: Handle) -> Self {
        Self { store, runtime }
    }

    /// Returns the store itself, for code that may wait for it.
    pub(crate) fn all(&self) -> &dyn Store {
        &*self.store
    }

    /// Asks the store and waits for its answer. It must not be called from a thread of the runtime
    /// itself.
    pub(crate) fn ask<T, F>(&self, question: impl FnOnce(Arc<dyn Store>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, store::Error>>,
    {
        fail::fail_point!("ledger::store::ask");
        let answer = self.runtime.block_on(question(Arc::clone(&self.store)));
        answer.map_err(Error::from)
    }
}

impl std::fmt::Debug for BlockingStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blocking")
    }
}

/// A cache of plans by their number in [`Names`]. A revision is a content hash, so a plan that was
/// read once never changes.
#[derive(Debug)]
pub(crate) struct Prices {
    store: BlockingStore,
    names: Arc<Names>,
    plans: RwLock<HashMap<u32, Arc<Plan>>>,
}

impl Prices {
    pub(crate) fn new(store: BlockingStore, names: Arc<Names>) -> Self {
        Self {
            store,
            names,
            plans: RwLock::default(),
        }
    }

    fn plan(&self, number: u32) -> Result<Arc<Plan>, Error> {
        let known = {
            let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
            plans.get(&number).cloned()
        };
        if let Some(plan) = known {
            return Ok(plan);
        }
        let Some(Symbol::Plan { revision, .. }) = self.names.get(number) else {
            // A record that names another kind of symbol as its plan has no price.
            return Err(Error::PlanUnknown(model::PlanRevisionId::default()));
        };
        let found = self
            .store
            .ask(|store| async move { store.plan_revision(revision).await })?;
        let plan = Arc::new(found.ok_or(Error::PlanUnknown(revision))?.plan);
        let mut plans = self.plans.write().unwrap_or_else(PoisonError::into_inner);
        plans.insert(number, Arc::clone(&plan));
        Ok(plan)
    }
}

/// A pricer of calls, one after the other, which remembers the plans that it met.
#[derive(Debug)]
pub(crate) struct Pricer {
    prices: Arc<Prices>,
    known: Vec<Option<Arc<Plan>>>,
}

impl Pricer {
    pub(crate) const fn new(prices: Arc<Prices>) -> Self {
        Self {
            prices,
            known: Vec::new(),
        }
    }

    /// Returns the call with its price.
    ///
    /// # Errors
    /// Returns an error when the store does not answer or lacks the plan revision.
    pub(crate) fn price(&mut self, call: ClosedCall) -> Result<Row, Error> {
        let ClosedCall { number, record } = call;
        let mut row = Row {
            number,
            record,
            amount: model::Money::ZERO,
            currency: None,
            source: 0,
        };
        if record.head.plan != Symbol::NONE {
            let plan = self.plan(record.head.plan)?;
            row.amount = price_of_call(plan, record.tail.billable, record.tail.units);
            row.currency = Some(plan.currency);
            if row.amount == model::Money::MAX {
                let call = record.head.call_id;
                tracing::error!(%call, "the price of a call is beyond what an amount can say, and is written down as the greatest");
            }
        }
        Ok(row)
    }

    fn plan(&mut self, number: u32) -> Result<&Plan, Error> {
        let index = number as usize;
        if index >= self.known.len() {
            self.known.resize(index + 1, None);
        }
        if self.known[index].is_none() {
            self.known[index] = Some(self.prices.plan(number)?);
        }
        Ok(self.known[index].as_ref().expect("it was just put there"))
    }
}
