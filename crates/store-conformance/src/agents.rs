//! The properties of policies on agents.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::agent::{Access, AgentAnswer, AgentMatch, AgentRule, Purpose, Verification};
use model::{AccountName, Actor, AgentRuleId, AuditEntry, Limits};
use tokio::task::JoinSet;

use crate::StoreFactory;
use crate::fixtures::{hours, new_license};
use store::{AgentStore, AuditEntries, AuditFilter, LicenseFilter, Store, StoredAgentRule};

fn agents(store: &Arc<dyn Store>) -> &dyn AgentStore {
    store.agents().expect("it keeps policies on agents")
}

fn account(name: &str) -> AccountName {
    name.parse().expect("valid")
}

fn rule(id: u128) -> Arc<AgentRule> {
    Arc::new(AgentRule {
        id: AgentRuleId::from_u128(id),
        matches: AgentMatch::everything(account("default")),
        access: Access::Deny,
        answer: None,
        instead_of_license: false,
        set_at: hours(1),
    })
}

/// Returns a rule in which every field has a value.
fn full() -> Arc<AgentRule> {
    Arc::new(AgentRule {
        matches: AgentMatch {
            account: account("default"),
            app: Some("news".parse().expect("valid")),
            path: Some("/a'b".parse().expect("valid")),
            operator: Some("Open'AI -- \"x\"".parse().expect("valid")),
            agent: Some("GPTBot".parse().expect("valid")),
            purpose: Some(Purpose::Training),
            verification: Some(Verification::Invalid),
        },
        access: Access::Pay("USD 0.000000001".parse().expect("valid")),
        answer: Some(AgentAnswer {
            code: Some(402),
            headers: [("X-A".to_owned(), "b".to_owned())].into(),
            html: Some("<p>用户 \u{0}</p>".to_owned()),
            json: Some(serde_json::json!({ "error": ["pay", 1.5] })),
        }),
        instead_of_license: true,
        ..AgentRule::clone(&rule(2))
    })
}

async fn put(
    store: &Arc<dyn Store>,
    whose: &AccountName,
    in_place_of: u64,
    place: u32,
    rule: Option<Arc<AgentRule>>,
) -> Option<u64> {
    let putting =
        agents(store).put_agent_rule(whose, in_place_of, place, rule, AuditEntries::none());
    putting.await.expect("answers")
}

/// A change of a policy that others changed meanwhile does nothing, and one that is made is found
/// by its number, with what it removed.
pub async fn a_rule_takes_the_place_of_what_was_seen_there<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let [one, two] = ["one", "two"].map(account);
    assert_eq!(put(&store, &one, 1, 0, Some(rule(1))).await, None);
    let first = put(&store, &one, 0, 0, Some(rule(1))).await;
    let first = first.expect("none was made");
    // The number is that of the policy, not of the place.
    assert_eq!(put(&store, &one, 0, 1, Some(rule(9))).await, None);
    let other = put(&store, &two, 0, 0, Some(rule(3))).await;
    let other = other.expect("it is another policy");
    let second = put(&store, &one, first, 1, Some(full())).await;
    let second = second.expect("the first was seen");
    let removed = put(&store, &one, second, 0, None).await;
    let removed = removed.expect("the second was seen");
    assert!(first < other && other < second && second < removed);
    assert_eq!(put(&store, &one, second, 0, Some(rule(4))).await, None);
    drop(store);
    let store = place.open().await;
    let kept = |whose: &AccountName, place, number, rule| StoredAgentRule {
        account: whose.clone(),
        place,
        number,
        rule,
    };
    let all = vec![
        kept(&two, 0, other, Some(rule(3))),
        kept(&one, 1, second, Some(full())),
        kept(&one, 0, removed, None),
    ];
    let after = async |number, limit| agents(&store).agent_rules_after(number, limit).await;
    assert_eq!(after(0, 10).await, Ok(all.clone()));
    assert_eq!(after(0, 2).await, Ok(all[..2].to_vec()));
    assert_eq!(after(other, 10).await, Ok(all[1..].to_vec()));
    assert_eq!(after(removed, 10).await, Ok(Vec::new()));
}

