//! The policies on agents of all accounts, in memory, so that no call asks the store for one.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use arc_swap::{ArcSwap, Guard};
use model::AccountName;
use model::agent::{AgentPolicy, AgentRule};
use store::{Store, StoredAgentRule};

use crate::error::Error;
use crate::numbered::NumberedRows;

/// The policies on agents of all accounts, as this gate knows them at a moment.
#[derive(Clone, Debug, Default)]
pub struct AgentPolicies {
    rows: NumberedRows<StoredAgentRule>,
    of_account: HashMap<AccountName, Arc<AccountRules>>,
    /// Whether the store was read.
    is_read: bool,
}

/// The rules of an account.
#[derive(Debug, Default)]
pub(super) struct AccountRules {
    /// The number of the last change; 0: there was none.
    pub(super) number: u64,
    /// The rules with their places in the store, those that decide before others first.
    pub(super) rules: Vec<(u32, Arc<AgentRule>)>,
    policy: Arc<AgentPolicy>,
}

/// The policies as they are now.
pub(crate) struct CurrentPolicies {
    store: Arc<dyn Store>,
    now: ArcSwap<AgentPolicies>,
    /// Held while the store is read, so that a slower reader never puts back older rules.
    reading: tokio::sync::Mutex<()>,
    /// Held while this gate changes a rule, so that its own changes do not get in each other's way.
    pub(super) writing: tokio::sync::Mutex<()>,
}

static NO_RULES: LazyLock<AccountRules> = LazyLock::new(AccountRules::default);

impl AgentPolicies {
    /// Returns the policy of an account. Costs a look-up.
    #[must_use]
    pub fn of(&self, account: &AccountName) -> &AgentPolicy {
        &self.rules_of(account).policy
    }

    /// Returns the same, to be kept. Costs a look-up.
    #[must_use]
    pub fn shared(&self, account: &AccountName) -> Arc<AgentPolicy> {
        self.rules_of(account).policy.clone()
    }

    /// Returns the rules of an account, those that decide before others first.
    pub fn rules(&self, account: &AccountName) -> impl Iterator<Item = &Arc<AgentRule>> {
        self.rules_of(account).rules.iter().map(|(_, rule)| rule)
    }

    /// Returns the accounts that have rules, in order.
    #[must_use]
    pub fn accounts(&self) -> Vec<&AccountName> {
        let with_rules = self.of_account.iter();
        let with_rules = with_rules.filter(|(_, own)| !own.rules.is_empty());
        let mut accounts: Vec<_> = with_rules.map(|(account, _)| account).collect();
        accounts.sort_unstable();
        accounts
    }

    /// Returns whether the store was read. Before that no account has a rule here, whatever the
    /// store has.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        self.is_read
    }

    pub(super) fn rules_of(&self, account: &AccountName) -> &AccountRules {
        self.of_account.get(account).map_or(&NO_RULES, Arc::as_ref)
    }

    /// Makes the policies of these accounts anew. Costs a pass over all rows.
    fn renew(&mut self, accounts: &HashSet<AccountName>) {
        let mut of_account: HashMap<&AccountName, Vec<&StoredAgentRule>> = HashMap::new();
        for row in self.rows.all() {
            if accounts.contains(&row.account) {
                of_account.entry(&row.account).or_default().push(row);
            }
        }
        for (account, rows) in of_account {
            let rules = Arc::new(AccountRules::new(&rows));
            self.of_account.insert(account.clone(), rules);
        }
    }
}

impl AccountRules {
    fn new(rows: &[&StoredAgentRule]) -> Self {
        let rule = |row: &&StoredAgentRule| Some((row.place, row.rule.clone()?));
        let mut rules: Vec<_> = rows.iter().filter_map(rule).collect();
        rules.sort_by_cached_key(|(_, rule)| Reverse(rule.precedence()));
        // A store that another version wrote to may hold more.
        rules.truncate(AgentPolicy::MAX_RULES);
        let policy = AgentPolicy::new(rules.iter().map(|(_, rule)| rule.clone()));
        Self {
            number: rows.iter().map(|row| row.number).max().unwrap_or(0),
            policy: Arc::new(policy.expect("there are no more rules than a policy holds")),
            rules,
        }
    }

    /// Returns the first place without a rule.
    pub(super) fn free_place(&self) -> u32 {
        let taken: BTreeSet<u32> = self.rules.iter().map(|(place, _)| *place).collect();
        let mut places = 0..;
        places
            .find(|place| !taken.contains(place))
            .expect("there are more places than rules")
    }
}

impl CurrentPolicies {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            now: ArcSwap::default(),
            reading: tokio::sync::Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the policies as they are known now, whether the store was read or not.
    pub(crate) fn load(&self) -> Guard<Arc<AgentPolicies>> {
        self.now.load()
    }

    /// Returns the policies; reads the store if that was not done yet.
    ///
    /// # Errors
    /// The store has to be read, and fails.
    pub(crate) async fn known(&self) -> Result<Arc<AgentPolicies>, Error> {
        if !self.now.load().is_read {
            self.read().await?;
        }
        Ok(self.now.load_full())
    }

    /// Reads the rules that are new since the last time.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn read(&self) -> Result<(), Error> {
        let _alone = self.reading.lock().await;
        let mut policies = AgentPolicies::clone(&self.now.load());
        let changed = policies.rows.read(&*self.store).await?;
        if !changed.is_empty() || !policies.is_read {
            policies.is_read = true;
            policies.renew(&changed.into_iter().map(|(account, _)| account).collect());
            self.now.store(Arc::new(policies));
        }
        Ok(())
    }

    /// Takes in a rule that this gate wrote.
    pub(super) async fn learn(&self, row: StoredAgentRule) {
        let _alone = self.reading.lock().await;
        let mut policies = AgentPolicies::clone(&self.now.load());
        let account = row.account.clone();
        if policies.rows.learn(row) {
            policies.renew(&HashSet::from([account]));
            self.now.store(Arc::new(policies));
        }
    }
}
