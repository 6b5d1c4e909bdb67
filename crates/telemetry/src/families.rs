//! Metric families in the types that the Prometheus encoder takes.

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use crate::histogram::Histogram;

pub(crate) fn family(
    name: &str,
    help: &str,
    kind: MetricType,
    metrics: Vec<Metric>,
) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

pub(crate) fn counter(name: &str, help: &str, value: u64) -> MetricFamily {
    family(name, help, MetricType::COUNTER, vec![counted(&[], value)])
}

pub(crate) fn gauge(name: &str, help: &str, value: u64) -> MetricFamily {
    let mut gauge = prometheus::proto::Gauge::default();
    gauge.set_value(value as f64);
    let mut metric = Metric::default();
    metric.set_gauge(gauge);
    family(name, help, MetricType::GAUGE, vec![metric])
}

pub(crate) fn histogram(name: &str, help: &str, histogram: &Histogram) -> MetricFamily {
    let mut metric = Metric::default();
    metric.set_histogram(histogram.to_proto());
    family(name, help, MetricType::HISTOGRAM, vec![metric])
}

pub(crate) fn batches(histogram: &Histogram, records: u64) -> MetricFamily {
    let mut proto = histogram.to_proto();
    let buckets = proto.get_bucket().to_vec().into_iter().map(|mut bucket| {
        bucket.set_upper_bound((bucket.upper_bound() * 1e6).round());
        bucket
    });
    let buckets: Vec<_> = buckets.collect();
    proto.set_bucket(buckets);
    proto.set_sample_sum(records as f64);
    let mut metric = Metric::default();
    metric.set_histogram(proto);
    family(
        "tallygate_journal_batch_records",
        "Records made durable by one sync.",
        MetricType::HISTOGRAM,
        vec![metric],
    )
}

pub(crate) fn labelled(pairs: &[(&str, &str)]) -> Metric {
    let label = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut metric = Metric::default();
    metric.set_label(pairs.iter().map(label).collect());
    metric
}

pub(crate) fn counted(pairs: &[(&str, &str)], count: u64) -> Metric {
    let mut counter = prometheus::proto::Counter::default();
    counter.set_value(count as f64);
    let mut metric = labelled(pairs);
    metric.set_counter(counter);
    metric
}

/// Returns memory and open files of the process by their usual names; `None` where `/proc` is not
/// there.
pub(crate) fn process_families() -> Option<Vec<MetricFamily>> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let files = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some(vec![
        gauge(
            "process_resident_memory_bytes",
            "Resident memory.",
            pages * 4_096,
        ),
        gauge("process_open_fds", "Open file descriptors.", files),
    ])
}
