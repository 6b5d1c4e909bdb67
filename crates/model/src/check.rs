//! The ordered check of a license, the same for every mode of a call.

use crate::address::Address;
use crate::agent::CallingAgent;
use crate::license::{License, LicenseStatus};
use crate::outcome::Method;
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// The facts of a call that the check needs besides the license.
#[derive(Clone, Copy, Debug)]
pub struct CallFacts<'a> {
    /// The time of the call.
    pub now: Timestamp,
    /// The caller's address; `None` where no address is known, which a license with allowed
    /// networks refuses.
    pub address: Option<Address>,
    /// The method and the normalised path; `None` where a license is checked without a call.
    pub target: Option<(Method, &'a str)>,
    /// The features that the license must have, by its plan or its variables.
    pub features: &'a [String],
    /// The agent that calls; `None`: none that is known. The token of an agent opens nothing for
    /// anybody else.
    pub agent: Option<CallingAgent<'a>>,
}

/// Checks whether a license is enabled, not revoked and not expired, whatever the call.
///
/// # Errors
/// The first rule that refuses.
pub fn standing(license: &License, now: Timestamp) -> Result<(), Refusal> {
    match license.status {
        LicenseStatus::Active => {}
        LicenseStatus::Disabled => return Err(Refusal::LicenseDisabled),
        LicenseStatus::Revoked => return Err(Refusal::LicenseRevoked),
    }
    match license.spec.expires_at {
        Some(end) if end <= now => Err(Refusal::LicenseExpired),
        _ => Ok(()),
    }
}

/// Checks whether a license admits this call, apart from rate limits and quota, which are taken
/// after it.
///
/// The order is fixed: the agent that it was given to, enabled, revoked, expired, address,
/// permission.
///
/// # Errors
/// The first rule that refuses.
pub fn check(license: &License, facts: &CallFacts<'_>) -> Result<(), Refusal> {
    if let Some(whose) = &license.spec.agent
        && !facts.agent.is_some_and(|agent| whose.covers(agent))
    {
        return Err(Refusal::LicenseUnknown);
    }
    standing(license, facts.now)?;
    let allowed = |address: Address| address.is_in(&license.spec.allow_ips);
    if !license.spec.allow_ips.is_empty() && !facts.address.is_some_and(allowed) {
        return Err(Refusal::IpNotAllowed);
    }
    match facts.target {
        Some((method, path)) if !license.spec.permissions.is_empty() => {
            let covered = license
                .spec
                .permissions
                .iter()
                .any(|leave| leave.covers(method, path));
            if covered {
                Ok(())
            } else {
                Err(Refusal::RouteNotPermitted)
            }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountName, LicenseId, LicenseSpec};

    fn license() -> License {
        License {
            id: LicenseId::from_u128(1),
            account: AccountName::default(),
            app: "api".parse().expect("valid"),
            status: LicenseStatus::Active,
            created_at: Timestamp::default(),
            spec: LicenseSpec::default(),
        }
    }

    fn facts() -> CallFacts<'static> {
        CallFacts {
            now: Timestamp::from_micros(10),
            address: Some("10.0.0.7".parse().expect("valid")),
            target: Some((Method::Get, "/a")),
            features: &[],
            agent: None,
        }
    }

    #[test]
    fn the_first_rule_that_refuses_wins() {
        let mut license = license();
        assert_eq!(check(&license, &facts()), Ok(()));
        license.spec.permissions = vec!["POST /a".parse().expect("valid")];
        assert_eq!(check(&license, &facts()), Err(Refusal::RouteNotPermitted));
        license.spec.allow_ips = vec!["192.168.0.0/16".parse().expect("valid")];
        assert_eq!(check(&license, &facts()), Err(Refusal::IpNotAllowed));
        license.spec.expires_at = Some(Timestamp::from_micros(10));
        assert_eq!(check(&license, &facts()), Err(Refusal::LicenseExpired));
        license.status = LicenseStatus::Revoked;
        assert_eq!(check(&license, &facts()), Err(Refusal::LicenseRevoked));
    }

    #[test]
    fn the_token_of_an_agent_is_unknown_to_all_others() {
        let mut license = license();
        license.status = LicenseStatus::Disabled;
        let whose = r#"{"operator":"OpenAI","agent":"GPTBot"}"#;
        license.spec.agent = Some(serde_json::from_str(whose).expect("valid"));
        let (operator, agent) = (
            "openai".parse().expect("valid"),
            "gptbot".parse().expect("valid"),
        );
        let by = |agent| {
            let facts = CallFacts { agent, ..facts() };
            check(&license, &facts).expect_err("it is disabled")
        };
        let calling = |agent| CallingAgent {
            operator: &operator,
            agent,
        };
        assert_eq!(by(None), Refusal::LicenseUnknown);
        assert_eq!(by(Some(calling(None))), Refusal::LicenseUnknown);
        assert_eq!(by(Some(calling(Some(&agent)))), Refusal::LicenseDisabled);
    }

    #[test]
    fn an_allow_list_judges_mapped_addresses_as_what_they_are_and_unknown_ones_not_at_all() {
        let mut license = license();
        license.spec.allow_ips = vec!["10.0.0.0/24".parse().expect("valid")];
        let mapped = Some("::ffff:10.0.0.9".parse().expect("valid"));
        assert_eq!(
            check(
                &license,
                &CallFacts {
                    address: mapped,
                    ..facts()
                }
            ),
            Ok(())
        );
        let unknown = CallFacts {
            address: None,
            ..facts()
        };
        assert_eq!(check(&license, &unknown), Err(Refusal::IpNotAllowed));
    }
}
