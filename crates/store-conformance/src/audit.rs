//! The properties of the audit log: lines that are added stay, in their order.

use std::sync::Arc;

use model::{
    AccountName, Actor, AuditEntry, Clock, LicenseStatus, Limits, ManagementKeyId, SystemClock, Who,
};

use crate::fixtures::{hours, keep, new_credential, new_license, new_management_key, units};
use crate::tokens::{issue, tokens};
use crate::users::user;
use crate::{StoreFactory, sessions};
use store::{
    Account, AuditEntries, AuditFilter, AuditStore, ChangeNumber, Changed, Error, LicenseChange,
    Store, StoredLicense, UserChange,
};

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

/// A line is added with and without every optional field.
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

/// Each field of a filter is tried by itself, and all of them together.
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

/// Adds the line whose id every further one repeats, so that those are refused.
async fn taken(store: &Arc<dyn Store>) -> AuditEntry {
    let line = entry("first", "taken");
    let added = log(store).add_audit(vec![line.clone()]).await;
    added.expect("new");
    line
}

async fn lines(store: &Arc<dyn Store>) -> Vec<AuditEntry> {
    let page = log(store).audit(AuditFilter::default(), 0, 1_000).await;
    let page = page.expect("answers").into_iter();
    page.map(|line| line.entry).collect()
}

fn account(name: &str) -> Account {
    Account {
        name: name.parse().expect("valid"),
        created_at: hours(0),
        disabled_at: None,
        wallet: None,
    }
}

/// The line is made of the states that the transaction saw, and is there when the change is.
pub async fn a_change_and_its_line_are_written_together<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let new = entry("license.create", "new");
    let license = new_license(Limits::default());
    let id = license.license.id;
    let creating = store.create_licenses(vec![license], AuditEntries::of(vec![new.clone()]));
    creating.await.expect("new");
    let (first, second) = (entry("license.change", "x"), entry("license.change", "y"));
    let results = [
        (LicenseStatus::Disabled, first.clone(), "Active Disabled"),
        (LicenseStatus::Active, second.clone(), "Disabled Active"),
    ];
    let mut expected = vec![new];
    for (status, line, words) in results {
        let said = line.clone();
        let entries = AuditEntries::from_result(move |changed: &Changed<StoredLicense>| {
            let Changed { before, after } = changed;
            let words = [before, after].map(|stored| format!("{:?}", stored.license.status));
            vec![AuditEntry {
                subject: words.join(" "),
                ..said.clone()
            }]
        });
        let change = LicenseChange::Status(status);
        let changed = store
            .change_license(id, change, entries)
            .await
            .expect("kept");
        assert_eq!(changed.expect("there").license.status, status);
        expected.push(AuditEntry {
            subject: words.to_owned(),
            ..line
        });
    }
    assert_eq!(lines(&store).await, expected);
    drop(store);
    let store = place.open().await;
    assert_eq!(lines(&store).await, expected);
}

/// Every kind of change is made with a line that the log refuses.
pub async fn a_line_that_is_refused_leaves_its_change_undone<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let line = taken(&store).await;
    fn entries<T>(line: &AuditEntry) -> AuditEntries<T> {
        AuditEntries::of(vec![line.clone()])
    }
    fn refused<T: std::fmt::Debug>(done: Result<T, Error>) {
        assert!(matches!(done, Err(Error::Exists(_))), "{done:?}");
    }
    // licenses
    let kept = keep(&*store, units(10, None)).await;
    let other = new_license(Limits::default());
    let (other_id, other_hash) = (other.license.id, other.credentials[0].hash);
    refused(store.create_licenses(vec![other], entries(&line)).await);
    assert_eq!(store.license(other_id).await, Ok(None));
    assert_eq!(store.license_by_key(other_hash).await, Ok(None));
    let before = store.license(kept).await.expect("answers").expect("there");
    let (_, last) = store
        .changes_since(ChangeNumber(0), 10)
        .await
        .expect("answers");
    let added = new_credential();
    let added_hash = added.hash;
    for change in [
        LicenseChange::Status(LicenseStatus::Revoked),
        LicenseChange::AddCredential {
            credential: added,
            others_expire_at: Some(hours(1)),
        },
    ] {
        refused(store.change_license(kept, change, entries(&line)).await);
    }
    assert_eq!(store.license(kept).await, Ok(Some(before)));
    assert_eq!(store.license_by_key(added_hash).await, Ok(None));
    let (_, now) = store
        .changes_since(ChangeNumber(0), 10)
        .await
        .expect("answers");
    assert_eq!(now, last, "no change was numbered");
    // accounts and management keys
    refused(store.create_account(account("new"), entries(&line)).await);
    let accounts = store.accounts().await.expect("answers");
    assert!(
        accounts
            .iter()
            .all(|account| account.name.as_str() != "new")
    );
    let default = AccountName::default();
    let off = store.set_account_disabled(&default, Some(hours(1)), entries(&line));
    refused(off.await);
    let account = store.account(&default).await.expect("answers");
    assert_eq!(account.expect("there").disabled_at, None);
    let old = new_management_key();
    let old_id = old.key.id;
    let creating = store.create_management_key(old.clone(), AuditEntries::none());
    creating.await.expect("new");
    let new = new_management_key();
    refused(
        store
            .create_management_key(new.clone(), entries(&line))
            .await,
    );
    let replacing = store.replace_management_key(old_id, hours(1), new.clone(), entries(&line));
    refused(replacing.await);
    refused(
        store
            .end_management_key(old_id, hours(1), entries(&line))
            .await,
    );
    let nets = vec!["10.0.0.0/8".parse().expect("valid")];
    refused(store.set_key_allow_ips(old_id, nets, entries(&line)).await);
    assert_eq!(store.management_keys(None).await, Ok(vec![old.key.clone()]));
    assert_eq!(store.management_key_by_hash(new.hash).await, Ok(None));
    // users and request tokens
    let zoe = user("api", "zoe");
    refused(store.create_user(zoe.clone(), entries(&line)).await);
    assert_eq!(store.user_by_id(zoe.id).await, Ok(None));
    let creating = store.create_user(zoe.clone(), AuditEntries::none());
    creating.await.expect("new");
    refused(store.delete_user(&zoe.app, "zoe", entries(&line)).await);
    let change = UserChange {
        first_name: Some(None),
        last_name: Some(Some("Zet".to_owned())),
    };
    let changing = store.change_user(&zoe.app, "zoe", change, hours(2), entries(&line));
    refused(changing.await);
    assert_eq!(store.user_by_id(zoe.id).await, Ok(Some(zoe)));
    let (token, _) = issue(&store, kept, 3).await;
    refused(
        tokens(&store)
            .end_token(token.id, hours(0), entries(&line))
            .await,
    );
    let found = tokens(&store).token_by_id(token.id, hours(0)).await;
    assert_eq!(found, Ok(Some(token)));
    // settings
    refused(store.put_if_absent("x", vec![1], entries(&line)).await);
    assert_eq!(store.setting("x").await, Ok(None));
    assert_eq!(lines(&store).await, [line]);
}

