//! The properties of names of nodes.

use std::time::Duration;

use crate::StoreFactory;
use store::Error;

/// The name is free again when the claim is dropped; other names do not matter.
pub async fn a_name_is_held_by_one_claim_at_a_time<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let north = store.claim_node("north").await.expect("free");
    let south = store.claim_node("south").await.expect("free");
    let taken = store.claim_node("north").await.expect_err("taken");
    assert_eq!(taken, Error::NodeTaken("north".to_owned()));
    assert!(taken.to_string().contains("`north`"), "{taken}");
    let asked = ["south", "west", "north"].map(str::to_owned).to_vec();
    let mut claimed = store.claimed_nodes(asked).await.expect("answers");
    claimed.sort();
    assert_eq!(claimed, ["north", "south"]);
    drop(north);
    let again = store.claim_node("north").await.expect("free again");
    drop((again, south));
    // The server may need a moment to see that the holder of the claims is gone.
    let free = async {
        let both = || ["south", "north"].map(str::to_owned).to_vec();
        while store.claimed_nodes(both()).await != Ok(Vec::new()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let free = tokio::time::timeout(Duration::from_secs(60), free).await;
    assert!(free.is_ok(), "they end with their claims");
}
