//! What the proxy knows of an app beyond the gate: where it stands, and how its requests are written.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::upstream::{Pool, PoolOptions};

/// How calls of one app are forwarded.
#[derive(Clone, Debug)]
pub struct BackendRules {
    /// The app.
    pub app: model::AppName,
    /// Where to.
    pub pool: PoolOptions,
    /// Headers with secrets of the provider that every request gets.
    pub inject: Vec<(HeaderName, HeaderValue)>,
    /// Whether the upstream learns the license (`Tallygate-License-Id`).
    pub forward_license_id: bool,
    /// Whether the upstream learns the user (`Tallygate-User-Id`).
    pub forward_user_id: bool,
    /// Whether headers that override the method pass.
    pub allow_method_override: bool,
    /// How long an upgraded connection may be quiet on both sides.
    pub tunnel_timeout: Duration,
    /// What happens to header names with an underscore.
    pub underscores: Underscores,
    /// Largest request body in bytes; `None`: no limit.
    pub body_limit: Option<u64>,
}

/// What happens to header names with an underscore, which some upstreams read as if it were a hyphen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// They do not reach the upstream.
    #[default]
    Drop,
    /// The call is refused.
    Refuse,
    /// They pass, but for spellings of what is not the caller's to say.
    Forward,
}

/// One app's backend.
pub(crate) struct Backend {
    pub(crate) app: model::AppName,
    pub(crate) pool: Arc<Pool>,
    pub(crate) inject: Box<[(HeaderName, HeaderValue)]>,
    pub(crate) forward_license_id: bool,
    pub(crate) forward_user_id: bool,
    pub(crate) allow_method_override: bool,
    pub(crate) tunnel_timeout: Duration,
    pub(crate) underscores: Underscores,
    pub(crate) body_limit: u64,
}

/// The backends of a configuration, in the order of its apps, and what holds for all of them.
pub struct Backends {
    pub(crate) apps: Vec<Arc<Backend>>,
    pub(crate) trusted_proxies: Vec<IpNet>,
}

impl Backends {
    /// Backends in the order of the apps that the gate was built from.
    #[must_use]
    pub fn new(rules: Vec<BackendRules>, trusted_proxies: Vec<IpNet>) -> Self {
        Self {
            apps: rules
                .into_iter()
                .map(|rules| Arc::new(Backend::new(rules)))
                .collect(),
            trusted_proxies,
        }
    }

    /// Every app with each of its upstreams, as the file names them.
    pub fn upstreams(&self) -> impl Iterator<Item = (&str, &str)> {
        self.apps.iter().flat_map(|backend| {
            let names = backend.pool.names();
            names.map(|name| (backend.app.as_str(), name))
        })
    }

    /// The pools, to be cared for.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.apps.iter().map(|backend| &backend.pool)
    }
}

impl Backend {
    fn new(rules: BackendRules) -> Self {
        Self {
            app: rules.app,
            pool: Arc::new(Pool::new(rules.pool)),
            inject: rules.inject.into(),
            forward_license_id: rules.forward_license_id,
            forward_user_id: rules.forward_user_id,
            allow_method_override: rules.allow_method_override,
            tunnel_timeout: rules.tunnel_timeout,
            underscores: rules.underscores,
            body_limit: rules.body_limit.unwrap_or(u64::MAX),
        }
    }
}
