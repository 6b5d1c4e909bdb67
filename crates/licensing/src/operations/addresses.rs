//! The networks from which management keys may be used, which are a feature of plans.

use ipnet::IpNet;
use model::{Address, ManagementKeyId, PlanRevision};
use store::{AuditEntries, Changed, ManagementKey};

use super::acting::AuditedLicensing;
use super::management::ManagementKeyRequest;
use super::validate;
use crate::error::Error;
use crate::licensing::Licensing;

/// The feature by which a plan that names features grants lists of networks.
pub const ADDRESSES_FEATURE: &str = "ip_allow_list";

/// Returns whether a management key may be used from an address. A list exempts nobody, loopback
/// included; if no address is known, a list refuses. An IPv4 address that came mapped into IPv6 is
/// judged as an IPv4 address.
#[must_use]
pub fn may_use_from(key: &ManagementKey, address: Option<Address>) -> bool {
    key.allow_ips.is_empty() || address.is_some_and(|address| address.is_in(&key.allow_ips))
}

impl AuditedLicensing {
    /// Sets the networks from which a management key may be used; empty: all. They are in force
    /// here when this returns, for access tokens of the key too.
    ///
    /// # Errors
    /// There is no such key, its plan does not grant lists of addresses, the list is too long, or
    /// the store fails.
    pub async fn set_management_key_addresses(
        &self,
        id: ManagementKeyId,
        allow_ips: Vec<IpNet>,
    ) -> Result<ManagementKey, Error> {
        validate::entries("allow_ips", allow_ips.len())?;
        let unknown = || Error::ManagementKeyUnknown(id);
        let key = self.store.management_key(id).await?.ok_or_else(unknown)?;
        let demand = ManagementKeyRequest {
            account: key.account,
            app: key.app,
            license_id: key.license_id,
            allow_ips: allow_ips.clone(),
            ..ManagementKeyRequest::default()
        };
        self.may_have_addresses(&demand).await?;
        let audit_writer = self.own_audit_writer();
        let entries =
            AuditEntries::from_result(move |Changed { before, after }: &Changed<ManagementKey>| {
                let line = audit_writer.line("key.change", after.id).of(&after.account);
                vec![line.between(Some(before), Some(after))]
            });
        let changed = self.store.set_key_allow_ips(id, allow_ips, entries).await?;
        self.invalidate_management_keys();
        self.changes.learn_now().await;
        changed.ok_or_else(unknown)
    }
}

impl Licensing {
    /// Refuses a list of addresses that the plan of the key's license or app does not grant. A plan
    /// that names no feature restricts nothing.
    pub(super) async fn may_have_addresses(
        &self,
        request: &ManagementKeyRequest,
    ) -> Result<(), Error> {
        if request.allow_ips.is_empty() {
            return Ok(());
        }
        let plans = self.plans();
        let plan = match (request.license_id, &request.app) {
            (Some(id), _) => {
                let license = self.license(id).await?.license;
                plans.plan_of(&license.app, license.spec.plan.as_ref())
            }
            (None, Some(app)) => plans.plan_of(app, None),
            (None, None) => None,
        };
        match plan {
            Some(revision) if !grants_addresses(revision) => {
                let plan = &revision.plan.name;
                let reason = format!(
                    "plan `{plan}` does not grant it: add `{ADDRESSES_FEATURE}` to its features"
                );
                Err(Error::invalid("allow_ips", reason))
            }
            _ => Ok(()),
        }
    }
}

fn grants_addresses(revision: &PlanRevision) -> bool {
    let features = &revision.plan.features;
    features.is_empty() || features.iter().any(|feature| feature == ADDRESSES_FEATURE)
}
