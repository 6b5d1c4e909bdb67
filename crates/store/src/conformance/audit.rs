//! The audit log: what is added stays, in its order.

use std::sync::Arc;

use model::{Actor, AuditEntry, ManagementKeyId, Who};

use super::StoreFactory;
use super::fixtures::hours;
use crate::{AuditFilter, AuditStore, Error, Store};

fn log(store: &Arc<dyn Store>) -> &dyn AuditStore {
    store.audit_log().expect("it keeps an audit log")
}

fn entry(action: &str, subject: &str) -> AuditEntry {
    AuditEntry::new(&Actor::OPERATOR, hours(1), action, subject)
}

async fn subjects(store: &Arc<dyn Store>, filter: AuditFilter) -> Vec<String> {
    let page = log(store).audit(filter, 0, 1_000).await.expect("answers");
    page.into_iter().map(|line| line.entry.subject).collect()
}

/// With and without everything that a line may have.
pub async fn a_line_comes_back_as_it_was_added<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let actor = Actor {
        who: Who::Key(ManagementKeyId::generate()),
        address: Some("2001:db8::7".parse().expect("valid")),
    };
    let before = serde_json::json!({"label": "quote ' and ü", "plan": null});
    let after = serde_json::json!({"label": null, "plan": "pro", "limits": [1, 2.5, true]});
    let full = AuditEntry {
        count: 42,
        ..AuditEntry::new(&actor, hours(2), "license.change", "lic_1")
            .of(&"acme".parse().expect("valid"))
            .between(Some(&before), Some(&after))
    };
    let bare = AuditEntry::new(&Actor::unknown(None), hours(1), "login.denied", "");
    log(&store)
        .add_audit(vec![full.clone(), bare.clone()])
        .await
        .expect("new");
    let again = log(&store)
        .add_audit(vec![entry("x", "half"), full.clone()])
        .await;
    assert!(matches!(again, Err(Error::Exists(_))), "{again:?}");
    drop(store);
    let store = place.open().await;
    let lines = log(&store)
        .audit(AuditFilter::default(), 0, 10)
        .await
        .expect("answers");
    let entries: Vec<_> = lines.iter().map(|line| line.entry.clone()).collect();
    assert_eq!(entries, [full, bare], "all of an adding or none");
    assert!(0 < lines[0].number && lines[0].number < lines[1].number);
}

/// Pages begin where the one before ended, whoever adds meanwhile.
pub async fn a_log_by_pages_misses_nothing_while_lines_come_in<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let add = async |count: usize| {
        let mut adding = tokio::task::JoinSet::new();
        for number in 0..count {
            let store = Arc::clone(&store);
            adding.spawn(async move {
                let line = entry("a", &number.to_string());
                log(&store).add_audit(vec![line]).await.expect("added");
            });
        }
        adding.join_all().await;
    };
    add(20).await;
    let (mut seen, mut after) = (Vec::new(), 0);
    loop {
        let page = log(&store).audit(AuditFilter::default(), after, 7).await;
        let page = page.expect("answers");
        assert!(page.len() <= 7);
        let Some(last) = page.last() else { break };
        after = last.number;
        if seen.is_empty() {
            add(10).await;
        }
        seen.extend(page.iter().map(|line| line.number));
    }
    assert_eq!(seen.len(), 30);
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
}

/// Each part of a filter by itself, and all of them together.
pub async fn a_log_shows_what_its_filter_names<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let acme = "acme".parse().expect("valid");
    let early = AuditEntry {
        at: hours(0),
        ..entry("license.create", "early")
    };
    let owned = entry("license.revoke", "owned").of(&acme);
    let gate = AuditEntry::new(&Actor::GATE, hours(1), "licensed", "gate");
    log(&store)
        .add_audit(vec![early, owned, gate])
        .await
        .expect("new");
    let by = |filter: AuditFilter| subjects(&store, filter);
    let all = AuditFilter::default;
    let of_account = AuditFilter {
        account: Some(acme.clone()),
        ..all()
    };
    assert_eq!(by(of_account).await, ["owned"]);
    let of_gate = AuditFilter {
        who: Some("gate".to_owned()),
        ..all()
    };
    assert_eq!(by(of_gate).await, ["gate"]);
    let family = AuditFilter {
        action: Some("license.".to_owned()),
        ..all()
    };
    assert_eq!(by(family).await, ["early", "owned"]);
    let one = AuditFilter {
        action: Some("license.create".to_owned()),
        ..all()
    };
    assert_eq!(by(one).await, ["early"]);
    let subject = AuditFilter {
        subject: Some("gate".to_owned()),
        ..all()
    };
    assert_eq!(by(subject).await, ["gate"]);
    let from = AuditFilter {
        from: Some(hours(1)),
        ..all()
    };
    assert_eq!(by(from).await, ["owned", "gate"]);
    let to = AuditFilter {
        to: Some(hours(1)),
        ..all()
    };
    assert_eq!(by(to).await, ["early"]);
    let together = AuditFilter {
        account: Some(acme),
        who: Some("operator".to_owned()),
        action: Some("license.revoke".to_owned()),
        subject: Some("owned".to_owned()),
        from: Some(hours(0)),
        to: Some(hours(2)),
    };
    assert_eq!(by(together).await, ["owned"]);
}
