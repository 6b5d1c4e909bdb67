//! Snapshots by name, of which a newer is never replaced by an older.

use std::sync::LazyLock;

use licensing::fleet::{Fill, FleetAway};
use redis::{Script, cmd};

use crate::circuit::Circuit;

/// Keeps a value unless one is there that is as new: ranks are digits, so that they compare in every locale.
static PUT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local old = redis.pcall('GET', KEYS[1])
         local rank = tonumber(ARGV[2])
         if type(old) == 'string' and old ~= ARGV[4]
             and string.sub(old, 1, rank) >= string.sub(ARGV[1], 1, rank) then
             return 0
         end
         redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
         return 1",
    )
});

/// The key of a name. What stands in braces is what a Cluster spreads keys by.
pub(crate) fn key(namespace: &str, name: &str) -> String {
    format!("tg:{namespace}:{{{name}}}:snapshot")
}

pub(crate) async fn get(circuit: &Circuit, key: &str) -> Result<Option<Vec<u8>>, FleetAway> {
    circuit.query(cmd("GET").arg(key)).await
}

/// Whether it was kept.
pub(crate) async fn put(circuit: &Circuit, key: &str, fill: &Fill) -> Result<bool, FleetAway> {
    let keep = u64::try_from(fill.keep.as_millis()).unwrap_or(u64::MAX);
    let mut script = PUT.prepare_invoke();
    script
        .key(key)
        .arg(&fill.value)
        .arg(Fill::RANK)
        .arg(keep.clamp(1, 1 << 40))
        .arg(fill.refused.as_deref().unwrap_or_default());
    circuit.invoke(&script).await
}
