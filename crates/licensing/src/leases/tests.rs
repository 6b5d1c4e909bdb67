//! The task with a store and a meter, without the rest of licensing.

use std::sync::Arc;

use model::{Clock, Refusal, Timestamp};
use store::{Change, ChangeNumber};

use super::LeaseTask;
use crate::testing::{Disk, Memory, counted, eventually_async};

fn start(memory: &Memory, disk: &Disk) -> tokio::task::JoinHandle<()> {
    let (store, clock) = (disk.store.clone(), memory.clock.clone());
    let task = LeaseTask::new(store, disk.instance, clock, memory.queues.clone());
    tokio::spawn(async move { Arc::new(task).run().await })
}

#[tokio::test]
async fn a_waiting_call_gets_units_of_the_balance_and_a_change_sends_the_unused_ones_back() {
    let memory = Memory::new(false);
    let disk = Disk::new(&memory.clock).await;
    disk.create("a", &counted(10)).await;
    let license = memory.fill("a", &counted(10), 1).expect("it is filled");
    let task = start(&memory, &disk);
    let taken = license.acquire(&memory.ask(3)).await.expect("10 are left");
    license.settle(taken, 2);
    assert!(license.acquire(&memory.ask(9)).await.is_err(), "8 are left");
    let change = Change {
        number: ChangeNumber(2),
        license_id: license.state().id(),
        added: None,
        at: Timestamp::from_micros(0),
    };
    memory.cache.apply(&change);
    let (store, id) = (&disk.store, license.state().id());
    eventually_async("the units are back", async || {
        let balance = store.balance(id, memory.clock.now()).await;
        let balance = balance.expect("the store answers").expect("it is counted");
        // What was spent is reported with the records of calls, so it stays leased here.
        balance.leased == 2
    })
    .await;
    task.abort();
}

#[tokio::test]
async fn a_license_without_a_balance_in_the_store_is_answered_that_nothing_is_left() {
    let memory = Memory::new(false);
    let disk = Disk::new(&memory.clock).await;
    let license = memory.fill("a", &counted(10), 1).expect("it is filled");
    let task = start(&memory, &disk);
    let refused = license.acquire(&memory.ask(1)).await.unwrap_err();
    assert_eq!(refused.refusal, Refusal::QuotaExhausted);
    task.abort();
}
