//! The translation of the configuration into the options of each part. This is the only file that
//! knows both sides.

use std::sync::Arc;
use std::time::Duration;

use config::{
    Access, AppMode, Compat, Config, Counts, Durability, HalfClose, OnClientGone, OnRevoke, Route,
    StoreUrl,
};
use control::KeyShape;
use gate::{Agents, AppRules, RouteRules, UnitsUnreadable};
use ledger::LedgerOptions;
use licensing::sessions::SessionOptions;
use licensing::signing::TokenTerms;
use licensing::{
    ApiKeyPolicy, AppTerms, DeclaredRoute, LeaseOptions, LicensingOptions, Plans, SoftwareTerms,
};
use model::{Clock, SigningUse, WindowKind};
use proxy::{
    BackendRules, Backends, Balance, CallerTimeouts, EdgeOptions, HealthCheck, PoolOptions,
    Underscores, UpstreamAddress,
};

use crate::{agents, open_store};

/// Returns the rules of the apps for the gate, in the order of the file. `agents`: what decides on
/// AI agents, where an app does.
pub(crate) fn app_rules(config: &Config, agents: Option<&Arc<Agents>>) -> Vec<AppRules> {
    let rules = |of: &config::App| app(of, agents);
    config.apps.iter().map(rules).collect()
}

fn app(app: &config::App, agents: Option<&Arc<Agents>>) -> AppRules {
    AppRules {
        agents: agents::rules(app, agents),
        forwards_ambiguous: app.ambiguous_paths == config::AmbiguousPaths::Forward,
        name: app.name.clone(),
        account: app.account.clone(),
        hosts: app.hosts.clone(),
        paths: app
            .paths
            .iter()
            .filter(|path| path.as_str() != "/")
            .cloned()
            .collect(),
        license_headers: app.license_headers.clone(),
        billable: app.billable.forwarded.iter().collect(),
        billable_by_rpc: Some(app.billable.by_rpc.iter().collect()),
        billable_by_own_ways: Some(app.billable.own_ways.iter().collect()),
        billable_outcomes: app.billable_outcomes.iter().collect(),
        counts_all: app.counts == Counts::All,
        test: app.mode == AppMode::Test,
        waits_for_disk: app.durability == Durability::Disk,
        cuts_on_revoke: app.on_revoke == OnRevoke::Cut,
        routes: app.routes.iter().map(route).collect(),
    }
}

fn route(route: &Route) -> RouteRules {
    RouteRules {
        path: route.path.clone(),
        methods: route.methods.clone(),
        units: route.units,
        max_units: route.reserved_units(),
        units_header: route.units_header.clone(),
        units_unreadable: match route.units_unreadable {
            config::UnitsUnreadable::Units => UnitsUnreadable::Units,
            config::UnitsUnreadable::Max => UnitsUnreadable::Max,
            config::UnitsUnreadable::Unbilled => UnitsUnreadable::Unbilled,
        },
        billable: Some(route.billable.forwarded.iter().collect()),
        billable_by_rpc: Some(route.billable.by_rpc.iter().collect()),
        billable_by_own_ways: Some(route.billable.own_ways.iter().collect()),
        finishes_without_caller: route.on_client_gone == OnClientGone::Finish,
        half_close_leaves: route.half_close == HalfClose::Leave,
        cuts_on_revoke: Some(route.on_revoke == OnRevoke::Cut),
        open: route.access == Access::Open,
        features: route.features.clone(),
    }
}

/// Returns the backends of the apps for the proxy, in the order of the file.
pub(crate) fn backends(config: &Config) -> Backends {
    let rules = config.apps.iter().map(backend).collect();
    Backends::new(rules, config.server.trusted_proxies.clone())
}

