//! Counts of limits: each gate writes its own and reads the sum of those of the others.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use licensing::fleet::{Counted, CounterReport, FleetAway, PeerCounts};
use redis::Script;

use crate::circuit::Circuit;

/// The script that stores the counts of one gate and reads those of the others. A count is a field
/// of its gate, with the time until which it counts by the server's clock, so that the counts of a
/// gate that is gone end by themselves. Returns for each key the sum of the others and the
/// milliseconds that the last of them has left.
static EXCHANGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')
         local now = time[1] * 1000 + math.floor(time[2] / 1000)
         local told = {}
         for i, key in ipairs(KEYS) do
             local own, left = ARGV[2 * i], tonumber(ARGV[2 * i + 1])
             local all = redis.pcall('HGETALL', key)
             if all.err then
                 redis.call('DEL', key)
                 all = {}
             end
             if own == '0' then
                 redis.call('HDEL', key, ARGV[1])
             else
                 redis.call('HSET', key, ARGV[1], string.format('%s:%.0f', own, now + left))
                 if redis.call('PTTL', key) < left then
                     redis.call('PEXPIRE', key, left)
                 end
             end
             local sum, last = 0, now
             for j = 1, #all, 2 do
                 local count, till = string.match(all[j + 1], '^(%d+):(%d+)$')
                 count, till = tonumber(count), tonumber(till)
                 if all[j] ~= ARGV[1] then
                     if till and till > now then
                         sum = sum + count
                         last = math.max(last, till)
                     else
                         redis.call('HDEL', key, all[j])
                     end
                 end
             end
             told[2 * i - 1] = math.min(sum, 4294967295)
             told[2 * i] = math.min(last - now, 4294967295)
         end
         return told",
    )
});

/// The number of buckets of keys. The keys of a bucket lie on one node of a Cluster, so that one
/// command serves many.
const BUCKETS: u128 = 16;

/// The number of keys of one command, so that no command holds up the server.
const BATCH_SIZE: usize = 128;

/// The longest time that a count is kept. No window is longer, but a clock may be wrong.
const MAX_TTL: Duration = Duration::from_secs(400 * 86_400);

/// Stores what `gate` counted and returns what the others did, in the order of `reports`. Sends one
/// command for each bucket and [`BATCH_SIZE`] keys.
pub(crate) async fn exchange(
    circuit: &Circuit,
    namespace: &str,
    gate: &str,
    reports: &[CounterReport],
) -> Result<Vec<PeerCounts>, FleetAway> {
    let mut buckets: HashMap<u128, Vec<usize>> = HashMap::new();
    for (at, report) in reports.iter().enumerate() {
        buckets.entry(bucket(report)).or_default().push(at);
    }
    let mut others = vec![PeerCounts::default(); reports.len()];
    for places in buckets
        .values()
        .flat_map(|places| places.chunks(BATCH_SIZE))
    {
        let mut script = EXCHANGE.prepare_invoke();
        script.arg(gate);
        for report in places.iter().map(|at| &reports[*at]) {
            let left = u64::try_from(report.left.min(MAX_TTL).as_millis()).unwrap_or(u64::MAX);
            // Rounded up, so that nothing ends too soon.
            script
                .key(key(namespace, report))
                .arg(report.own)
                .arg(left + 1);
        }
        let told: Vec<u32> = circuit.invoke(&script).await?;
        for (at, told) in places.iter().zip(told.chunks_exact(2)) {
            others[*at] = PeerCounts {
                count: told[0],
                left: Duration::from_millis(told[1].into()),
            };
        }
    }
    Ok(others)
}

fn bucket(report: &CounterReport) -> u128 {
    report.license_id.as_u128() % BUCKETS
}

/// Returns the key of a count. A Cluster spreads keys by the part in braces.
fn key(namespace: &str, report: &CounterReport) -> String {
    let (bucket, license) = (bucket(report), report.license_id.as_u128());
    let what = match report.counted {
        Counted::Window { seconds, period } => format!("{seconds}:{period}"),
        Counted::Idle { seconds } => format!("{seconds}:idle"),
        Counted::InFlight => "underway".to_owned(),
    };
    format!("tg:{namespace}:{{{bucket}}}:{license:032x}:{what}")
}
