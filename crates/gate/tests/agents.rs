//! AI agents: the order of policy, license and price, and what becomes of a call.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use agents::CurrentRecognizer;
use gate::{
    Admitted, AgentRules, Agents, AppRules, CallRequest, Policies, Presented, Refused, RequestHead,
    RouteRules,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::agent::{
    Access, AgentMatch, AgentPolicy, AgentReason, AgentRule, AgentTerms, Verification,
};
use model::{AccountName, AgentRuleId, LicenseStatus, Limits, Mode, Outcome, Refusal, Timestamp};

use support::{HOST, TestGate, app, call, delivered, remaining, route};

const AGENT: &str = "Mozilla/5.0 (compatible; GPTBot/1.3; +https://openai.com/gptbot)";
const PERSON: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";

/// The same policy for every account; `None`: it is out of reach.
struct Fixed(Option<Arc<AgentPolicy>>);

impl Policies for Fixed {
    fn policy(&self, _: &AccountName) -> Option<Arc<AgentPolicy>> {
        self.0.clone()
    }
}

/// Returns a rule for GPTBot.
fn rule(access: Access) -> AgentRule {
    AgentRule {
        id: AgentRuleId::from_u128(1),
        matches: AgentMatch {
            operator: Some("OpenAI".parse().unwrap()),
            agent: Some("GPTBot".parse().unwrap()),
            ..AgentMatch::everything(AccountName::default())
        },
        access,
        answer: None,
        instead_of_license: false,
        set_at: Timestamp::from_micros(0),
    }
}

fn pay() -> Access {
    Access::Pay("USD 0.01".parse().unwrap())
}

/// Returns an app with an open route and one that wants a license, by these rules.
fn app_with(policy: Option<Vec<AgentRule>>, change: impl Fn(&mut AgentRules)) -> AppRules {
    let policy = policy.map(|rules| Arc::new(AgentPolicy::new(rules).unwrap()));
    let mut rules = AgentRules {
        shared: Arc::new(Agents::new(
            Arc::new(CurrentRecognizer::default()),
            Fixed(policy),
        )),
        terms: AgentTerms::default(),
        web_bot_auth: true,
    };
    change(&mut rules);
    let open = RouteRules {
        open: true,
        ..route("/open")
    };
    AppRules {
        agents: Some(rules),
        routes: vec![open, route("/paid")],
        ..app("api")
    }
}

async fn gate_of(policy: Vec<AgentRule>) -> TestGate {
    TestGate::with_app(app_with(Some(policy), |_| ())).await
}

/// Admits a call of a user agent with further headers, and with this key unless it is empty.
async fn admit(
    fixture: &TestGate,
    user_agent: &str,
    path: &str,
    key: &str,
    more: &[(&'static str, &str)],
) -> Result<Admitted, Refused> {
    let mut headers = HeaderMap::new();
    for (name, value) in [("user-agent", user_agent)].iter().chain(more) {
        let name = HeaderName::from_static(name);
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let routed = fixture.route("GET", path)?;
    let request = CallRequest {
        presented: match key {
            "" => Presented::Nothing,
            key => Presented::Credential(key.as_bytes()),
        },
        head: Some(RequestHead {
            method: "GET",
            scheme: "http",
            authority: HOST,
            query: None,
            headers: &headers,
        }),
        ..call(path, key)
    };
    fixture.gate.admit(fixture.worker(), routed, request).await
}

async fn refused(fixture: &TestGate, path: &str, key: &str) -> Refused {
    let admitted = admit(fixture, AGENT, path, key, &[]).await;
    admitted.err().expect("the call is refused")
}

fn reason(refused: &Refused) -> Option<AgentReason> {
    refused.agent.as_ref().and_then(|told| told.reason)
}

fn header<'r>(refused: &'r Refused, name: &str) -> Option<&'r str> {
    let told = refused.agent.as_ref()?;
    let mut headers = told.headers.iter();
    headers.find_map(|(own, value)| (*own == name).then_some(value.as_str()))
}

/// Serves a call that was let in, to its end.
async fn serve(fixture: &TestGate, admitted: Admitted) {
    let mut forwarding = admitted.mark().ok().unwrap();
    forwarding.sending();
    let (committed, durable) = forwarding.commit(200, true);
    durable.await.unwrap();
    committed.close(&delivered(fixture.worker()));
}

#[tokio::test(flavor = "multi_thread")]
async fn denial_comes_before_a_good_license_and_a_good_license_before_everything_else() {
    for (access, open, paid) in [
        (
            Access::Deny,
            Some(Refusal::AgentDenied),
            Some(Refusal::AgentDenied),
        ),
        (Access::Allow, None, Some(Refusal::LicenseMissing)),
        (
            Access::Token,
            Some(Refusal::AgentDenied),
            Some(Refusal::LicenseMissing),
        ),
        (
            pay(),
            Some(Refusal::PaymentRequired),
            Some(Refusal::LicenseMissing),
        ),
    ] {
        let fixture = gate_of(vec![rule(access)]).await;
        let (_, key) = fixture.license(Limits::default()).await;
        let refusal = async |path: &str, key: &str| {
            let admitted = admit(&fixture, AGENT, path, key, &[]).await;
            admitted.err().map(|refused| refused.refusal)
        };
        assert_eq!(refusal("/open", "").await, open, "{access}");
        assert_eq!(refusal("/paid", "").await, paid, "{access}");
        let with_license = open.filter(|_| access == Access::Deny);
        assert_eq!(refusal("/open", &key).await, with_license, "{access}");
        assert_eq!(refusal("/paid", &key).await, with_license, "{access}");
        assert!(admit(&fixture, PERSON, "/open", "", &[]).await.is_ok());
        let person = admit(&fixture, PERSON, "/paid", "", &[])
            .await
            .err()
            .unwrap();
        assert_eq!(person.refusal, Refusal::LicenseMissing);
        assert!(
            person.agent.is_none(),
            "nobody says anything of agents to people"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_license_does_not_make_a_customer() {
    let fixture = gate_of(vec![rule(pay())]).await;
    let (id, key) = fixture.license(Limits::default()).await;
    let acting = fixture.licensing.acting(model::Actor::OPERATOR);
    acting
        .set_status(id, LicenseStatus::Disabled)
        .await
        .unwrap();
    assert_eq!(
        refused(&fixture, "/open", &key).await.refusal,
        Refusal::PaymentRequired
    );
    assert_eq!(
        refused(&fixture, "/open", "no-such-key").await.refusal,
        Refusal::PaymentRequired
    );
    assert_eq!(
        refused(&fixture, "/paid", &key).await.refusal,
        Refusal::LicenseDisabled
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_on_an_open_route_pays_by_its_license_and_the_others_have_none() {
    let fixture = gate_of(vec![rule(pay())]).await;
    let (id, key) = fixture.license(remaining(5)).await;
    serve(
        &fixture,
        admit(&fixture, AGENT, "/open", &key, &[])
            .await
            .ok()
            .unwrap(),
    )
    .await;
    let record = fixture.record();
    assert_eq!(
        (record.head.mode, record.head.license_id),
        (Mode::Proxy, Some(id))
    );
    fixture.assert_left(id, 4).await;
    let fixture = gate_of(vec![rule(Access::Allow)]).await;
    serve(
        &fixture,
        admit(&fixture, AGENT, "/open", "", &[]).await.ok().unwrap(),
    )
    .await;
    let record = fixture.record();
    assert_eq!(
        (record.head.mode, record.head.license_id),
        (Mode::Agent, None)
    );
    assert_eq!(record.tail.outcome, Outcome::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_or_its_app_lets_in_instead_of_a_license() {
    let instead = |access| AgentRule {
        instead_of_license: true,
        ..rule(access)
    };
    let fixture = gate_of(vec![instead(Access::Allow)]).await;
    assert!(admit(&fixture, AGENT, "/paid", "", &[]).await.is_ok());
    let fixture = gate_of(vec![instead(pay())]).await;
    let asked = refused(&fixture, "/paid", "").await;
    assert_eq!(asked.refusal, Refusal::PaymentRequired);
    assert_eq!(header(&asked, "crawler-price"), Some("USD 0.01"));
    let app = app_with(Some(vec![]), |rules| rules.terms.instead_of_license = true);
    let fixture = TestGate::with_app(app).await;
    assert!(
        admit(&fixture, AGENT, "/paid", "", &[]).await.is_ok(),
        "by default"
    );
    let person = admit(&fixture, PERSON, "/paid", "", &[])
        .await
        .err()
        .unwrap();
    assert_eq!(person.refusal, Refusal::LicenseMissing);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_an_agent_has_its_reason_and_its_record() {
    for (access, path, refusal, why) in [
        (
            Access::Deny,
            "/paid",
            Refusal::AgentDenied,
            AgentReason::UsageNotAllowed,
        ),
        (
            Access::Token,
            "/open",
            Refusal::AgentDenied,
            AgentReason::TokenNotProvided,
        ),
        (
            pay(),
            "/open",
            Refusal::PaymentRequired,
            AgentReason::TokenNotProvided,
        ),
        (
            Access::Allow,
            "/paid",
            Refusal::LicenseMissing,
            AgentReason::UsageAllowed,
        ),
    ] {
        let fixture = gate_of(vec![rule(access)]).await;
        let room = fixture.room();
        let told = refused(&fixture, path, "").await;
        assert_eq!(
            (told.refusal, reason(&told)),
            (refusal, Some(why)),
            "{access}"
        );
        assert!(header(&told, "accept-signature").is_some());
        let record = fixture.record();
        assert_eq!(record.head.call_id, told.call_id);
        assert_eq!(
            (record.head.mode, record.head.license_id),
            (Mode::Agent, None)
        );
        assert_eq!(
            (record.tail.outcome, record.tail.refusal),
            (Outcome::Refused, Some(refusal))
        );
        for _ in 0..1_000 {
            let _ = refused(&fixture, path, "").await;
        }
        fixture.pass(Duration::from_secs(1));
        let records = fixture.records();
        let calls: u64 = records
            .iter()
            .map(|record| u64::from(record.tail.calls))
            .sum();
        assert_eq!(calls, 1_001, "{access}");
        assert!(records.len() < 50, "{} records", records.len());
        fixture.assert_nothing_held(&room);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_policy_is_out_of_reach_the_app_says_what_happens() {
    let closed = TestGate::with_app(app_with(None, |_| ())).await;
    let told = refused(&closed, "/open", "").await;
    assert_eq!(told.refusal, Refusal::AgentDenied);
    assert_eq!(reason(&told), Some(AgentReason::UnknownError));
    assert!(admit(&closed, PERSON, "/open", "", &[]).await.is_ok());
    let open = app_with(None, |rules| rules.terms.allows_on_failure = true);
    let open = TestGate::with_app(open).await;
    assert!(admit(&open, AGENT, "/open", "", &[]).await.is_ok());
    let told = refused(&open, "/paid", "").await;
    assert_eq!(told.refusal, Refusal::LicenseMissing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_never_comes_matters_only_where_the_policy_depends_on_it() {
    let verified = AgentRule {
        matches: AgentMatch {
            verification: Some(Verification::Verified),
            ..rule(Access::Allow).matches
        },
        ..rule(Access::Allow)
    };
    let signed = [
        ("signature-agent", "sig1=\"https://agent.example\""),
        ("signature", "sig1=:AAAA:"),
    ];
    let now = Timestamp::from_micros(support::START).seconds();
    let input = format!(
        "sig1=(\"@authority\" \"signature-agent\";key=\"sig1\");created={now};expires={};\
         keyid=\"{}\";tag=\"web-bot-auth\"",
        now + 300,
        "A".repeat(43)
    );
    let more = [signed[0], signed[1], ("signature-input", input.as_str())];
    for (rules, allows, refusal) in [
        (
            vec![verified.clone(), rule(Access::Deny)],
            false,
            Some(AgentReason::UnknownError),
        ),
        (
            vec![verified, rule(Access::Deny)],
            true,
            Some(AgentReason::UsageNotAllowed),
        ),
        (vec![rule(Access::Allow)], false, None),
    ] {
        let app = app_with(Some(rules), |rules| rules.terms.allows_on_failure = allows);
        let fixture = TestGate::with_app(app).await;
        let admitted = admit(&fixture, AGENT, "/open", "", &more).await;
        let told = admitted.err().map(|refused| {
            let signature = refused.agent.as_ref().and_then(|told| told.signature);
            assert_eq!(signature, Some("directory_unknown"));
            reason(&refused).unwrap()
        });
        assert_eq!(told, refusal, "{allows}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_counts_only_from_somebody_who_is_known_for_sure() {
    let fixture = gate_of(vec![rule(pay())]).await;
    for (offers, refusal, error) in [
        (&[][..], Refusal::PaymentRequired, None),
        (
            &[("crawler-max-price", "USD 9")],
            Refusal::PaymentRequired,
            Some("StrongAuthRequired"),
        ),
        (
            &[("crawler-max-price", "nine")],
            Refusal::RequestMalformed,
            Some("InvalidCrawlerPriceValue"),
        ),
        (
            &[
                ("crawler-max-price", "USD 9"),
                ("crawler-exact-price", "USD 9"),
            ],
            Refusal::RequestMalformed,
            Some("ConflictingPriceHeaders"),
        ),
    ] {
        let told = admit(&fixture, AGENT, "/open", "", offers)
            .await
            .err()
            .unwrap();
        assert_eq!(
            (told.refusal, header(&told, "crawler-error")),
            (refusal, error),
            "{offers:?}"
        );
        assert_eq!(header(&told, "crawler-price"), Some("USD 0.01"));
    }
}
