//! The entry point of fuzzing: the reader over arbitrary bytes.

use std::path::Path;
use std::sync::Arc;

use crate::dead_lane::DeadLane;
use crate::marks;

/// Reads `data` as a dead lane of two segments, cut where its first byte says, and as a table of
/// marks. It must never panic, hang, or deliver a close number twice.
pub fn fuzz_reader(data: &[u8]) {
    let (cut, bytes) = data
        .split_first()
        .map_or((0, data), |(cut, bytes)| (usize::from(*cut), bytes));
    let (first, second) = bytes.split_at(bytes.len() * cut.min(254) / 254);
    for boot in [0, 1] {
        let Ok(lane) = DeadLane::in_memory(0, boot, &[first, second]) else {
            continue;
        };
        let lane = Arc::new(lane);
        for from in [0, 3, u64::MAX] {
            read(&lane, from);
        }
    }
    let _ = marks::parse(bytes, Path::new(""), 0);
}

fn read(lane: &Arc<DeadLane>, from: u64) {
    let Ok(mut reader) = Arc::clone(lane).reader_from(from) else {
        return;
    };
    let mut last = reader.closed();
    while let Ok(Some(_)) = reader.next() {
        assert!(reader.closed() >= last, "close numbers go back");
        last = reader.closed();
    }
    let _ = reader.torn();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Journal, Options, Sync};

    /// Two segments of a real journal behind a byte that says where to cut.
    fn real_segments() -> Vec<u8> {
        let home = tempfile::tempdir().unwrap();
        let mut options = Options::new(home.path(), 0, 1);
        options.segment_bytes = 64 << 10;
        options.mark_slots = 1;
        options.sync = Sync::Process;
        let journal = Journal::create(options).unwrap();
        let lane = journal.lane(0);
        lane.define(5, b"five").unwrap();
        let mut long = lane.reserve(100, 2).unwrap();
        lane.open(&mut long, b"long");
        while lane.segment(1).is_none() {
            let mut space = lane.reserve(900, 2).unwrap();
            let opened = lane.open(&mut space, &[3; 700]);
            lane.close(space, opened.sequence, b"end");
        }
        let directory = journal.directory();
        let read =
            |number| std::fs::read(crate::files::segment_path(directory, 0, number)).unwrap();
        let mut data = vec![127];
        data.extend(read(0));
        data.extend(read(1));
        data
    }

    #[test]
    fn mutated_segments_never_panic_the_reader() {
        let whole = real_segments();
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        for round in 0..150 {
            let mut data = whole.clone();
            for _ in 0..=random(6) {
                // Half of the changes near the heads, where they do most.
                let at = if random(2) == 0 {
                    1 + random(400)
                } else {
                    random(data.len())
                };
                match random(4) {
                    0 => data[at] = random(256) as u8,
                    1 => data[at] ^= 1 << random(8),
                    2 => data.truncate(at.max(1)),
                    _ => {
                        let from = random(data.len());
                        let some = random(64).min(data.len() - from.max(at));
                        data.copy_within(from..from + some, at);
                    }
                }
                if data.len() < 500 {
                    break;
                }
            }
            data[0] = [0, 127, 255][round % 3];
            fuzz_reader(&data);
        }
        fuzz_reader(b"");
        fuzz_reader(&whole);
    }
}
