//! The keys of the apps that were asked for.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use model::AppName;

use super::AppKeys;

/// The keys of the apps that were asked for, by app.
#[derive(Default)]
pub(in super::super) struct KnownAppKeys(ArcSwap<HashMap<AppName, Arc<AppKeys>>>);

impl KnownAppKeys {
    pub(super) fn get(&self, app: &AppName) -> Option<Arc<AppKeys>> {
        self.0.load().get(app).cloned()
    }

    pub(super) fn apps(&self) -> Vec<AppName> {
        self.0.load().keys().cloned().collect()
    }

    /// Puts in the keys of an app, unless more of them are known.
    pub(super) fn put(&self, app: &AppName, keys: &Arc<AppKeys>) {
        self.0.rcu(|known| {
            let mut known = HashMap::clone(known);
            let more = known
                .get(app)
                .is_some_and(|old| old.entries() >= keys.entries());
            if !more {
                known.insert(app.clone(), keys.clone());
            }
            known
        });
    }
}
