//! The registry of everything that is scraped at `/metrics`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use prometheus::proto::{Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use crate::agents::decisions;
use crate::families::{
    batches, counted, counter, family, gauge, histogram, labelled, process_families,
};
use crate::histogram::Histogram;
use crate::lookups::{LookupResult, LookupTier};
use crate::shard::{CallLabels, Counts, Expected, Shard};
use crate::upstreams::{UpstreamFailure, UpstreamFailures};
use crate::webhooks::{WebhookCounts, webhook_families};

/// The state of the ledger, in calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerCounts {
    /// The calls written to the journal.
    pub accepted: u64,
    /// The calls in the store.
    pub stored: u64,
    /// The calls that are not yet in the store.
    pub pending: u64,
    /// The calls that are known to be lost: 0 (G3).
    pub lost: u64,
    /// The records of earlier starts that are not yet in the store. The other counts do not include
    /// them.
    pub behind: u64,
}

/// All metrics of a process. Cheap to share through an `Arc`.
pub struct Metrics {
    shards: Vec<Arc<Shard>>,
    expected: RwLock<Expected>,
    names: RwLock<HashMap<u32, Arc<str>>>,
    outcomes: &'static [&'static str],
    refusals: fn(u8) -> &'static str,
    lookups: [[AtomicU64; 3]; 3],
    commits: Mutex<(Histogram, Histogram, u64)>,
    revocations: Mutex<Histogram>,
    upstreams: UpstreamFailures,
    ledger: RwLock<Box<dyn Fn() -> LedgerCounts + Send + Sync>>,
    webhooks: RwLock<Box<dyn Fn() -> WebhookCounts + Send + Sync>>,
    store_up: AtomicU64,
    store_parts: Mutex<Vec<(&'static str, bool)>>,
    redis_up: AtomicU64,
    plans_lacking: AtomicU64,
}