fn backend(app: &config::App) -> BackendRules {
    let address = |upstream: &config::Upstream| UpstreamAddress {
        tls: upstream.scheme == config::Scheme::Https,
        host: upstream.host.trim_matches(['[', ']']).to_owned(),
        port: upstream.port,
    };
    let check = |check: &config::HealthCheck| HealthCheck {
        path: check.path.clone(),
        interval: check.every.duration(),
        timeout: check.timeout.duration(),
        healthy_after: check.healthy_after,
        unhealthy_after: check.unhealthy_after,
    };
    BackendRules {
        app: app.name.clone(),
        pool: PoolOptions {
            addresses: app.upstreams.iter().map(address).collect(),
            balance: match app.balance {
                config::Balance::RoundRobin => Balance::RoundRobin,
                config::Balance::Random => Balance::Random,
            },
            connect_timeout: app.connect_timeout.duration(),
            read_timeout: app.read_timeout.duration(),
            write_timeout: app.write_timeout.duration(),
            idle_timeout: app.idle_timeout.duration(),
            health_check: app.health_check.as_ref().map(check),
        },
        inject: app.inject_headers.clone(),
        forward_license_id: app.forward_license_id,
        forward_user_id: app.forward_user_id,
        allow_method_override: app.allow_method_override,
        tunnel_timeout: app.websocket_idle_timeout.duration(),
        underscores: match app.underscore_headers {
            config::UnderscoreHeaders::Drop => Underscores::Drop,
            config::UnderscoreHeaders::Refuse => Underscores::Refuse,
            config::UnderscoreHeaders::Forward => Underscores::Forward,
        },
        body_limit: app.body_limit.map(config::ByteSize::bytes),
    }
}

/// Returns the plans, and the terms of the apps, for licensing.
pub(crate) fn plans(config: &Config) -> Plans {
    let terms = |app: &config::App| AppTerms {
        app: app.name.clone(),
        account: app.account.clone(),
        default_plan: app.plan.clone(),
        grace: app.outage.grace.duration(),
        allowance: app.outage.allowance,
        key_recovery: app.key_recovery,
        software: software(&app.authforge),
        agents: agents::terms(app),
    };
    Plans::new(
        config.plan_revisions(),
        config.apps.iter().map(terms).collect(),
    )
    .with_routes(config.apps.iter().map(declared))
}

/// Returns the terms for software that is sold with an app.
fn software(authforge: &config::Authforge) -> SoftwareTerms {
    SoftwareTerms {
        rebinds_once: authforge.rebind == config::Rebind::Once,
        burn_cap: authforge.burn_cap,
        validate_limit: authforge.validate_limit,
        validate_limit_per_address: authforge.validate_limit_per_address,
        heartbeat_limit: authforge.heartbeat_limit,
        session_lifetime: Duration::from_secs(authforge.session_lifetime.seconds().into()),
        offline_activation: authforge.offline_activation,
    }
}

fn declared(app: &config::App) -> (model::AppName, Vec<DeclaredRoute>) {
    let route = |route: &Route| DeclaredRoute {
        methods: route.methods.clone(),
        path: route.path.clone(),
    };
    (app.name.clone(), app.routes.iter().map(route).collect())
}

/// Returns the options of the license cache.
pub(crate) fn licensing_options(config: &Config) -> LicensingOptions {
    LicensingOptions {
        cache_capacity: config.cache.licenses,
        negative_capacity: config.cache.negative,
        negative_ttl: config.cache.negative_ttl.duration(),
        lease: LeaseOptions {
            alone: open_store::is_alone(config),
            ..LeaseOptions::default()
        },
        ..LicensingOptions::default()
    }
}

/// Returns the options of sessions of key pairs.
pub(crate) fn session_options(config: &Config) -> SessionOptions {
    let apimw = &config.apimw;
    SessionOptions {
        terms: TokenTerms {
            issuer: apimw.issuer.clone(),
            audience: apimw.audience.clone(),
        },
        signing_use: match apimw.algorithm {
            config::TokenAlgorithm::Hs256 => SigningUse::TokensHs256,
            config::TokenAlgorithm::EdDsa => SigningUse::Tokens,
        },
        access_lifetime: apimw.access_lifetime.duration(),
        refresh_lifetime: apimw.refresh_lifetime.duration(),
        rate_limits: apimw.rate_limits.clone(),
    }
}

