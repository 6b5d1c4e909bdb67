//! The usual actors of a test: a scripted upstream and a gate in front of it.

use crate::audit::Audit;
use crate::config::Config;
use crate::eventually::{test_timeout, wait_for};
use crate::gateway::Gateway;
use crate::load::ObservedCall;
use crate::upstream::Upstream;

/// An upstream and the gate in front of it. The gate ends first.
#[derive(Debug)]
pub struct Site {
    /// The gate.
    pub gateway: Gateway,
    /// The upstream behind it.
    pub upstream: Upstream,
}

impl Site {
    /// Starts both, with one app, `api`, and every key at its default.
    ///
    /// # Panics
    /// When the gate does not become ready.
    #[must_use]
    pub fn start(binary: &str) -> Self {
        Self::with(binary, Config::new)
    }

    /// Starts both, with a configuration made from the upstream's address.
    ///
    /// # Panics
    /// When the gate does not become ready.
    #[must_use]
    pub fn with(binary: &str, config: impl FnOnce(&str) -> Config) -> Self {
        Self::before(binary, Upstream::start(), config)
    }

    /// Starts a gate as [`with`](Self::with) does, in front of an upstream that runs already.
    ///
    /// # Panics
    /// When the gate does not become ready.
    #[must_use]
    pub fn before(binary: &str, upstream: Upstream, config: impl FnOnce(&str) -> Config) -> Self {
        let config = config(&upstream.url());
        Self {
            gateway: Gateway::start(binary, config),
            upstream,
        }
    }

    /// Compares the upstream's list and what callers saw with the ledger, once every call is
    /// closed.
    ///
    /// # Panics
    /// When a rule of the audit is still broken after the timeout: a record may come a moment after
    /// its answer.
    pub fn assert_clean(&self, seen: &[ObservedCall], granted: &[(&str, u64)]) {
        let served = self.upstream.served();
        let check = || {
            let verify = self.gateway.verify();
            let calls = self.gateway.calls(&[]);
            let audit = Audit {
                seen,
                served: &served,
                calls: &calls,
                verify: Some(&verify),
                granted,
            };
            audit.findings()
        };
        let mut last = check();
        let clean = wait_for(test_timeout(), || {
            if !last.is_clean() {
                last = check();
            }
            last.is_clean().then_some(())
        });
        assert!(clean.is_some(), "{last}");
    }
}
