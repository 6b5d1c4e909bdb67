//! The rights of management keys, by which two are compared: nobody makes a key that can do more
//! than their own.

use ipnet::IpNet;
use licensing::ManagementKeyRequest;
use model::{AccountName, AppName, LicenseId, Scope, Timestamp};
use store::ManagementKey;

use crate::http::caller::Caller;
use crate::http::problem::{Code, Problem};

/// The rights of a key.
pub(super) struct Rights<'a> {
    account: &'a AccountName,
    app: Option<&'a AppName>,
    license: Option<LicenseId>,
    /// Whether the tokens of the key open the gate, on a license that is named or made for them.
    opens_gate: bool,
    held: Vec<Scope>,
    expires_at: Option<Timestamp>,
    /// The networks from which the key may be used; empty for everywhere.
    allow_ips: &'a [IpNet],
}

impl<'a> Rights<'a> {
    pub(super) fn of_request(request: &'a ManagementKeyRequest) -> Self {
        Self {
            account: &request.account,
            app: request.app.as_ref(),
            license: request.license_id,
            opens_gate: request.pair && (request.app.is_some() || request.license_id.is_some()),
            held: Scope::held(&request.scopes, request.license_id.is_some()),
            expires_at: request.expires_at,
            allow_ips: &request.allow_ips,
        }
    }

    pub(super) fn of_key(key: &'a ManagementKey) -> Self {
        Self {
            account: &key.account,
            app: key.app.as_ref(),
            license: key.license_id,
            opens_gate: key.draws_on.is_some(),
            held: key.held(),
            expires_at: key.expires_at,
            allow_ips: &key.allow_ips,
        }
    }

    /// Returns the same rights from other networks.
    pub(super) const fn from(mut self, allow_ips: &'a [IpNet]) -> Self {
        self.allow_ips = allow_ips;
        self
    }
}

/// Returns whether the caller may do all that these rights allow, from the same networks and for as
/// long.
pub(super) fn covers(caller: &Caller, rights: &Rights<'_>) -> bool {
    let Some(own) = caller.key() else {
        return true;
    };
    let held = own.held();
    let within = |other: &IpNet| own.allow_ips.iter().any(|net| net.contains(other));
    let addresses = own.allow_ips.is_empty()
        || !rights.allow_ips.is_empty() && rights.allow_ips.iter().all(within);
    own.account == *rights.account
        && own.app.as_ref().is_none_or(|app| rights.app == Some(app))
        && own
            .license_id
            .is_none_or(|license| rights.license == Some(license))
        && rights.held.iter().all(|scope| held.contains(scope))
        // Making such a key makes a license, or one more key to a license.
        && (!rights.opens_gate || held.contains(&Scope::WriteLicenses))
        && addresses
        && own
            .expires_at
            .is_none_or(|end| rights.expires_at.is_some_and(|other| other <= end))
}

/// Returns the scopes of a key that is asked for without any, by the holder of another: those of
/// that one, as far as a key for one license can have them.
pub(super) fn inherited(own: &ManagementKey, of_one_license: bool) -> Result<Vec<String>, Problem> {
    if !of_one_license {
        return Ok(own.scopes.clone());
    }
    let held = Scope::held(&own.scopes, true);
    if held.is_empty() {
        let detail = "a key for one license only reads, and the key that asks may read nothing";
        return Err(Problem::new(Code::ScopeMissing, detail));
    }
    Ok(held.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ManagementKeyId;
    use std::sync::Arc;

    fn key(app: Option<&str>, scopes: &[&str], expires_at: Option<i64>) -> ManagementKey {
        ManagementKey {
            id: ManagementKeyId::from_u128(1),
            account: AccountName::default(),
            app: app.map(|app| app.parse().expect("valid")),
            license_id: None,
            draws_on: None,
            name: None,
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            allow_ips: vec![],
            prefix: String::new(),
            created_at: Timestamp::default(),
            expires_at: expires_at.map(Timestamp::from_micros),
            revoked_at: None,
        }
    }

    #[test]
    fn no_key_makes_one_that_can_do_more() {
        let covers = |own: &ManagementKey, other: &ManagementKey| {
            covers(&Caller::Key(Arc::new(own.clone())), &Rights::of_key(other))
        };
        let all = key(None, &[], None);
        let narrow = key(Some("api"), &["read:usage"], Some(10));
        assert!(covers(&all, &narrow) && covers(&narrow, &narrow));
        assert!(!covers(&narrow, &all));
        assert!(!covers(
            &narrow,
            &key(Some("shop"), &["read:usage"], Some(10))
        ));
        assert!(!covers(&narrow, &key(Some("api"), &[], Some(10))));
        assert!(!covers(
            &narrow,
            &key(Some("api"), &["read:calls"], Some(10))
        ));
        assert!(!covers(
            &narrow,
            &key(Some("api"), &["read:usage"], Some(11))
        ));
        assert!(!covers(&narrow, &key(Some("api"), &["read:usage"], None)));
        let other = ManagementKey {
            account: "other".parse().expect("valid"),
            ..all.clone()
        };
        assert!(!covers(&all, &other));
        let maker = key(None, &["write:keys", "read:usage"], None);
        let pair = ManagementKey {
            draws_on: Some(LicenseId::from_u128(1)),
            ..key(Some("api"), &["read:usage"], None)
        };
        assert!(covers(&all, &pair) && !covers(&maker, &pair));
        let makes_licenses = key(None, &["write:licenses", "read:usage"], None);
        assert!(covers(&makes_licenses, &pair));
    }
}
