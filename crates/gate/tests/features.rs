//! Features: routes that ask for more than a license of the app.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod support;

use gate::RouteRules;
use licensing::IssueRequest;
use model::{LicenseSpec, Limits, Refusal, Variables};
use serde_json::json;

use support::{Setup, TestGate, app, plan, request, route};

fn with_variable(value: &serde_json::Value) -> IssueRequest {
    let variables = json!({ "license_features": value });
    IssueRequest {
        spec: LicenseSpec {
            variables: Variables::of(variables.as_object().unwrap()).unwrap(),
            ..LicenseSpec::default()
        },
        ..request("api", Limits::default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_open_to_licenses_that_have_all_its_features_by_their_plan_or_their_variable() {
    let mut api = app("api");
    let reports = RouteRules {
        features: vec!["export".to_owned(), "reports".to_owned()],
        ..route("/reports")
    };
    api.routes = vec![route("/"), reports];
    let mut pro = plan("pro", "0.01").plan;
    pro.features = vec!["reports".to_owned()];
    let fixture = TestGate::of(Setup {
        apps: vec![api],
        plans: vec![pro.into()],
        ..Setup::default()
    })
    .await;
    for (variable, admitted) in [
        (json!("export"), true),
        (json!("beta, export"), true),
        (json!("exports"), false),
        (json!(true), false),
    ] {
        let (_, key) = fixture.issue(with_variable(&variable)).await;
        assert!(fixture.admit(&key).await.is_ok(), "{variable}");
        let asked = fixture.admit_on(0, "/reports/2026", &key).await;
        let refused = asked.err().map(|refused| refused.refusal);
        let expected = (!admitted).then_some(Refusal::RouteNotPermitted);
        assert_eq!(refused, expected, "{variable}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_license_that_gets_a_feature_may_call_its_route_at_once() {
    let mut api = app("api");
    api.routes = vec![RouteRules {
        features: vec!["export".to_owned()],
        ..route("/")
    }];
    let fixture = TestGate::with_app(api).await;
    let (id, key) = fixture.license(Limits::default()).await;
    assert_eq!(fixture.refusal("/", &key).await, Refusal::RouteNotPermitted);
    let update = serde_json::from_value(json!({"variables": {"license_features": "export"}}));
    let acting = fixture.licensing.acting(model::Actor::OPERATOR);
    acting.change(id, update.unwrap()).await.unwrap();
    assert!(fixture.admit(&key).await.is_ok());
}
