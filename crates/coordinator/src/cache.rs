//! The cache of snapshots by name. A newer snapshot is never replaced by an older one.

use std::sync::LazyLock;

use licensing::fleet::{Fill, FleetAway};
use redis::{Script, cmd};

use crate::circuit::Circuit;

/// The script that keeps a value unless the present one is as new. Ranks are digits, so that they
/// compare alike in every locale.
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

/// Returns the key of a name. A Cluster spreads keys by the part in braces.
pub(crate) fn key(namespace: &str, name: &str) -> String {
    format!("tg:{namespace}:{{{name}}}:snapshot")
}

pub(crate) async fn get(circuit: &Circuit, key: &str) -> Result<Option<Vec<u8>>, FleetAway> {
    circuit.query(cmd("GET").arg(key)).await
}

/// Stores a fill. Returns whether it was kept.
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