impl Metrics {
    /// Makes metrics with one shard per worker. `outcomes` are the words for outcome numbers,
    /// `refusals` gives those for refusal numbers.
    #[must_use]
    pub fn new(
        workers: usize,
        outcomes: &'static [&'static str],
        refusals: fn(u8) -> &'static str,
    ) -> Arc<Self> {
        Arc::new(Self {
            shards: (0..workers).map(|_| Arc::default()).collect(),
            expected: RwLock::default(),
            names: RwLock::default(),
            outcomes,
            refusals,
            lookups: Default::default(),
            commits: Mutex::default(),
            revocations: Mutex::default(),
            upstreams: UpstreamFailures::default(),
            ledger: RwLock::new(Box::new(LedgerCounts::default)),
            webhooks: RwLock::new(Box::new(WebhookCounts::default)),
            store_up: AtomicU64::new(1),
            store_parts: Mutex::default(),
            redis_up: AtomicU64::new(0),
            plans_lacking: AtomicU64::new(0),
        })
    }

    /// Returns the shard of a worker.
    ///
    /// # Panics
    /// If there is no such worker.
    #[must_use]
    pub fn shard(&self, worker: usize) -> Arc<Shard> {
        self.shards[worker].clone()
    }

    /// Gives a symbol number its label.
    pub fn name(&self, symbol: u32, name: &str) {
        self.names.write().insert(symbol, name.into());
    }

    /// Shows these series of `tallygate_calls_total` from now on, at 0 until there is such a call.
    ///
    /// A series that begins with its first count has no increase for Prometheus, so no alert on it
    /// would ever fire.
    pub fn expect_calls(&self, labels: impl IntoIterator<Item = CallLabels>) {
        self.expected.write().calls.extend(labels);
    }

    /// Shows these series of `tallygate_refused_total` from now on, by the symbol of the app (0:
    /// none) and the number of the refusal; see [`Metrics::expect_calls`].
    pub fn expect_refusals(&self, refusals: impl IntoIterator<Item = (u32, u8)>) {
        self.expected.write().refused.extend(refusals);
    }

    /// Counts a license look-up.
    pub fn lookup(&self, tier: LookupTier, result: LookupResult) {
        self.lookups[tier as usize][result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a commit of the journal: the records that were made durable, and the time that it
    /// took.
    pub fn commit(&self, records: u64, took: Duration) {
        let mut commits = self.commits.lock();
        commits.0.observe(took);
        // The batch histogram counts records where others count durations: 1 record as 1 µs.
        commits.1.observe_micros(records);
        commits.2 += records;
    }

    /// Counts the time from the commit of a change until it is in force here.
    pub fn revocation(&self, took: Duration) {
        self.revocations.lock().observe(took);
    }

    /// Shows the failures of an app's upstream from now on, at 0; see [`Metrics::expect_calls`].
    pub fn expect_upstream(&self, app: &str, upstream: &str) {
        self.upstreams.expect(app, upstream);
    }

    /// Counts an attempt that failed by an app's upstream.
    pub fn upstream_failed(&self, app: &str, upstream: &str, failure: UpstreamFailure) {
        self.upstreams.count(app, upstream, failure);
    }

    /// Sets whether the store answers.
    pub fn store_up(&self, up: bool) {
        self.store_up.store(u64::from(up), Ordering::Relaxed);
    }

    /// Sets whether each part of the store takes writes, where it has parts that can be out of
    /// reach by themselves.
    pub fn store_parts_up(&self, parts: Vec<(&'static str, bool)>) {
        *self.store_parts.lock() = parts;
    }

    /// Sets the number of plans that licenses name and the configuration lacks.
    pub fn plans_lacking(&self, plans: u64) {
        self.plans_lacking.store(plans, Ordering::Relaxed);
    }

    /// Sets whether Redis answers.
    pub fn redis_up(&self, up: bool) {
        self.redis_up.store(u64::from(up), Ordering::Relaxed);
    }

    fn all_parts_up(&self) -> bool {
        self.store_parts.lock().iter().all(|(_, up)| *up)
    }

    fn part_metrics(&self) -> Vec<Metric> {
        let parts = self.store_parts.lock();
        let metric = |(part, up): &(&'static str, bool)| {
            let mut gauge = prometheus::proto::Gauge::default();
            gauge.set_value(if *up { 1.0 } else { 0.0 });
            let mut metric = labelled(&[("part", part)]);
            metric.set_gauge(gauge);
            metric
        };
        parts.iter().map(metric).collect()
    }

    /// Sets the source of the ledger's numbers.
    pub fn ledger_source(&self, source: impl Fn() -> LedgerCounts + Send + Sync + 'static) {
        *self.ledger.write() = Box::new(source);
    }

    /// Sets the source of the numbers of webhooks.
    pub fn webhook_source(&self, source: impl Fn() -> WebhookCounts + Send + Sync + 'static) {
        *self.webhooks.write() = Box::new(source);
    }

    /// Returns the text that Prometheus scrapes.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Families of plain numbers and histograms always encode; an empty one is left out by
        // `families`.
        if TextEncoder::new()
            .encode(&self.families(), &mut text)
            .is_err()
        {
            return String::new();
        }
        String::from_utf8(text).unwrap_or_default()
    }

    fn families(&self) -> Vec<MetricFamily> {
        let mut total = Counts::default();
        for shard in &self.shards {
            shard.add_to(&mut total);
        }
        self.expected.read().add_to(&mut total);
        let ledger = (self.ledger.read())();
        let commits = self.commits.lock();
        let mut families = vec![
            family(
                "tallygate_calls_total",
                "Calls that are over.",
                MetricType::COUNTER,
                self.calls(&total),
            ),
            family(
                "tallygate_refused_total",
                "Calls refused by the gate.",
                MetricType::COUNTER,
                self.refused(&total),
            ),
            family(
                "tallygate_agent_decisions_total",
                "Decisions on calls of AI agents.",
                MetricType::COUNTER,
                self.agents(&total),
            ),
            histogram(
                "tallygate_overhead_seconds",
                "Time of a call spent in the gate, apart from the upstream.",
                &total.overhead,
            ),
            histogram(
                "tallygate_upstream_seconds",
                "Time of a call spent with the upstream.",
                &total.upstream,
            ),
            family(
                "tallygate_upstream_failures_total",
                "Attempts that failed by the upstream.",
                MetricType::COUNTER,
                self.upstream_metrics(),
            ),
            counter(
                "tallygate_records_accepted_total",
                "Calls written to the journal.",
                ledger.accepted,
            ),
            counter(
                "tallygate_records_stored_total",
                "Calls in the store.",
                ledger.stored,
            ),
            gauge(
                "tallygate_records_pending",
                "Calls not yet in the store.",
                ledger.pending,
            ),
            counter(
                "tallygate_records_lost_total",
                "Calls lost; more than 0 is a defect.",
                ledger.lost,
            ),
            gauge(
                "tallygate_records_behind",
                "Records of earlier starts not yet in the store.",
                ledger.behind,
            ),
            histogram(
                "tallygate_journal_commit_seconds",
                "Time to make a batch of records durable.",
                &commits.0,
            ),
            batches(&commits.1, commits.2),
            family(
                "tallygate_license_lookups_total",
                "License look-ups by tier and result.",
                MetricType::COUNTER,
                self.lookup_metrics(),
            ),
            histogram(
                "tallygate_revocation_seconds",
                "Time from the commit of a change to its being in force here.",
                &self.revocations.lock(),
            ),
            gauge(
                "tallygate_store_up",
                "Whether the store answers, all its parts.",
                u64::from(self.all_parts_up()).min(self.store_up.load(Ordering::Relaxed)),
            ),
            gauge(
                "tallygate_plans_lacking",
                "Plans that licenses name and the configuration lacks; they go by their last revision.",
                self.plans_lacking.load(Ordering::Relaxed),
            ),
            gauge(
                "tallygate_redis_up",
                "Whether Redis answers; 0 where none is configured.",
                self.redis_up.load(Ordering::Relaxed),
            ),
            counter(
                "tallygate_units_clipped_total",
                "Answers whose units were unreadable or more than their route declares.",
                total.units_clipped,
            ),
            counter(
                "tallygate_malformed_requests_total",
                "Requests that could not be read.",
                total.malformed,
            ),
        ];
        families.extend(webhook_families((self.webhooks.read())()));
        let parts = self.part_metrics();
        if !parts.is_empty() {
            let help = "Whether a part of the store takes writes.";
            families.push(family(
                "tallygate_store_part_up",
                help,
                MetricType::GAUGE,
                parts,
            ));
        }
        if let Some(process) = process_families() {
            families.extend(process);
        }
        families.retain(|family| !family.get_metric().is_empty());
        families
    }

    fn calls(&self, total: &Counts) -> Vec<Metric> {
        let names = self.names.read();
        let name = |symbol: u32| names.get(&symbol).map_or("", |name| &**name);
        let metric = |(labels, count): (&crate::CallLabels, &u64)| {
            let outcome = self
                .outcomes
                .get(usize::from(labels.outcome))
                .copied()
                .unwrap_or("");
            let status = labels.status.to_string();
            let pairs = [
                ("app", name(labels.app)),
                ("outcome", outcome),
                ("route", name(labels.route)),
                ("status", &status),
            ];
            counted(&pairs, *count)
        };
        total.calls.iter().map(metric).collect()
    }

    /// Counts refusals by code. Two refusals with one code (a quota that is refilled and one that
    /// is not) are one series.
    fn refused(&self, total: &Counts) -> Vec<Metric> {
        let mut by_code: BTreeMap<(u32, &str), u64> = BTreeMap::new();
        for ((app, refusal), count) in &total.refused {
            *by_code
                .entry((*app, (self.refusals)(*refusal)))
                .or_default() += count;
        }
        let names = self.names.read();
        let metric = |((app, code), count): (&(u32, &str), &u64)| {
            let app = names.get(app).map_or("", |name| &**name);
            counted(&[("app", app), ("code", code)], *count)
        };
        by_code.iter().map(metric).collect()
    }

    fn agents(&self, total: &Counts) -> Vec<Metric> {
        let names = self.names.read();
        decisions(total.agents.iter(), |app| {
            names.get(&app).map_or("", |name| &**name).to_owned()
        })
    }

    fn upstream_metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        self.upstreams
            .for_each(|pairs, count| metrics.push(counted(pairs, count)));
        metrics
    }

    fn lookup_metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for (tier, counts) in ["memory", "redis", "store"].iter().zip(&self.lookups) {
            for (result, count) in ["hit", "miss", "error"].iter().zip(counts) {
                let pairs = [("result", *result), ("tier", *tier)];
                metrics.push(counted(&pairs, count.load(Ordering::Relaxed)));
            }
        }
        metrics
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics")
            .field("workers", &self.shards.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_metric_stands_in_the_documentation_and_no_other() {
        let metrics = Metrics::new(1, &["delivered"], |_| "license_unknown");
        // Without a series a family is left out.
        metrics.expect_calls([CallLabels {
            app: 1,
            route: 2,
            status: 200,
            outcome: 0,
        }]);
        metrics.expect_refusals([(1, 2)]);
        metrics.expect_upstream("api", "http://127.0.0.1:80");
        metrics.store_parts_up(vec![("licenses", true)]);
        let unverified = crate::AgentVerification::Unverified;
        metrics
            .shard(0)
            .agent(1, crate::AgentVerdict::Denied, unverified);
        let text = metrics.render();
        let served: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        let page = include_str!("../../../docs/operations.md");
        let (_, table) = page
            .split_once("| metric | what it counts |\n|---|---|\n")
            .expect("a table of metrics");
        let documented: BTreeSet<&str> = table
            .lines()
            .map_while(|row| row.strip_prefix("| ")?.split(" | ").next())
            .flat_map(|names| names.split(", "))
            .map(|name| name.trim_matches('`').split('{').next().unwrap_or_default())
            .collect();
        assert_eq!(
            served, documented,
            "served left, in docs/operations.md right"
        );
    }

    #[test]
    fn expected_series_are_there_at_0_and_one_code_is_one_series() {
        let metrics = Metrics::new(1, &["delivered", "upstream_failed"], |_| "quota_exhausted");
        metrics.name(1, "api");
        metrics.name(2, "/");
        let failed = CallLabels {
            app: 1,
            route: 2,
            status: 502,
            outcome: 1,
        };
        metrics.expect_calls([failed]);
        metrics.expect_refusals([(1, 11), (1, 12)]);
        let line =
            r#"tallygate_calls_total{app="api",outcome="upstream_failed",route="/",status="502"}"#;
        let refused = r#"tallygate_refused_total{app="api",code="quota_exhausted"}"#;
        let text = metrics.render();
        assert!(text.contains(&format!("{line} 0")), "{text}");
        assert!(text.contains(&format!("{refused} 0")), "{text}");
        metrics.shard(0).call(failed, 1, 1);
        metrics.shard(0).refused(1, 11);
        metrics.shard(0).refused(1, 12);
        let text = metrics.render();
        assert!(text.contains(&format!("{line} 1")), "{text}");
        assert!(text.contains(&format!("{refused} 2")), "{text}");
        assert_eq!(text.matches(refused).count(), 1, "{text}");
    }

    #[test]
    fn shards_are_summed_and_symbols_get_their_names() {
        let metrics = Metrics::new(2, &["delivered", "client_gone"], |_| "license_unknown");
        metrics.name(1, "api");
        metrics.name(2, "/reports");
        let labels = CallLabels {
            app: 1,
            route: 2,
            status: 200,
            outcome: 0,
        };
        metrics.shard(0).call(labels, 12, 300);
        metrics.shard(1).call(labels, 12, 300);
        metrics.shard(1).refused(1, 2);
        let text = metrics.render();
        let line = r#"tallygate_calls_total{app="api",outcome="delivered",route="/reports",status="200"} 2"#;
        assert!(text.contains(line), "{text}");
        assert!(text.contains(r#"tallygate_refused_total{app="api",code="license_unknown"} 1"#));
        assert!(text.contains("tallygate_overhead_seconds_count 2"));
        assert!(text.contains(r#"tallygate_overhead_seconds_bucket{le="0.000025"} 2"#));
        assert!(text.contains("tallygate_records_lost_total 0"));
    }
}
