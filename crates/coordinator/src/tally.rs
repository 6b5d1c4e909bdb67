//! Counts of limits: each gate writes its own and reads the sum of the others'.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use licensing::fleet::{Counted, CounterReport, FleetAway, PeerCounts};
use redis::Script;

use crate::circuit::Circuit;

/// A count is a field of its gate, with the time until which it counts, by the server's clock, so that those of a gate that
/// is gone end by themselves. Returns for each key the sum of the others and the milliseconds that the last of them has left.
static TELL: LazyLock<Script> = LazyLock::new(|| {
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

/// Keys of a bucket lie on one node of a Cluster, so that one command serves many.
const BUCKETS: u128 = 16;

/// Keys of one command, so that none holds the server up.
const BATCH_SIZE: usize = 128;

/// The longest that a count is kept: no window is longer, but a clock may be wrong.
const MAX_TTL: Duration = Duration::from_secs(400 * 86_400);

/// Tells what `gate` counted, in as few commands as there are, and returns what the others did.
pub(crate) async fn tell(
    circuit: &Circuit,
    namespace: &str,
    gate: &str,
    tallies: &[CounterReport],
) -> Result<Vec<PeerCounts>, FleetAway> {
    let mut buckets: HashMap<u128, Vec<usize>> = HashMap::new();
    for (at, tally) in tallies.iter().enumerate() {
        buckets.entry(bucket(tally)).or_default().push(at);
    }
    let mut others = vec![PeerCounts::default(); tallies.len()];
    for places in buckets
        .values()
        .flat_map(|places| places.chunks(BATCH_SIZE))
    {
        let mut script = TELL.prepare_invoke();
        script.arg(gate);
        for tally in places.iter().map(|at| &tallies[*at]) {
            let left = u64::try_from(tally.left.min(MAX_TTL).as_millis()).unwrap_or(u64::MAX);
            // Rounded up, so that nothing ends too soon.
            script
                .key(key(namespace, tally))
                .arg(tally.own)
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

fn bucket(tally: &CounterReport) -> u128 {
    tally.license_id.as_u128() % BUCKETS
}

/// What stands in braces is what a Cluster spreads keys by.
fn key(namespace: &str, tally: &CounterReport) -> String {
    let (bucket, license) = (bucket(tally), tally.license_id.as_u128());
    let what = match tally.counted {
        Counted::Window { seconds, period } => format!("{seconds}:{period}"),
        Counted::Idle { seconds } => format!("{seconds}:idle"),
        Counted::InFlight => "underway".to_owned(),
    };
    format!("tg:{namespace}:{{{bucket}}}:{license:032x}:{what}")
}
