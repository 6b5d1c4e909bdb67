//! Names of nodes.

use super::StoreFactory;
use crate::Error;

/// It is free again when the claim is dropped; other names do not matter.
pub async fn a_name_is_held_by_one_claim_at_a_time<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let north = store.claim_node("north").await.expect("free");
    let south = store.claim_node("south").await.expect("free");
    let taken = store.claim_node("north").await.expect_err("taken");
    assert_eq!(taken, Error::NodeTaken("north".to_owned()));
    assert!(taken.to_string().contains("`north`"), "{taken}");
    drop(north);
    let again = store.claim_node("north").await.expect("free again");
    drop((again, south));
}
