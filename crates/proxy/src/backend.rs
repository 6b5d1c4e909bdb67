//! The backend of an app: its upstreams, and how its requests are written.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::upstream::{Pool, PoolOptions};

/// The rules by which calls of one app are forwarded.
#[derive(Clone, Debug)]
pub struct BackendRules {
    /// The name of the app.
    pub app: model::AppName,
    /// The upstreams.
    pub pool: PoolOptions,
    /// The headers, with secrets of the provider, that every request gets.
    pub inject: Vec<(HeaderName, HeaderValue)>,
    /// Whether the upstream is given the license (`Tallygate-License-Id`).
    pub forward_license_id: bool,
    /// Whether the upstream is given the user (`Tallygate-User-Id`).
    pub forward_user_id: bool,
    /// Whether headers that override the method pass.
    pub allow_method_override: bool,
    /// The longest time for which an upgraded connection may be silent on both sides.
    pub tunnel_timeout: Duration,
    /// The treatment of header names with an underscore.
    pub underscores: Underscores,
    /// The largest request body in bytes; `None`: no limit.
    pub body_limit: Option<u64>,
}

/// The treatment of header names with an underscore, which some upstreams read as a hyphen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// Such headers do not reach the upstream.
    #[default]
    Drop,
    /// The call is refused.
    Refuse,
    /// Such headers pass, but for spellings of headers that the caller may not set.
    Forward,
}

/// The backend of one app.
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

/// The backends of a configuration, in the order of its apps, and the proxies that it trusts.
pub struct Backends {
    pub(crate) apps: Vec<Arc<Backend>>,
    pub(crate) trusted_proxies: Vec<IpNet>,
}

impl Backends {
    /// Returns the backends for rules in the order of the apps that the gate was built from.
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

    /// Returns every app with each of its upstreams, by the names of the configuration file.
    pub fn upstreams(&self) -> impl Iterator<Item = (&str, &str)> {
        self.apps.iter().flat_map(|backend| {
            let names = backend.pool.names();
            names.map(|name| (backend.app.as_str(), name))
        })
    }

    /// Returns the pools with the names of their apps. Each needs a task that runs
    /// [`Pool::maintain`].
    pub fn pools(&self) -> impl Iterator<Item = (&model::AppName, &Arc<Pool>)> {
        let apps = self.apps.iter();
        apps.map(|backend| (&backend.app, &backend.pool))
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
