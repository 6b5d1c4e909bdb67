//! Licenses, credentials and changes.

use model::Limits;

use super::StoreFactory;
use super::fixtures::{new_credential, new_license};

/// Look-ups find what was kept, before and after the store was opened again.
pub async fn a_license_is_found_by_its_id_and_by_each_of_its_keys<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut new = new_license(Limits::default());
    new.credentials.push(new_credential());
    let version = store.create_licenses(vec![new.clone()]).await.expect("new");
    drop(store);
    let store = place.open().await;
    let stored = store.license(new.license.id).await.expect("answered");
    let stored = stored.expect("it is there");
    assert_eq!(stored.license, new.license);
    assert_eq!(stored.version, version);
    for credential in &new.credentials {
        let found = store
            .license_by_key(credential.hash)
            .await
            .expect("answered");
        let found = found.expect("it is there");
        assert_eq!(*found.license, new.license);
        assert_eq!(found.credential, credential.info);
        assert_eq!(found.version, version);
    }
}