/// A session's tokens, its refresh and its end are undone with their line.
pub async fn a_line_that_is_refused_leaves_a_session_as_it_was<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let line = taken(&store).await;
    let license = keep(&*store, Limits::default()).await;
    let owner = sessions::key(&*store, None).await;
    let numbered = async || {
        let changes = store.changes_since(ChangeNumber(0), 10).await;
        changes.expect("answers").1
    };
    let before = numbered().await;
    let (session, first) = (sessions::session(owner, Some(license)), sessions::tokens());
    let entries = || AuditEntries::of(vec![line.clone()]);
    let beginning = store.create_session(session.clone(), first.clone(), 10, entries());
    assert!(matches!(beginning.await, Err(Error::Exists(_))));
    assert_eq!(store.session(session.id).await, Ok(None));
    assert_eq!(store.license_by_key(first.access).await, Ok(None));
    assert_eq!(store.refresh_token(first.refresh).await, Ok(None));

    let beginning = store.create_session(session.clone(), first.clone(), 10, AuditEntries::none());
    assert_eq!(beginning.await, Ok(true));
    let begun = numbered().await;
    assert_eq!(
        begun,
        ChangeNumber(before.0 + 1),
        "what was refused was not numbered"
    );
    let next = sessions::tokens();
    let entries = AuditEntries::of(vec![line.clone()]);
    let asked_at = next.issued_at;
    let refreshing = store.refresh_session(first.refresh, asked_at, next.clone(), entries);
    assert!(matches!(refreshing.await, Err(Error::Exists(_))));
    let unused = store.refresh_token(first.refresh).await.expect("answers");
    assert_eq!(unused.expect("there").used_at, None);
    assert_eq!(store.license_by_key(next.access).await, Ok(None));
    let entries = AuditEntries::of(vec![line.clone()]);
    let ending = store.end_session(session.id, SystemClock.now(), entries);
    assert!(matches!(ending.await, Err(Error::Exists(_))));
    assert_eq!(store.session(session.id).await, Ok(Some(session)));
    let access = store.license_by_key(first.access).await.expect("answers");
    let end = access.expect("there").credential.expires_at;
    assert_eq!(end, Some(first.access_expires_at));
    assert_eq!(numbered().await, begun);
    assert_eq!(lines(&store).await, [line]);
}

/// A key is replaced together with the end of the one before it, or not at all.
pub async fn a_management_key_is_replaced_with_its_line_unless_it_has_ended<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let keys = [(); 3].map(|()| new_management_key());
    let [first, second, third] = &keys;
    let creating = store.create_management_key(first.clone(), AuditEntries::none());
    creating.await.expect("new");
    let (id, now) = (first.key.id, SystemClock.now());
    let line = entry("key.rotate", "x");
    let entries = || AuditEntries::of(vec![line.clone()]);
    let replacing = store.replace_management_key(id, now, second.clone(), entries());
    assert_eq!(replacing.await, Ok(true));
    let found = store.management_key(id).await.expect("answers");
    assert_eq!(found.expect("there").revoked_at, Some(now));
    let replacing = store.replace_management_key(id, now, third.clone(), entries());
    assert_eq!(replacing.await, Ok(false), "it has ended");
    let unknown = third.key.id;
    let replacing = store.replace_management_key(unknown, now, third.clone(), entries());
    assert_eq!(replacing.await, Ok(false));
    assert_eq!(store.management_key_by_hash(third.hash).await, Ok(None));
    assert_eq!(lines(&store).await, std::slice::from_ref(&line));
}
