//! Policies on agents: in force at once where a rule was set, and soon on every other gate; and the
//! tokens that agents show.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::time::Duration;

use licensing::{
    AgentAsked, AgentDecided, AgentRuleRequest, AgentTokenFound, AuditedLicensing, Error,
    IssueRequest, Issued, KeySource,
};
use model::agent::{
    Access, AgentAnswer, AgentCall, AgentIdentity, AgentMatch, AgentName, AgentReason,
    AgentTokenState, CallingAgent, Operator, TokenShown, Verdict, Verification,
};
use model::{AccountName, Actor, AgentRuleId, AppName, LicenseSpec, LicenseStatus};
use store::{AuditFilter, ManagementStore};
use support::{World, app, options};
use testkit::eventually::eventually_async;

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// A rule for an agent of OpenAI in every app of the default account.
fn on(agent: &str, access: Access) -> AgentRuleRequest {
    AgentRuleRequest {
        matches: AgentMatch {
            operator: Some(parsed("OpenAI")),
            agent: Some(parsed(agent)),
            ..AgentMatch::everything(AccountName::default())
        },
        access,
        answer: None,
        instead_of_license: false,
    }
}

fn operator(world: &World) -> AuditedLicensing {
    world.licensing.acting(Actor::OPERATOR)
}

/// Removes a rule of the default account. Returns whether there was one.
async fn remove(world: &World, id: AgentRuleId) -> bool {
    let (operator, account) = (operator(world), AccountName::default());
    operator.remove_agent_rule(&account, id).await.unwrap()
}

async fn decided(world: &World, agent: &str, token: TokenShown) -> AgentDecided {
    let (operator, agent): (Operator, AgentName) = (parsed("openai"), parsed(agent));
    let call = AgentCall {
        account: &AccountName::default(),
        app: &app(),
        path: "/reports/today",
        operator: Some(&operator),
        agent: Some(&agent),
        purpose: None,
        verification: Verification::Unverified,
    };
    let deciding = world.licensing.decide_on_agent(AgentAsked { call, token });
    deciding.await.unwrap()
}

async fn verdict(world: &World, agent: &str) -> Verdict {
    decided(world, agent, TokenShown::None).await.verdict
}

#[tokio::test]
async fn a_rule_is_in_force_at_once_here_and_soon_on_other_gates() {
    let world = World::new().await;
    let neighbour = world.neighbour(options()).await;
    assert_eq!(verdict(&world, "GPTBot").await, Verdict::Allow);
    assert_eq!(verdict(&neighbour, "GPTBot").await, Verdict::Allow);
    let price = parsed("USD 0.01");
    let mut id = None;
    for (access, expected) in [
        (Access::Deny, Verdict::Deny),
        (Access::Allow, Verdict::Allow),
        (Access::Pay(price), Verdict::Pay(price)),
    ] {
        let rule = operator(&world)
            .set_agent_rule(on("gptbot", access))
            .await
            .unwrap();
        // The rule takes the place of the one for the same agent.
        assert_eq!(*id.get_or_insert(rule.id), rule.id);
        assert_eq!(verdict(&world, "GPTBot").await, expected);
        eventually_async("the other gate follows", async || {
            verdict(&neighbour, "GPTBot").await == expected
        })
        .await;
    }
    assert!(remove(&neighbour, id.unwrap()).await);
    assert!(!remove(&neighbour, id.unwrap()).await);
    assert_eq!(verdict(&neighbour, "GPTBot").await, Verdict::Allow);
    eventually_async("the other gate follows", async || {
        verdict(&world, "GPTBot").await == Verdict::Allow
    })
    .await;
}

#[tokio::test]
async fn rules_that_gates_set_at_once_are_all_kept_and_places_are_used_again() {
    let world = World::new().await;
    let neighbour = world.neighbour(options()).await;
    let set = async |world: &World, agent: String| {
        operator(world)
            .set_agent_rule(on(&agent, Access::Deny))
            .await
            .unwrap();
    };
    for round in 0..10 {
        let (one, two) = (format!("a{round}"), format!("b{round}"));
        tokio::join!(
            set(&world, one.clone()),
            set(&neighbour, two),
            set(&world, format!("c{round}"))
        );
        set(&neighbour, one).await;
    }
    for gate in [&world, &neighbour] {
        let policies = gate.licensing.newest_agent_policies().await.unwrap();
        assert_eq!(policies.rules(&AccountName::default()).count(), 30);
        assert_eq!(policies.accounts(), [&AccountName::default()]);
    }
    let policies = world.licensing.newest_agent_policies().await.unwrap();
    for rule in policies.rules(&AccountName::default()) {
        assert!(remove(&world, rule.id).await);
    }
    for round in 0..30 {
        set(&neighbour, format!("d{round}")).await;
    }
    let agents = store::LicenseStore::agents(&*world.store).unwrap();
    let rows = agents.agent_rules_after(0, 1_000).await.unwrap();
    assert_eq!(rows.len(), 30, "a removed rule leaves its place to others");
}