/// The line of a change is in the audit log exactly if the change was made.
pub async fn a_rule_and_its_line_are_written_together<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let whose = account("one");
    for (in_place_of, is_made) in [(0, true), (0, false), (7, false)] {
        let line = AuditEntry::new(&Actor::OPERATOR, hours(1), "agent-rule.set", "agr");
        let entries = AuditEntries::of(vec![line]);
        let putting = agents(&store).put_agent_rule(&whose, in_place_of, 0, None, entries);
        assert_eq!(putting.await.expect("answers").is_some(), is_made);
    }
    let lines = store.audit_log().expect("it keeps an audit log");
    let lines = lines.audit(AuditFilter::default(), 0, 10).await;
    assert_eq!(lines.expect("answers").len(), 1);
}

/// A reader that follows while many change the policies of a few accounts misses no last change,
/// and of those who change one at once each is made in turn.
pub async fn the_numbers_of_rules_are_in_the_order_of_commits<F: StoreFactory>() {
    const ACCOUNTS: usize = 3;
    const WRITERS: u32 = 3;
    const CHANGES: u32 = 6;
    let place = F::fresh().await;
    let store = place.open().await;
    let mut writing = JoinSet::new();
    for whose in 0..ACCOUNTS {
        for place in 0..WRITERS {
            let store = Arc::clone(&store);
            writing.spawn(async move {
                let whose = account(&format!("account-{whose}"));
                for id in 1..=u128::from(CHANGES) {
                    let mut seen = 0;
                    while put(&store, &whose, seen, place, Some(rule(id)))
                        .await
                        .is_none()
                    {
                        let all = agents(&store).agent_rules_after(0, 100).await;
                        let all = all.expect("answers").into_iter();
                        let own = all.filter(|stored| stored.account == whose);
                        seen = own.map(|stored| stored.number).max().unwrap_or(0);
                    }
                }
            });
        }
    }
    let (mut number, mut seen) = (0, BTreeMap::new());
    loop {
        let over = writing.is_empty();
        let read = agents(&store).agent_rules_after(number, 3).await;
        let read = read.expect("answers");
        for stored in &read {
            assert!(stored.number > number);
            number = stored.number;
            let id = stored.rule.as_ref().expect("none is removed").id.as_u128();
            seen.insert((stored.account.clone(), stored.place), id);
        }
        if over && read.is_empty() {
            break;
        }
        while let Some(written) = writing.try_join_next() {
            written.expect("no panic");
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.len(), ACCOUNTS * WRITERS as usize);
    assert!(
        seen.values().all(|id| *id == u128::from(CHANGES)),
        "{seen:?}"
    );
    assert_eq!(number, seen.len() as u64 * u64::from(CHANGES));
}

/// Licenses that are tokens of agents can be listed alone, or left out of a list.
pub async fn the_tokens_of_agents_are_listed_apart<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let (license, mut token) = (
        new_license(Limits::default()),
        new_license(Limits::default()),
    );
    let whose = r#"{"operator":"OpenAI"}"#;
    token.license.spec.agent = Some(serde_json::from_str(whose).expect("valid"));
    let mut all = [license.license.id, token.license.id];
    let creating = store.create_licenses(vec![license, token], AuditEntries::none());
    creating.await.expect("new");
    let [license, token] = all;
    all.sort_unstable();
    for (of_agents, expected) in [
        (None, all.as_slice()),
        (Some(true), &[token]),
        (Some(false), &[license]),
    ] {
        let filter = LicenseFilter {
            of_agents,
            ..LicenseFilter::default()
        };
        let found = store.licenses(filter, None, 10).await.expect("answers");
        let ids: Vec<_> = found.iter().map(|stored| stored.license.id).collect();
        assert_eq!(ids, expected);
    }
}
