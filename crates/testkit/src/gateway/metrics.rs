//! The numbers in a text that Prometheus scrapes.

/// Returns the sum of a metric over all its series that contain each of these `name="value"` pairs;
/// 0 when none has them all.
///
/// # Panics
/// When the text has no series of this name.
pub(super) fn sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    let is_series = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
    };
    let series: Vec<&str> = text.lines().filter(is_series).collect();
    assert!(!series.is_empty(), "no metric {name} in:\n{text}");
    let value = |line: &&str| {
        labels.iter().all(|label| line.contains(label)).then(|| {
            let text = line.rsplit(' ').next().unwrap_or_default();
            text.parse::<f64>()
                .unwrap_or_else(|error| panic!("{error} in {line}"))
        })
    };
    series.iter().filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE calls_total counter\n\
        calls_total{app=\"a\",status=\"200\"} 2\n\
        calls_total{app=\"b\",status=\"200\"} 3\n\
        up 1\n";

    #[test]
    fn series_are_summed_by_their_labels_and_a_missing_one_is_0() {
        assert_eq!(sum(TEXT, "calls_total", &[]), 5.0);
        assert_eq!(sum(TEXT, "calls_total", &["app=\"b\""]), 3.0);
        assert_eq!(sum(TEXT, "calls_total", &["app=\"c\""]), 0.0);
        assert_eq!(sum(TEXT, "up", &[]), 1.0);
    }

    #[test]
    #[should_panic(expected = "no metric calls in")]
    fn a_metric_that_is_not_there_is_not_0() {
        let _ = sum(TEXT, "calls", &[]);
    }
}