#[tokio::test]
async fn a_rule_that_says_nothing_new_is_not_written_and_each_change_is_in_the_audit_log() {
    let world = World::new().await;
    let mut request = on("GPTBot", Access::Deny);
    request.matches.path = Some(parsed("/news/"));
    request.answer = Some(AgentAnswer {
        html: Some("<p>no</p>".to_owned()),
        ..AgentAnswer::default()
    });
    let first = operator(&world)
        .set_agent_rule(request.clone())
        .await
        .unwrap();
    request.matches.path = Some(parsed("/news"));
    let again = operator(&world).set_agent_rule(request).await.unwrap();
    assert_eq!(first, again);
    assert!(remove(&world, first.id).await);
    let log = world.store.audit_log().unwrap();
    let lines = log.audit(AuditFilter::default(), 0, 10).await.unwrap();
    let actions: Vec<&str> = lines
        .iter()
        .map(|line| line.entry.action.as_str())
        .collect();
    assert_eq!(actions, ["agent-rule.set", "agent-rule.remove"]);
    let text = serde_json::to_string(&lines[0].entry).unwrap();
    assert!(
        text.contains("GPTBot") && text.contains("9 bytes"),
        "{text}"
    );
    assert!(!text.contains("<p>no"), "{text}");
}

#[tokio::test]
async fn a_rule_that_cannot_be_meant_is_refused_by_its_field_and_nothing_is_written() {
    let world = World::new().await;
    let refused = async |change: fn(&mut AgentRuleRequest)| {
        let mut request = on("GPTBot", Access::Deny);
        change(&mut request);
        operator(&world).set_agent_rule(request).await.unwrap_err()
    };
    let of_app = refused(|rule| rule.matches.app = Some(parsed("other"))).await;
    assert!(matches!(of_app, Error::AppUnknown(_)), "{of_app}");
    let of_account = refused(|rule| rule.matches.account = parsed("nobody")).await;
    assert!(
        matches!(
            of_account,
            Error::Invalid {
                field: "account",
                ..
            }
        ),
        "{of_account}"
    );
    let denied = refused(|rule| rule.instead_of_license = true).await;
    assert!(
        matches!(
            denied,
            Error::Invalid {
                field: "instead_of_license",
                ..
            }
        ),
        "{denied}"
    );
    let answer = |rule: &mut AgentRuleRequest| {
        rule.answer = Some(AgentAnswer {
            code: Some(200),
            ..AgentAnswer::default()
        });
    };
    let answered = refused(answer).await;
    assert!(
        matches!(
            answered,
            Error::Invalid {
                field: "answer",
                ..
            }
        ),
        "{answered}"
    );
    let policies = world.licensing.newest_agent_policies().await.unwrap();
    assert!(policies.accounts().is_empty());
}

/// Makes the token of an agent of OpenAI; without an app for every app of the default account.
async fn token(
    world: &World,
    app: Option<AppName>,
    change: impl FnOnce(&mut IssueRequest),
) -> Result<Issued, Error> {
    let mut request = IssueRequest {
        spec: LicenseSpec {
            agent: Some(Box::new(AgentIdentity {
                operator: parsed("OpenAI"),
                agent: Some(parsed("GPTBot")),
                payer: None,
            })),
            ..LicenseSpec::default()
        },
        ..IssueRequest::for_app(app.unwrap_or_else(AppName::every))
    };
    change(&mut request);
    let mut issued = operator(world).issue(request).await?;
    Ok(issued.remove(0))
}

fn secret(issued: &Issued) -> String {
    issued.credential.as_ref().unwrap().expose().to_owned()
}

/// Shows a token as an agent of OpenAI, for an app.
async fn shown(world: &World, secret: &str, agent: &str, app: (&str, &str)) -> AgentTokenFound {
    let (operator, agent): (Operator, AgentName) = (parsed("openai"), parsed(agent));
    let calling = CallingAgent {
        operator: &operator,
        agent: Some(&agent),
    };
    let for_app = (&parsed(app.0), &parsed(app.1));
    let found = world
        .licensing
        .agent_token(Some(secret), for_app, Some(calling));
    found.await.unwrap()
}

const API: (&str, &str) = ("default", "api");

