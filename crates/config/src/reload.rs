//! The keys that are read at start only, and those that may change while the gate runs.

use crate::Config;

/// A key as `[section] key`, and whether two configurations have the same value for it.
type KeyComparison = (&'static str, fn(&Config, &Config) -> bool);

/// Compares keys whose fields in [`Config`] have their names.
macro_rules! keys {
    ($($section:ident { $($key:ident),+ $(,)? })+) => {
        &[$($((
            concat!("[", stringify!($section), "] ", stringify!($key)),
            |old, new| old.$section.$key == new.$section.$key,
        )),+),+]
    };
}

/// The keys that are read at start only: all but `[log] level`, plans, and apps with their routes.
const AT_START: &[KeyComparison] = keys! {
    server {
        listen, control, admin, metrics, data_dir, threads, node, secret, trusted_proxies, drain,
        max_connections, head_timeout, max_connections_per_address, keepalive_timeout,
        keepalive_requests, min_body_rate, known_agents, private_agent_directories,
    }
    log { format }
    store { url, connections, connect_timeout, timeout }
    redis { timeout, connect_timeout, keep, exchange }
    journal { durability, keep, keep_bytes, segment_bytes, commit_window }
    ledger { objects, retention, seal_bytes, seal_every, rollup_every }
    control {
        failures_per_minute, plain_http_from, allow_private_webhook_targets,
        allow_plain_webhook_targets,
    }
    webhooks { schedule, timeout, keep }
    apimw { algorithm, access_lifetime, refresh_lifetime, issuer, audience, rate_limits }
    better_auth {
        shape, compat, metadata, name_required, key_length, prefix, rate_limit, shortest_expiry,
        longest_expiry,
    }
    cache { licenses, negative, negative_ttl }
};

/// The keys that are read at start only and whose fields have other names.
const AT_START_BY_OTHER_NAMES: &[KeyComparison] = &[
    ("[redis] url", |old, new| old.redis.urls == new.redis.urls),
    ("[ledger] directory", |old, new| {
        old.ledger_directory() == new.ledger_directory()
    }),
];

impl Config {
    /// Returns whether a running gate can go over to a new configuration without a restart.
    ///
    /// # Errors
    /// Names every key that differs and is read at start only, as `[section] key`.
    pub fn reloadable(&self, new: &Self) -> Result<(), Vec<String>> {
        let at_start = AT_START.iter().chain(AT_START_BY_OTHER_NAMES);
        let changed: Vec<String> = at_start
            .filter(|(_, is_same)| !is_same(self, new))
            .map(|(key, _)| (*key).to_owned())
            .collect();
        if changed.is_empty() {
            Ok(())
        } else {
            Err(changed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEFAULT_FILE;

    /// Returns every key of the sections that are there once, as `[section] key`.
    fn documented_keys() -> Vec<String> {
        let document = include_str!("../../../docs/configuration.md");
        let mut section = None;
        let mut keys = Vec::new();
        for line in document.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                let heading = heading.trim_matches('`');
                let is_once = heading.starts_with('[') && !heading.starts_with("[[");
                section = (is_once && !heading.starts_with("[app.")).then_some(heading);
            } else if let (Some(row), Some(section)) = (line.strip_prefix("| `"), section) {
                let (key, _) = row.split_once('`').expect("a key ends");
                keys.push(format!("{section} {key}"));
            }
        }
        keys
    }

    #[test]
    fn every_documented_key_but_those_of_apps_and_plans_has_its_place_here() {
        let at_start = AT_START.iter().chain(AT_START_BY_OTHER_NAMES);
        let mut known: Vec<&str> = at_start.map(|(key, _)| *key).collect();
        known.push("[log] level");
        known.sort_unstable();
        let mut documented = documented_keys();
        documented.sort_unstable();
        assert_eq!(known, documented);
    }

    fn changed(from: &str, to: &str) -> Result<(), Vec<String>> {
        assert!(DEFAULT_FILE.contains(from), "{from}");
        let text = DEFAULT_FILE.replacen(from, to, 1);
        let new = Config::parse(&text, "gateway.toml", |_| None).expect(to);
        Config::default().reloadable(&new)
    }

    #[test]
    fn what_is_read_at_start_needs_a_restart_and_is_named() {
        let key = |key: &str| Err(vec![key.to_owned()]);
        assert_eq!(
            changed("threads = 0", "threads = 4"),
            key("[server] threads")
        );
        assert_eq!(
            changed("keep = \"72h\"", "keep = \"1h\""),
            key("[journal] keep")
        );
        assert_eq!(
            changed("data_dir = \"data\"", "data_dir = \"other\""),
            Err(vec![
                "[server] data_dir".to_owned(),
                "[ledger] directory".to_owned()
            ])
        );
    }

    #[test]
    fn apps_plans_and_the_level_of_the_log_may_change_while_the_gate_runs() {
        assert_eq!(
            changed("http://127.0.0.1:9000", "http://127.0.0.1:9001"),
            Ok(())
        );
        assert_eq!(changed("level = \"info\"", "level = \"debug\""), Ok(()));
        assert_eq!(
            changed("price_per_unit = \"0.01\"", "price_per_unit = \"0.02\""),
            Ok(())
        );
    }
}
