//! Who calls: the agent that a user agent names, and what its signature shows of it.

use model::agent::Verification;

use crate::known::{KnownAgent, KnownAgents};
use crate::web_bot_auth::Judgement;

/// Returns the agent that calls, and what is known of it. `named` is the one that the user agent
/// names; anybody can write a name there.
///
/// A signature that holds is by the directory of an agent: the name of the user agent stands only if
/// that agent signs with the keys of this directory. Otherwise the agent is the only one that does;
/// of several, and of none, nobody knows which it is, but that it is verified. Without such a
/// signature the name of the user agent stands.
#[must_use]
pub fn identify<'k>(
    known: &'k KnownAgents,
    named: Option<&'k KnownAgent>,
    judgement: &Judgement,
) -> (Option<&'k KnownAgent>, Verification) {
    let Judgement::Verified(verified) = judgement else {
        return (named, judgement.verification());
    };
    let own = named.filter(|agent| agent.directory.as_ref() == Some(&verified.directory));
    let mut signing = known.of_directory(&verified.directory);
    let only = signing.next().filter(|_| signing.next().is_none());
    (own.or(only), Verification::Verified)
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;
    use crate::directory_url::DirectoryUrl;
    use crate::web_bot_auth::{InvalidReason, UnverifiedReason, Verified};

    fn known() -> KnownAgents {
        let agent = |name: &str, verify: &str| {
            format!(
                "[[agent]]\noperator = \"Acme\"\nagent = \"{name}\"\npurpose = \"search\"\n\
                 page = \"https://acme.example/\"\npatterns = [\"{name}\"]\n{verify}\n"
            )
        };
        let signs = |origin: &str| {
            format!("verify = \"signature\"\ndirectory = \"https://{origin}.example\"")
        };
        let text = [
            agent("SoleBot", &signs("sole")),
            agent("OneBot", &signs("pair")),
            agent("TwoBot", &signs("pair")),
            agent("BareBot", "verify = \"none\""),
        ];
        KnownAgents::read("agents.toml", &text.concat()).expect("valid")
    }

    /// Returns the name of the agent, or `-`, and the verification.
    fn who(named: &str, judgement: &Judgement) -> String {
        let known = known();
        let of_name = |agent: &&KnownAgent| agent.agent.as_str() == named;
        let (agent, verification) = identify(&known, known.all().iter().find(of_name), judgement);
        let name = agent.map_or("-", |agent| agent.agent.as_str());
        format!("{name} {verification}")
    }

    fn signed_by(origin: &str) -> Judgement {
        let key = "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";
        Judgement::Verified(Verified {
            directory: DirectoryUrl::of_origin(&format!("https://{origin}.example"))
                .expect("an origin"),
            key: key.parse().expect("a thumbprint"),
            label: "sig1".to_owned(),
            covered: Vec::new(),
            expires_at: Timestamp::from_micros(0),
        })
    }

    #[test]
    fn a_name_stands_beside_a_signature_only_if_it_is_by_the_directory_of_that_name() {
        for (named, origin, expected) in [
            ("SoleBot", "sole", "SoleBot verified"),
            ("OneBot", "pair", "OneBot verified"),
            ("TwoBot", "pair", "TwoBot verified"),
            // Whoever signs as themselves is not the one whose name they write.
            ("OneBot", "sole", "SoleBot verified"),
            ("BareBot", "sole", "SoleBot verified"),
            ("SoleBot", "pair", "- verified"),
            ("BareBot", "evil", "- verified"),
            ("-", "sole", "SoleBot verified"),
            ("-", "pair", "- verified"),
            ("-", "evil", "- verified"),
        ] {
            assert_eq!(
                who(named, &signed_by(origin)),
                expected,
                "{named}, {origin}"
            );
        }
    }

    #[test]
    fn without_a_signature_that_holds_the_name_of_the_user_agent_stands() {
        let invalid = Judgement::Invalid(InvalidReason::Wrong);
        let unverified = Judgement::Unverified(UnverifiedReason::KeyUnknown);
        for (named, judgement, expected) in [
            ("SoleBot", &Judgement::Unsigned, "SoleBot unverified"),
            ("SoleBot", &invalid, "SoleBot invalid"),
            ("SoleBot", &unverified, "SoleBot unverified"),
            ("-", &invalid, "- invalid"),
            ("-", &Judgement::Unsigned, "- unverified"),
        ] {
            assert_eq!(who(named, judgement), expected);
        }
    }
}
