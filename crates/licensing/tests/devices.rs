//! Devices that licenses are bound to, as the gates know them.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use licensing::{Error, IssueRequest};
use model::{Actor, Clock, LicenseSpec, LicenseStatus};
use store::{AuditEntries, AuditFilter, Binding, LicenseStore, ManagementStore, NewDevice};
use support::{World, app, hash_of};
use testkit::eventually::eventually_async;

#[tokio::test]
async fn what_another_gate_bound_is_known_here_and_freed_with_a_line_in_the_audit_log() {
    let world = World::new().await;
    let operator = world.licensing.acting(Actor::OPERATOR);
    let request = IssueRequest {
        spec: LicenseSpec {
            device_slots: Some(2),
            ..LicenseSpec::default()
        },
        ..IssueRequest::for_app(app())
    };
    let issued = operator.issue(request).await.unwrap().remove(0);
    let id = issued.license.license.id;
    let hash = hash_of(&issued);
    assert!(world.entry(&hash).await.devices().is_empty());

    let new = NewDevice {
        license_id: id,
        device: "A".parse().unwrap(),
        at: world.now(),
        frees_others_once: false,
    };
    let software = world.store.software().unwrap();
    let bound = software.bind_device(new, AuditEntries::none());
    let (binding, stored) = bound.await.unwrap().unwrap();
    assert_eq!(binding, Binding::Bound);
    let is_known = async || world.entry(&hash).await.devices()[..] == stored.devices;
    eventually_async("the gate knows the device", is_known).await;
    let now = world.clock.since_boot();
    let by_id = world.licensing.admission().license_by_id(id, now);
    assert_eq!(by_id.await.unwrap().unwrap().devices()[..], stored.devices);

    let freed = operator.reset_devices(id).await.unwrap();
    assert_eq!(freed.devices, []);
    assert!(world.entry(&hash).await.devices().is_empty());
    assert_eq!(operator.reset_devices(id).await.unwrap(), freed);
    let filter = AuditFilter {
        action: Some("license.reset_devices".to_owned()),
        ..AuditFilter::default()
    };
    let log = world.store.audit_log().unwrap();
    let lines = log.audit(filter, 0, 10).await.unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let before = lines[0].entry.before.as_ref().unwrap();
    assert_eq!(before["devices"][0]["id"], "A");

    let revoking = operator.set_status(id, LicenseStatus::Revoked);
    revoking.await.unwrap();
    let refused = operator.reset_devices(id).await;
    assert!(matches!(refused, Err(Error::LicenseRevoked(_))));
}