#[tokio::test]
async fn a_token_opens_what_its_account_sells_to_its_agent_alone() {
    let world = World::new().await;
    let issued = token(&world, None, |_| ()).await.unwrap();
    let secret = secret(&issued);
    assert!(secret.starts_with("agt_"), "{secret}");
    let good = shown(&world, &secret, "gptbot", API).await;
    assert_eq!(good.shown, TokenShown::Known(AgentTokenState::Active));
    assert_eq!(
        good.license.unwrap().license().id,
        issued.license.license.id
    );
    let ends = decided(&world, "GPTBot", good.shown).await;
    assert_eq!(ends.reason, AgentReason::UsageAllowed);
    for (text, agent, app) in [
        (secret.as_str(), "ChatGPT-User", API),
        (&secret, "GPTBot", ("acme", "other")),
        ("agt_unknown_but_long_enough", "GPTBot", API),
        ("short", "GPTBot", API),
    ] {
        let other = shown(&world, text, agent, app).await;
        assert_eq!(other.shown, TokenShown::Unknown, "{text} {agent}");
        assert!(other.license.is_none());
    }
    let of_software = world.licensing.license_of_key(&secret).await.unwrap();
    assert!(of_software.is_none(), "software runs by no token");
    let (license, _) = world.issued_entry(Default::default()).await;
    let key = support::hash_of(&license);
    let plain = shown(&world, license.credential.unwrap().expose(), "GPTBot", API).await;
    assert_eq!(plain.shown, TokenShown::Unknown);
    assert!(matches!(world.find(&key), licensing::Found::Known(_)));
    let (account, app) = (AccountName::default(), app());
    let none = world.licensing.agent_token(None, (&account, &app), None);
    assert_eq!(none.await.unwrap().shown, TokenShown::None);
}

#[tokio::test]
async fn the_state_of_a_token_is_that_of_its_license() {
    let world = World::new().await;
    let end = world.now().plus_micros(60_000_000);
    let issued = token(&world, Some(app()), |request| {
        request.spec.expires_at = Some(end)
    });
    let issued = issued.await.unwrap();
    let id = issued.license.license.id;
    let first = secret(&issued);
    let state = async |secret: &str| shown(&world, secret, "GPTBot", API).await;
    let found = state(&first).await;
    assert_eq!(found.shown, TokenShown::Known(AgentTokenState::Active));
    assert_eq!(found.ends_at(), Some(end));
    for (status, expected) in [
        (LicenseStatus::Disabled, AgentTokenState::Disabled),
        (LicenseStatus::Active, AgentTokenState::Active),
    ] {
        operator(&world).set_status(id, status).await.unwrap();
        assert_eq!(state(&first).await.shown, TokenShown::Known(expected));
    }
    // A new secret has the form of the one before, which ends.
    let rotating = operator(&world);
    let rotated = rotating.rotate(id, Duration::ZERO, Default::default());
    let second = secret(&rotated.await.unwrap());
    assert!(second.starts_with("agt_"), "{second}");
    assert_eq!(
        state(&second).await.shown,
        TokenShown::Known(AgentTokenState::Active)
    );
    assert_eq!(
        state(&first).await.shown,
        TokenShown::Known(AgentTokenState::Expired)
    );
    world.advance(Duration::from_secs(60)).await;
    assert_eq!(
        state(&second).await.shown,
        TokenShown::Known(AgentTokenState::Expired)
    );
    operator(&world)
        .set_status(id, LicenseStatus::Revoked)
        .await
        .unwrap();
    assert_eq!(
        state(&second).await.shown,
        TokenShown::Known(AgentTokenState::Disabled)
    );
}

#[tokio::test]
async fn a_token_has_its_own_secret_and_a_payer_that_can_pay() {
    let world = World::new().await;
    let named = |payer| {
        move |request: &mut IssueRequest| {
            request.spec.agent.as_mut().unwrap().payer = Some(payer);
        }
    };
    let payer = world.issue(Default::default()).await.license.license.id;
    let paid = token(&world, Some(app()), named(payer)).await.unwrap();
    let kept = paid.license.license.spec.agent.unwrap();
    assert_eq!(kept.payer, Some(payer));
    let key = parsed::<String>("a-key-from-elsewhere");
    let key = model::Credential::parse(&key).unwrap();
    let imported = token(&world, Some(app()), |request| {
        request.key = KeySource::Import(key)
    });
    let imported = imported.await.unwrap_err();
    assert!(
        matches!(imported, Error::Invalid { field: "key", .. }),
        "{imported}"
    );
    let token_id = paid.license.license.id;
    // A license of one app cannot pay for a token of all.
    let wide = token(&world, None, named(payer)).await.unwrap_err();
    let of_token = token(&world, Some(app()), named(token_id))
        .await
        .unwrap_err();
    let absent = model::LicenseId::generate();
    let absent = token(&world, Some(app()), named(absent)).await.unwrap_err();
    operator(&world)
        .set_status(payer, LicenseStatus::Revoked)
        .await
        .unwrap();
    let revoked = token(&world, Some(app()), named(payer)).await.unwrap_err();
    for error in [wide, of_token, absent, revoked] {
        assert!(
            matches!(error, Error::Invalid { field: "payer", .. }),
            "{error}"
        );
    }
}
