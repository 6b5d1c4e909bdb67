//! The task that reports which upstreams this gate finds down, and which answer again.
//!
//! Calls leave what they find in the pools; once a second what is found there is compared with what
//! the store knows of this gate, and only a difference is written. So a store that is away is told
//! when it is back, and no call waits for it. What an earlier start of this gate found goes on until
//! a call connects.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use model::{AccountName, AppName, Clock, Timestamp};
use proxy::{Backends, Pool};
use store::{DownUpstream, Error, Store, UpstreamStore};
use tokio::time::MissedTickBehavior;

/// The time between two comparisons.
const EVERY: Duration = Duration::from_secs(1);
/// The comparisons between two looks for nodes that are gone. One that is gone at two looks in a row
/// finds nothing down any more.
const LOOK_EVERY: u32 = 5;

/// An app with its upstreams.
struct Upstreams {
    account: AccountName,
    app: AppName,
    pool: Arc<Pool>,
}

/// What this gate has reported of its upstreams.
pub(super) struct Reporter {
    store: Arc<dyn Store>,
    node: String,
    clock: Arc<dyn Clock>,
    apps: Vec<Upstreams>,
    /// The upstreams that the store knows this gate to find down; `None`: it was not asked yet.
    reported: Option<HashSet<(AppName, String)>>,
    /// The nodes that were gone at the last look.
    gone: HashSet<String>,
}

impl Reporter {
    /// Returns the reporter of a node about the upstreams of a configuration.
    pub(super) fn new(
        config: &Config,
        backends: &Backends,
        (store, node): (Arc<dyn Store>, &str),
        clock: Arc<dyn Clock>,
    ) -> Self {
        let apps = config.apps.iter().zip(backends.pools());
        let apps = apps.map(|(sold, (app, pool))| Upstreams {
            account: sold.account.clone(),
            app: app.clone(),
            pool: pool.clone(),
        });
        Self {
            store,
            node: node.to_owned(),
            clock,
            apps: apps.collect(),
            reported: None,
            gone: HashSet::new(),
        }
    }

    /// Reports until it is dropped.
    pub(super) async fn run(mut self) {
        let mut seconds = tokio::time::interval(EVERY);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for turn in 0_u32.. {
            seconds.tick().await;
            let mut done = self.report().await;
            if turn.is_multiple_of(LOOK_EVERY) {
                done = done.and(self.forget_the_gone().await);
            }
            if let Err(error) = done {
                tracing::debug!(%error, "what is found of upstreams waits for the store");
            }
        }
    }

    async fn report(&mut self) -> Result<(), Error> {
        let store = self.store.clone();
        let store = store.webhooks()?;
        if self.reported.is_none() {
            self.reported = Some(self.take_over(store).await?);
        }
        for app in &self.apps {
            for (upstream, since) in app.pool.answering() {
                let key = (app.app.clone(), upstream.to_owned());
                let reported = self.reported.get_or_insert_default();
                if since.is_some() == reported.contains(&key) {
                    continue;
                }
                let now = self.clock.now();
                let found = app.found(&self.node, upstream, since.unwrap_or(now));
                match since {
                    Some(_) => {
                        store.upstream_is_down(found, now).await?;
                        reported.insert(key);
                    }
                    None => {
                        store.upstream_is_up(found, now).await?;
                        reported.remove(&key);
                    }
                }
            }
        }
        Ok(())
    }

    /// Goes on with what an earlier start of this gate found, as far as the upstreams are there.
    async fn take_over(
        &self,
        store: &dyn UpstreamStore,
    ) -> Result<HashSet<(AppName, String)>, Error> {
        let mut reported = HashSet::new();
        for found in store.down_upstreams().await? {
            if found.node != self.node {
                continue;
            }
            let mut apps = self.apps.iter().filter(|app| app.app == found.app);
            if apps.any(|app| app.pool.was_down(&found.upstream, found.since)) {
                reported.insert((found.app, found.upstream));
            } else {
                store.upstream_is_up(found, self.clock.now()).await?;
            }
        }
        Ok(reported)
    }

    /// Forgets what nodes found that are gone, so that the rest of the fleet has the say.
    async fn forget_the_gone(&mut self) -> Result<(), Error> {
        let store = self.store.webhooks()?;
        let mut of_others: HashMap<String, Vec<DownUpstream>> = HashMap::new();
        for found in store.down_upstreams().await? {
            if found.node != self.node {
                of_others.entry(found.node.clone()).or_default().push(found);
            }
        }
        if of_others.is_empty() {
            self.gone.clear();
            return Ok(());
        }
        let nodes = of_others.keys().cloned().collect();
        for claimed in self.store.claimed_nodes(nodes).await? {
            of_others.remove(&claimed);
        }
        let gone_before = std::mem::take(&mut self.gone);
        for (node, found) in of_others {
            if gone_before.contains(&node) {
                for found in found {
                    store.upstream_is_up(found, self.clock.now()).await?;
                }
            }
            self.gone.insert(node);
        }
        Ok(())
    }
}

impl Upstreams {
    fn found(&self, node: &str, upstream: &str, since: Timestamp) -> DownUpstream {
        DownUpstream {
            node: node.to_owned(),
            account: self.account.clone(),
            app: self.app.clone(),
            upstream: upstream.to_owned(),
            since,
        }
    }
}
