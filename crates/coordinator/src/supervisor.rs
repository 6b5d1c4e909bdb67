//! The task that keeps a connection: it probes the connection while nobody uses it, and makes a new
//! one when it failed.

use std::sync::Arc;
use std::time::Duration;

use redis::cmd;

use crate::connector::Connector;

/// The shortest pause before another try.
const MIN_PAUSE: Duration = Duration::from_millis(50);

/// Keeps a connection for ever. `number` is that of the next connection.
pub(crate) async fn serve(connector: Arc<Connector>, mut number: u64) {
    let circuit = &connector.circuit;
    let (mut failures, mut probes) = (0, 0);
    loop {
        if circuit.is_closed() {
            let used = tokio::time::timeout(connector.options.heartbeat, circuit.opened()).await;
            if used.is_err() {
                // In a Cluster all masters are asked. A failure opens the circuit.
                let _ = circuit.query::<String>(&cmd("PING")).await;
                probes += 1;
                if connector.has_moved(probes).await {
                    circuit.open(number - 1, &"its Sentinels name another master");
                }
            }
            continue;
        }
        // The pause is never zero: what just failed for all gates must not be asked by all of them
        // at once.
        tokio::time::sleep(pause(failures, connector.options.longest_pause)).await;
        match connector.connect(number).await {
            Ok(link) => {
                circuit.close(link, number);
                tracing::info!("redis answers");
                // Changes may have been announced meanwhile.
                connector.notifier.notify(None);
                failures = 0;
            }
            Err(fault) => {
                if failures == 0 {
                    tracing::warn!(reason = %fault, "redis cannot be connected to, another try follows");
                }
                failures += 1;
            }
        }
        number += 1;
    }
}

/// Returns a random pause before the next try: in the upper half of an interval that doubles with
/// each failure.
fn pause(failures: u32, longest: Duration) -> Duration {
    let whole = MIN_PAUSE.saturating_mul(1 << failures.min(16)).min(longest);
    let share = getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX));
    whole.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_differ() {
        let longest = Duration::from_secs(2);
        for failures in 0..100 {
            let pause = pause(failures, longest);
            assert!(pause >= MIN_PAUSE / 2 && pause <= longest, "{pause:?}");
        }
        assert!(pause(50, longest) >= longest / 2);
        let some: std::collections::BTreeSet<_> = (0..20).map(|_| pause(6, longest)).collect();
        assert!(some.len() > 1);
    }
}
