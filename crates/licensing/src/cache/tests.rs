//! The cache alone, without a store.

use std::time::Duration;

use model::{Clock, Fingerprint, LicenseId, Refusal, Timestamp};
use store::{Change, ChangeNumber};

use super::{FingerprintSet, Found, Freshness, History};
use crate::testing::{Memory, hash, license};

fn change(number: u64, added: Option<Fingerprint>) -> Change {
    Change {
        number: ChangeNumber(number),
        license_id: license().id,
        added,
        at: Timestamp::from_micros(number as i64),
    }
}

#[test]
fn a_license_is_known_until_a_change_outdates_it_and_cold_until_it_is_filled_again() {
    let memory = Memory::new(false);
    memory
        .cache
        .apply(&change(1, Some(hash("a").fingerprint())));
    assert!(matches!(memory.find("a"), Found::Cold));
    assert!(memory.fill("a", &license(), 1).is_some());
    assert!(matches!(memory.find("a"), Found::Known(_)));
    assert!(memory.cache.apply(&change(2, None)), "it is news");
    assert!(matches!(memory.find("a"), Found::Cold));
    assert!(memory.fill("a", &license(), 1).is_none(), "it is older");
    assert!(memory.fill("a", &license(), 2).is_some());
    assert!(matches!(memory.find("a"), Found::Known(_)));
    assert!(!memory.cache.apply(&change(2, None)), "it is known");
}

#[test]
fn only_licenses_with_a_state_have_cuts_to_be_learned() {
    let memory = Memory::new(false);
    memory.cache.apply(&change(1, None));
    assert_eq!(memory.cache.pending_cuts().take(), []);
    let held = memory.fill("a", &license(), 1);
    assert_eq!(memory.cache.pending_cuts().take(), []);
    memory.cache.apply(&change(2, None));
    assert_eq!(memory.cache.pending_cuts().take(), [license().id]);
    memory.cache.apply(&change(2, None));
    assert_eq!(memory.cache.pending_cuts().take(), []);
    // A look-up that is ahead of the changes does not say what became of other credentials.
    memory.fill("b", &license(), 3);
    assert_eq!(memory.cache.pending_cuts().take(), [license().id]);
    assert!(held.is_some_and(|license| license.is_outdated()));
}

#[test]
fn a_key_without_a_fingerprint_is_unknown_only_if_the_changes_were_read_since_the_call_came() {
    let memory = Memory::new(false);
    assert!(matches!(memory.find("a"), Found::Unknown));
    memory.clock.advance(Duration::from_millis(1));
    assert!(matches!(memory.find("a"), Found::Unheard));
    let now = memory.clock.since_boot();
    memory.cache.reading().succeeded(now);
    assert!(matches!(memory.find("a"), Found::Unknown));
    // One that has the fingerprint of another is looked up once and then known not to exist.
    memory
        .cache
        .apply(&change(1, Some(hash("a").fingerprint())));
    assert!(matches!(memory.find("a"), Found::Cold));
    let log = memory.cache.log();
    memory.cache.fill_absent(&log, hash("a"), now);
    drop(log);
    assert!(matches!(memory.find("a"), Found::Unknown));
    // The credential comes in after all.
    memory
        .cache
        .apply(&change(2, Some(hash("a").fingerprint())));
    assert!(matches!(memory.find("a"), Found::Cold));
}

#[test]
fn without_a_reading_nothing_is_judged_and_with_a_store_that_fails_the_grace_is_what_holds() {
    let memory = Memory::new(false);
    memory
        .cache
        .apply(&change(1, Some(hash("a").fingerprint())));
    memory.fill("a", &license(), 1);
    memory.clock.advance(memory.options.stale_after * 2);
    assert!(matches!(memory.find("a"), Found::Unread));
    let now = memory.clock.since_boot();
    memory
        .cache
        .reading()
        .missed(now, now, Duration::from_secs(1));
    assert!(matches!(
        memory.cache.freshness(now),
        Freshness::Stale { .. }
    ));
    // The app is not configured, so that its grace is zero.
    assert!(matches!(memory.find("a"), Found::Unavailable));
    assert!(matches!(memory.find("b"), Found::Unavailable));
}

#[test]
fn while_everything_is_read_again_no_key_is_unknown_and_afterwards_what_was_read_counts() {
    let memory = Memory::new(false);
    memory
        .cache
        .apply(&change(1, Some(hash("a").fingerprint())));
    let held = memory.fill("a", &license(), 1).expect("it is filled");
    let renewal = memory.cache.begin_resync();
    assert!(memory.cache.is_resyncing());
    assert!(matches!(memory.find("a"), Found::Cold), "it is dropped");
    assert!(matches!(memory.find("b"), Found::Cold));
    let read = FingerprintSet::with_capacity(0);
    read.insert([hash("b").fingerprint()]);
    memory.cache.finish_resync(renewal, read, History::new(1));
    memory.cache.end_resync();
    assert!(matches!(memory.find("a"), Found::Unknown));
    assert!(matches!(memory.find("b"), Found::Cold));
    // Running calls learn again what became of their licenses.
    assert_eq!(memory.cache.pending_cuts().take(), [held.state().id()]);
    assert_eq!(held.state().version(), ChangeNumber(0));
    assert!(memory.fill("a", &license(), 1).is_some());
}

#[test]
fn what_was_read_before_a_change_of_the_license_is_recognised() {
    let memory = Memory::new(false);
    let begun = memory.cache.log().end();
    memory.cache.apply(&change(5, None));
    let newer = |version: u64| {
        let log = memory.cache.log();
        log.is_superseded(begun, |change| change.number.0 > version)
    };
    assert!(newer(4));
    assert!(!newer(5));
    let created = [(LicenseId::from_u128(9), hash("c").fingerprint())];
    memory.cache.apply_created(ChangeNumber(6), &created);
    assert!(newer(5));
    assert!(matches!(memory.find("c"), Found::Cold));
}

#[tokio::test]
async fn a_call_with_a_plan_that_stays_unknown_is_refused_after_its_time() {
    let memory = Memory::new(false);
    let mut unplanned = license();
    unplanned.spec.plan = Some("gone".parse().expect("valid"));
    let held = memory.fill("a", &unplanned, 1).expect("it is filled");
    assert!(held.awaits_plan());
    let waited = memory.cache.with_plan(&hash("a"), held).await;
    assert_eq!(waited.unwrap_err(), Refusal::LicenseStoreUnavailable);
}
