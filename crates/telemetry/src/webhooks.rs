//! The numbers of webhooks at `/metrics`.

use prometheus::proto::{MetricFamily, MetricType};

use crate::families::{counted, counter, family, gauge};

/// The deliveries of events to webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookCounts {
    /// The deliveries that receivers took from this gate.
    pub delivered: u64,
    /// The tries of this gate that failed.
    pub failed: u64,
    /// The deliveries that failed for good, each of which disabled its webhook.
    pub disabled: u64,
    /// The deliveries that wait; 0 where another gate delivers.
    pub pending: u64,
    /// The age of the oldest event that waits, in seconds.
    pub oldest_seconds: u64,
}

/// Returns the deliveries of events to webhooks, without a label for any of them.
pub(crate) fn webhook_families(counts: WebhookCounts) -> [MetricFamily; 4] {
    let deliveries = [("delivered", counts.delivered), ("failed", counts.failed)];
    let counts_by_result = deliveries.map(|(result, count)| counted(&[("result", result)], count));
    [
        family(
            "tallygate_webhook_deliveries_total",
            "Tries of this gate to deliver an event to a webhook.",
            MetricType::COUNTER,
            counts_by_result.into(),
        ),
        counter(
            "tallygate_webhooks_disabled_total",
            "Webhooks disabled because an event could not be delivered.",
            counts.disabled,
        ),
        gauge(
            "tallygate_webhook_pending",
            "Deliveries that wait; 0 where another gate delivers.",
            counts.pending,
        ),
        gauge(
            "tallygate_webhook_oldest_pending_seconds",
            "Age of the oldest event that waits for a webhook.",
            counts.oldest_seconds,
        ),
    ]
}