/// Returns the rules for all API keys.
pub(crate) fn api_key_policy(config: &Config) -> ApiKeyPolicy {
    let section = &config.better_auth;
    let strict = section.compat == Compat::Strict;
    ApiKeyPolicy {
        metadata: section.metadata,
        name_required: section.name_required,
        key_length: section.key_length,
        prefix: section.prefix.clone(),
        rate_limit: section.rate_limit,
        shortest: section.shortest_expiry.duration(),
        longest: section.longest_expiry.duration(),
        windows: if strict {
            WindowKind::Idle
        } else {
            WindowKind::Fixed
        },
        forgets: strict,
    }
}

/// Returns the shape in which clients of better-auth see API keys.
pub(crate) fn key_shape(config: &Config) -> KeyShape {
    match config.better_auth.shape {
        config::KeyShape::Current => KeyShape::Current,
        config::KeyShape::Seed => KeyShape::Seed,
    }
}

/// Returns the options of the edge.
pub(crate) fn edge_options(config: &Config) -> EdgeOptions {
    EdgeOptions {
        max_connections: config.server.max_connections,
        max_connections_per_address: match config.server.max_connections_per_address {
            0 => usize::MAX,
            most => most,
        },
        unbounded: config.server.trusted_proxies.clone(),
        head_timeout: config.server.head_timeout.duration(),
        keepalive_timeout: config.server.keepalive_timeout.duration(),
        keepalive_requests: config.server.keepalive_requests,
        min_body_rate: config.server.min_body_rate,
        write_timeout: CALLER_TIMEOUTS.write,
        drain: config.server.drain.duration(),
    }
}

/// The timeouts towards callers. The timeouts of a call's app apply to its upstream only.
pub(crate) const CALLER_TIMEOUTS: CallerTimeouts = CallerTimeouts {
    read: std::time::Duration::from_secs(60),
    write: std::time::Duration::from_secs(60),
};

/// Returns the longest time without its store for which some app still admits calls.
pub(crate) fn longest_grace(config: &Config) -> Duration {
    let graces = config.apps.iter().map(|app| app.outage.grace.duration());
    graces.max().unwrap_or_default()
}

/// Returns the options of the ledger, without those that take an open store.
pub(crate) fn ledger_options(config: &Config, node: &str, clock: Arc<dyn Clock>) -> LedgerOptions {
    let data_dir = &config.server.data_dir;
    let directory = config
        .ledger
        .directory
        .clone()
        .unwrap_or_else(|| data_dir.join("ledger"));
    LedgerOptions {
        seal_bytes: config.ledger.seal_bytes.bytes(),
        seal_every: config.ledger.seal_every.duration(),
        rollup_every: config.ledger.rollup_every.duration(),
        // PostgreSQL leases units beside a roll-up; SQLite's one writer does one after the other.
        rollup_rows: match config.store.url {
            StoreUrl::Sqlite => 32_768,
            StoreUrl::Postgres(_) => 131_072,
        },
        retention: config.ledger.retention.map(model::Interval::duration),
        keep: config.journal.keep.duration(),
        keep_bytes: config.journal.keep_bytes.bytes(),
        clock,
        ..LedgerOptions::new(directory, data_dir.join("journal"), node)
    }
}

/// Returns the options of the journal of an instance.
pub(crate) fn journal_options(config: &Config, instance: u128, lanes: usize) -> journal::Options {
    let sync = match config.journal.durability {
        Durability::Disk => journal::Sync::Disk,
        Durability::Process => journal::Sync::Process,
    };
    journal::Options {
        segment_bytes: u32::try_from(config.journal.segment_bytes.bytes()).unwrap_or(u32::MAX),
        sync,
        commit_window: config.journal.commit_window.duration(),
        keep: config.journal.keep.duration(),
        keep_bytes: config.journal.keep_bytes.bytes(),
        ..journal::Options::new(config.server.data_dir.join("journal"), instance, lanes)
    }
}

/// Returns the number of proxy threads: as configured, or one per core.
pub(crate) fn threads(config: &Config) -> usize {
    match config.server.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    }
}
