//! The properties of upstreams that are down: one event for a fleet, and one when the last gate finds
//! them up.

use std::sync::Arc;

use model::{AccountName, Event, EventType, Timestamp};
use serde_json::json;
use store::{DownUpstream, NextStep, Store};
use tokio::task::JoinSet;

use crate::StoreFactory;
use crate::deliveries::{note, tried};
use crate::events::told;
use crate::fixtures::hours;
use crate::webhooks::{app, due, event, hooks, keep, new_webhook, tell};

fn found(node: &str, upstream: &str, since: Timestamp) -> DownUpstream {
    DownUpstream {
        node: node.to_owned(),
        account: AccountName::default(),
        app: app("api"),
        upstream: upstream.to_owned(),
        since,
    }
}

async fn down(store: &Arc<dyn Store>, found: DownUpstream, now: Timestamp) {
    let kept = hooks(store).upstream_is_down(found, now).await;
    kept.expect("written");
}

async fn up(store: &Arc<dyn Store>, found: DownUpstream, now: Timestamp) {
    let forgotten = hooks(store).upstream_is_up(found, now).await;
    forgotten.expect("written");
}

fn said(events: &[Event]) -> Vec<(EventType, serde_json::Value)> {
    let said = |event: &Event| (event.kind, event.data.clone().into());
    events.iter().map(said).collect()
}

/// The first node that finds an upstream down tells it, and the last that finds it up, whatever they
/// do at once and how often they say it.
pub async fn an_upstream_is_told_once_for_a_fleet<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    down(&store, found("early", "a", hours(0)), hours(0)).await;
    let webhook = keep(&store, new_webhook()).await;
    up(&store, found("nobody", "b", hours(0)), hours(0)).await;
    up(&store, found("nobody", "a", hours(0)), hours(0)).await;
    assert_eq!(
        told(&store, webhook).await,
        [],
        "another still finds it down"
    );
    up(&store, found("early", "a", hours(0)), hours(1)).await;
    let nodes: Vec<_> = (0..8).map(|node| node.to_string()).collect();
    for _ in 0..2 {
        let mut finding = JoinSet::new();
        for node in nodes.clone() {
            let store = Arc::clone(&store);
            finding.spawn(async move { down(&store, found(&node, "a", hours(2)), hours(3)).await });
        }
        finding.join_all().await;
    }
    let all = hooks(&store).down_upstreams().await.expect("answers");
    assert_eq!(all.len(), 8);
    assert_eq!(all[0], found("0", "a", hours(2)));
    down(&store, found("0", "b", hours(4)), hours(5)).await;
    let mut forgetting = JoinSet::new();
    for node in nodes {
        let store = Arc::clone(&store);
        forgetting.spawn(async move { up(&store, found(&node, "a", hours(2)), hours(6)).await });
    }
    forgetting.join_all().await;
    up(&store, found("3", "a", hours(2)), hours(7)).await;
    let data = |upstream: &str, since: Timestamp| json!({"app": "api", "upstream": upstream, "since": since});
    let events = told(&store, webhook).await;
    assert_eq!(
        said(&events),
        [
            (EventType::UpstreamUp, data("a", hours(1))),
            (EventType::UpstreamDown, data("a", hours(2))),
            (EventType::UpstreamDown, data("b", hours(4))),
            (EventType::UpstreamUp, data("a", hours(6))),
        ]
    );
    assert!(events.iter().all(|event| event.license_id.is_none()));
    let all = hooks(&store).down_upstreams().await;
    assert_eq!(all, Ok(vec![found("0", "b", hours(4))]));
}

/// The events of an app come in their order, and hold back none of another app.
pub async fn what_is_told_of_one_app_comes_in_order_and_holds_back_no_other<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    keep(&store, new_webhook()).await;
    let of = |name: &str, kind| {
        let mut event = event(kind, 0, hours(1));
        event.app = app(name);
        event
    };
    let events = [
        of("api", EventType::UpstreamDown),
        of("api", EventType::UpstreamUp),
        of("shop", EventType::UpstreamDown),
    ];
    tell(&store, &events, hours(1)).await;
    let now = due(&store, hours(1)).await;
    let ids: Vec<_> = now.iter().map(|delivery| delivery.event.id).collect();
    assert_eq!(ids, [events[0].id, events[2].id]);
    let later = tried(&now[0], hours(1), NextStep::RetryAt(hours(9)));
    let taken = tried(&now[1], hours(1), NextStep::Delivered);
    note(&store, vec![later, taken]).await;
    assert_eq!(due(&store, hours(2)).await, []);
    assert_eq!(due(&store, hours(9)).await[0].event.id, events[0].id);
}
