//! The connection to the configuration's Redis, by which this gate shares counts with others.

use std::sync::Arc;

use config::Config;
use coordinator::{Coordinator, CoordinatorOptions};
use gate::LicenseMetrics;
use licensing::{FleetKey, FleetOptions};
use telemetry::Metrics;

/// Connects to Redis and keeps the metrics true to whether it answers. Without one, look-ups are
/// counted all the same.
///
/// # Errors
/// Returns an error that only the operator can fix. A Redis that does not answer is used once it
/// does.
pub(crate) async fn connect(
    config: &Config,
    key: FleetKey,
    metrics: &Arc<Metrics>,
) -> Result<FleetOptions, coordinator::Error> {
    let redis = &config.redis;
    let mut fleet = FleetOptions {
        shared: None,
        keep: redis.keep.duration(),
        exchange: redis.exchange.duration(),
        observer: Arc::new(LicenseMetrics(metrics.clone())),
    };
    if !redis.urls.is_empty() {
        let urls = redis.urls.iter().map(|url| url.expose().to_owned());
        let options = CoordinatorOptions {
            timeout: redis.timeout.duration(),
            connect_timeout: redis.connect_timeout.duration(),
            ..CoordinatorOptions::new(urls.collect(), key.namespace())
        };
        let from_result = metrics.clone();
        let coordinator = Coordinator::connect(options, move |is_up| from_result.redis_up(is_up));
        fleet.shared = Some((coordinator.await?, key));
    }
    Ok(fleet)
}
