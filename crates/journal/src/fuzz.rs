//! The reader under arbitrary bytes.

use std::path::Path;
use std::sync::Arc;

use crate::dead_lane::DeadLane;
use crate::marks;

/// Reads `data` as a dead lane of two segments, cut where its first byte says, and as a table of marks. Must never
/// panic, hang, or deliver a close number twice.
pub fn fuzz_reader(data: &[u8]) {
    let (cut, bytes) = data.split_first().map_or((0, data), |(cut, bytes)| (usize::from(*cut), bytes));
    let (first, second) = bytes.split_at(bytes.len() * cut / 255);
    for boot in [0, 1] {
        let Ok(lane) = DeadLane::in_memory(0, boot, &[first, second]) else { continue };
        let lane = Arc::new(lane);
        for from in [0, 3, u64::MAX] {
            read(&lane, from);
        }
    }
    let _ = marks::parse(bytes, Path::new(""), 0);
}

fn read(lane: &Arc<DeadLane>, from: u64) {
    let Ok(mut reader) = Arc::clone(lane).reader_from(from) else { return };
    let mut last = reader.closed();
    while let Ok(Some(_)) = reader.next() {
        assert!(reader.closed() >= last, "close numbers go back");
        last = reader.closed();
    }
    let _ = reader.torn();
}
