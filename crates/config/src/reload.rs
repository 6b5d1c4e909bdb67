//! What of a new file may take effect while the gate runs.

use crate::Config;

impl Config {
    /// Whether a running gate can go over to a new configuration without a restart.
    ///
    /// # Errors
    /// Names every key that differs and is read at start only, as `[section] key`.
    pub fn reloadable(&self, new: &Self) -> Result<(), Vec<String>> {
        let (a, b) = (self, new);
        let at_start = [
            ("[server] listen", a.server.listen == b.server.listen),
            ("[server] control", a.server.control == b.server.control),
            ("[server] admin", a.server.admin == b.server.admin),
            ("[server] metrics", a.server.metrics == b.server.metrics),
            ("[server] data_dir", a.server.data_dir == b.server.data_dir),
            ("[server] threads", a.server.threads == b.server.threads),
            ("[server] node", a.server.node == b.server.node),
            ("[server] secret", a.server.secret == b.server.secret),
            (
                "[server] max_connections",
                a.server.max_connections == b.server.max_connections,
            ),
            ("[log] format", a.log.format == b.log.format),
            ("[store] url", a.store.url == b.store.url),
            (
                "[store] connections",
                a.store.connections == b.store.connections,
            ),
            (
                "[store] connect_timeout",
                a.store.connect_timeout == b.store.connect_timeout,
            ),
            ("[store] timeout", a.store.timeout == b.store.timeout),
            ("[redis] url", a.redis == b.redis),
            (
                "[journal] durability",
                a.journal.durability == b.journal.durability,
            ),
            ("[journal] keep", a.journal.keep == b.journal.keep),
            (
                "[journal] keep_bytes",
                a.journal.keep_bytes == b.journal.keep_bytes,
            ),
            (
                "[journal] segment_bytes",
                a.journal.segment_bytes == b.journal.segment_bytes,
            ),
            (
                "[journal] commit_window",
                a.journal.commit_window == b.journal.commit_window,
            ),
            (
                "[ledger] directory",
                a.ledger_directory() == b.ledger_directory(),
            ),
            ("[ledger] objects", a.ledger.objects == b.ledger.objects),
            ("[apimw]", a.apimw == b.apimw),
            ("[cache] licenses", a.cache.licenses == b.cache.licenses),
            ("[cache] negative", a.cache.negative == b.cache.negative),
        ];
        let changed: Vec<String> = at_start
            .iter()
            .filter(|(_, same)| !same)
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
    fn apps_plans_and_bounds_may_change_while_the_gate_runs() {
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
