//! A license on a plan that this gate's file lacks goes by the plan's last revision from its first call, or not at all.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::time::{Duration, Instant};

use licensing::{CachedLicense, IssueRequest, Issued};
use model::{Actor, LicenseSpec, Plan, PlanRevision, Refusal};
use support::{World, app, hash_of, options, plans};

fn team() -> PlanRevision {
    PlanRevision::from(Plan {
        name: "team".parse().unwrap(),
        currency: "EUR".parse().unwrap(),
        price_per_unit: "1".parse().unwrap(),
        rate_limits: vec!["2/1h".parse().unwrap()],
        concurrency: None,
        features: vec![],
    })
}

/// A license that another gate made, whose file has the plan.
async fn issued_elsewhere(here: &World) -> Issued {
    let there = here.neighbour(options()).await;
    let apps = plans().apps().cloned().collect();
    let plans = licensing::Plans::new(vec![team()], apps);
    there.licensing.set_plans(plans).await.unwrap();
    let request = IssueRequest {
        spec: LicenseSpec {
            plan: Some("team".parse().unwrap()),
            ..LicenseSpec::default()
        },
        ..IssueRequest::for_app(app())
    };
    let operator = there.licensing.acting(Actor::OPERATOR);
    operator.issue(request).await.unwrap().remove(0)
}

fn is_priced(entry: &CachedLicense) -> bool {
    entry.plan().is_some_and(|plan| plan.id == team().id) && !entry.effective().is_unlimited()
}

#[tokio::test]
async fn a_call_waits_until_the_terms_of_its_plan_are_known() {
    let here = World::new().await;
    let issued = issued_elsewhere(&here).await;
    let hash = hash_of(&issued);
    here.licensing.wake();
    support::eventually("the license is heard of", || {
        matches!(here.find(&hash), licensing::Found::Cold)
    })
    .await;
    let entry = here.entry(&hash).await;
    assert!(entry.awaits_plan());
    // Nobody says them: it is refused, and in time.
    let begun = Instant::now();
    let refused = here
        .licensing
        .admission()
        .with_plan(&hash, entry.clone())
        .await;
    assert_eq!(refused.err(), Some(Refusal::LicenseStoreUnavailable));
    assert!(begun.elapsed() >= Duration::from_millis(250));
    // Somebody does, who is asked by the call.
    let teach = async {
        here.licensing.plan_asked_for().await;
        let known = plans().with_former([team()]);
        here.licensing.set_plans(known).await.unwrap();
    };
    let call = here.licensing.admission().with_plan(&hash, entry);
    let (fitted, ()) = tokio::join!(call, teach);
    assert!(is_priced(&fitted.unwrap()));
    assert!(is_priced(&*here.entry(&hash).await));
}

#[tokio::test]
async fn a_plan_that_never_was_holds_nobody() {
    let here = World::new().await;
    let issued = issued_elsewhere(&here).await;
    let absent = plans().with_absent(["team".parse().unwrap()]);
    here.licensing.set_plans(absent).await.unwrap();
    let hash = hash_of(&issued);
    here.licensing.wake();
    support::eventually("the license is heard of", || {
        matches!(here.find(&hash), licensing::Found::Cold)
    })
    .await;
    let entry = here.entry(&hash).await;
    assert!(!entry.awaits_plan() && entry.plan().is_none());
    assert!(
        here.licensing
            .admission()
            .with_plan(&hash, entry)
            .await
            .is_ok()
    );
}
