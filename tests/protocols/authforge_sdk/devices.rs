//! Devices whose ids change, as all did with version 2.0 of the SDKs.

use serde_json::json;
use testkit::assert_eventually;

use super::sdk::{Sdk, of_both};
use super::seller::Seller;

of_both! {
    a_device_with_a_new_id_takes_the_place_of_the_old_one_once;
    a_reset_of_one_license_or_of_all_lets_new_devices_in;
}

fn a_device_with_a_new_id_takes_the_place_of_the_old_one_once<S: Sdk>() {
    let seller = Seller::with(&["rebind = \"once\""]);
    let license = seller.license(&["--device-slots", "1"]);
    let mut installation = seller.installed("version-1-id");
    installation.heartbeats = true;
    let mut old = S::start(&installation);
    old.login(&license.key).expect("it may");
    let mut new = S::start(&seller.installed("version-2-id"));
    assert_eq!(new.login(&license.key).expect("it may")["hwidCount"], 1);
    assert_eq!(seller.devices(&license), ["version-2-id"]);
    assert_eventually!(!old.told().is_empty());
    assert_eq!(old.told(), ["hwid_mismatch"]);
    assert!(!old.is_authenticated());
    assert_eq!(old.login(&license.key), Err("hwid_mismatch".into()));
    let mut third = S::start(&seller.installed("somebody-else"));
    assert_eq!(third.login(&license.key), Err("hwid_mismatch".into()));
    new.validate(&license.key).expect("it has the place");
}

fn a_reset_of_one_license_or_of_all_lets_new_devices_in<S: Sdk>() {
    let seller = Seller::start();
    let licenses = [(); 3].map(|()| seller.license(&["--device-slots", "1"]));
    let mut old = S::start(&seller.installed("version-1-id"));
    let mut new = S::start(&seller.installed("version-2-id"));
    for license in &licenses {
        old.validate(&license.key).expect("it may");
        assert_eq!(new.validate(&license.key), Err("hwid_mismatch".into()));
    }
    seller.put(&licenses[0], "reset-hwid");
    new.validate(&licenses[0].key).expect("its place is free");
    assert_eq!(new.validate(&licenses[1].key), Err("hwid_mismatch".into()));
    let path = format!("/v1/apps/{}/reset-hwid", seller.app_id);
    let reset = seller.does("POST", &path, None);
    assert_eq!(reset["licensesReset"], json!(3), "{reset}");
    for license in &licenses {
        new.validate(&license.key).expect("its place is free");
    }
}
