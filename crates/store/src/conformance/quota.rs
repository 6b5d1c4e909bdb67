//! Balances, leases and refills.

use model::InstanceId;

use super::StoreFactory;
use super::fixtures::{hours, keep, lease, units};

/// Each lease takes from what the ones before it left.
pub async fn a_balance_is_leased_until_nothing_is_left<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let license = keep(&*store, units(10, None)).await;
    let instance = InstanceId::generate();
    let grants = [
        lease(&*store, instance, license, 4, hours(0)).await,
        lease(&*store, instance, license, 9, hours(0)).await,
        lease(&*store, instance, license, 1, hours(0)).await,
    ];
    assert_eq!(
        grants.map(|grant| (grant.units, grant.left)),
        [(4, 6), (6, 0), (0, 0)]
    );
}
