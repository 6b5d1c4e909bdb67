//! What a record costs: `cargo bench -p journal --bench cost [-- DIRECTORY]`.

use std::error::Error;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use journal::{Journal, Options, Sync};

const CALLS: u64 = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo itself passes `--bench`.
    let directory = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"))
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join("journal-cost");
    for sync in [Sync::Process, Sync::Disk] {
        measure(&directory, sync)?;
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// Runs one future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

fn measure(directory: &std::path::Path, sync: Sync) -> Result<(), Box<dyn Error>> {
    let mut options = Options::new(directory, sync as u128 + u128::from(std::process::id()), 1);
    options.sync = sync;
    // One segment for all of it: what is measured is the writing, not the disk's speed at preparing files.
    options.segment_bytes = 256 << 20;
    let journal = Journal::create(options)?;
    let lane = journal.lane(0);
    let head = [7; 160];
    let tail = [9; 96];

    for round in 0..3 {
        let start = Instant::now();
        for _ in 0..CALLS {
            let mut space = lane.reserve(256, 2)?;
            let opened = lane.open(&mut space, &head);
            lane.close(space, opened.sequence, &tail);
        }
        let each = start.elapsed().as_nanos() as u64 / CALLS;
        println!("{sync:?} round {round}: reserve + open + close {each} ns");
    }

    let start = Instant::now();
    let mut marked = 0_u64;
    for _ in 0..CALLS {
        if let Some(slot) = journal.mark(&head) {
            slot.clear();
            marked += 1;
        }
    }
    println!(
        "{sync:?}: mark + clear {} ns",
        start.elapsed().as_nanos() as u64 / marked.max(1)
    );

    for crowd in [1, 64] {
        let start = Instant::now();
        let rounds = 1_000;
        for _ in 0..rounds {
            let mut last = lane.written();
            for _ in 0..crowd {
                last = lane.single(lane.reserve(256, 1)?, &head).position;
            }
            block_on(lane.wait_durable(last))?;
        }
        let each = start.elapsed().as_micros() as u64 / rounds;
        println!("{sync:?}: commit of {crowd} records, one waiter {each} µs");
    }

    journal.shutdown();
    for round in 0..2 {
        let mut reader = lane.reader_from(0)?;
        let start = Instant::now();
        let mut frames = 0_u64;
        while reader.next()?.is_some() {
            frames += 1;
        }
        println!(
            "{sync:?} round {round}: read {} ns a frame",
            start.elapsed().as_nanos() as u64 / frames.max(1)
        );
    }
    Ok(())
}
