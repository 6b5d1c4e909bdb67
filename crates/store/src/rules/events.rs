//! The rule that says which events a change of a license is.

use model::{
    CredentialInfo, CredentialStatus, Device, Event, EventId, EventType, LicenseId, LicenseStatus,
    Timestamp,
};
use serde_json::{Map, Value, json};

use crate::licenses::StoredLicense;

/// Returns the events of a license that was made (`before` is `None`) or changed, in the order in
/// which they are told. A change that leaves its terms, keys and status as they were is none, and so
/// is any of a wallet, which its account does not know as a license.
pub(crate) fn events_of(
    before: Option<&StoredLicense>,
    after: &StoredLicense,
    at: Timestamp,
) -> Vec<Event> {
    if after.license.is_wallet() {
        return Vec::new();
    }
    let Some(before) = before else {
        let mut events = vec![event_of(after, EventType::LicenseCreated, at)];
        events.extend(devices(&[], after, at));
        return events;
    };
    let mut events: Vec<_> = unnoticed_end(before, after, at).into_iter().collect();
    let kinds = kinds_of(before, after).into_iter();
    events.extend(kinds.map(|kind| event_of(after, kind, at)));
    events.extend(devices(&before.devices, after, at));
    events.extend(status(before, after).map(|kind| event_of(after, kind, at)));
    events
}

/// Returns the events of the devices that were freed and bound, freed ones first.
fn devices(before: &[Device], after: &StoredLicense, at: Timestamp) -> Vec<Event> {
    let beyond = |all: &[Device], known: &[Device]| -> Vec<Device> {
        let new = all
            .iter()
            .filter(|one| known.iter().all(|k| k.id != one.id));
        new.cloned().collect()
    };
    let with = |kind, name: &str, value| {
        let mut event = event_of(after, kind, at);
        event.data.insert(name.to_owned(), value);
        event
    };
    let freed = beyond(before, &after.devices);
    let mut events = Vec::new();
    if !freed.is_empty() {
        let freed = freed.iter().map(|device| device.id.as_str());
        let freed = freed.collect::<Vec<_>>().into();
        events.push(with(EventType::DevicesReset, "devices", freed));
    }
    let bound = beyond(&after.devices, before).into_iter();
    events.extend(bound.map(|device| {
        let device = device.id.as_str().into();
        with(EventType::DeviceBound, "device", device)
    }));
    events
}

/// Returns the end of a license that may not have been noticed before it is changed, so that nobody
/// would notice it any more. If it was, the event has the same id and is told once.
fn unnoticed_end(before: &StoredLicense, after: &StoredLicense, at: Timestamp) -> Option<Event> {
    let (old, new) = (&before.license, &after.license);
    let end = old.spec.expires_at?;
    let was_active = old.status == LicenseStatus::Active;
    let is_hidden = new.status != LicenseStatus::Active || new.spec.expires_at != Some(end);
    let has_ended = end <= at && at.plus_micros(-Timestamp::HOUR) < end;
    let ended = || end_of(before, EventType::LicenseExpired, 0);
    (was_active && is_hidden && has_ended).then(ended)?
}

/// Returns the event of the end of a license, or of that many days before it; `None`: it has none.
/// It is always the same event, whoever notices it.
pub(crate) fn end_of(stored: &StoredLicense, kind: EventType, days: i64) -> Option<Event> {
    let license = &stored.license;
    let end = license.spec.expires_at?;
    let at = end.plus_micros(-days * 24 * Timestamp::HOUR);
    let mut event = event_of(stored, kind, at);
    event.id = EventId::from_u128(fingerprint(license.id, end, days));
    if days > 0 {
        event.data.insert("days".to_owned(), days.into());
    }
    Some(event)
}

/// Returns 128 bits that stand for an end of a license, by FNV-1a.
fn fingerprint(license: LicenseId, end: Timestamp, days: i64) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let parts = [
        &license.as_u128().to_be_bytes()[..],
        &end.micros().to_be_bytes(),
        &days.to_be_bytes(),
    ];
    let hash = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
    parts.concat().iter().fold(BASIS, hash)
}

/// Returns an event about a license as it is.
pub(crate) fn event_of(stored: &StoredLicense, kind: EventType, at: Timestamp) -> Event {
    let license = &stored.license;
    Event {
        id: EventId::generate(),
        kind,
        at,
        account: license.account.clone(),
        app: license.app.clone(),
        license_id: Some(license.id),
        data: facts(stored),
    }
}

fn kinds_of(before: &StoredLicense, after: &StoredLicense) -> Vec<EventType> {
    let mut kinds = Vec::new();
    let rotated = has_new_key(before, after) && lost_a_key(before, after);
    let other_keys = before.credentials != after.credentials && !rotated;
    if before.license.spec != after.license.spec || other_keys {
        kinds.push(EventType::LicenseChanged);
    }
    if rotated {
        kinds.push(EventType::KeyRotated);
    }
    kinds
}

fn status(before: &StoredLicense, after: &StoredLicense) -> Option<EventType> {
    (before.license.status != after.license.status).then_some(match after.license.status {
        LicenseStatus::Active => EventType::LicenseActivated,
        LicenseStatus::Disabled => EventType::LicenseDisabled,
        LicenseStatus::Revoked => EventType::LicenseRevoked,
    })
}

fn has_new_key(before: &StoredLicense, after: &StoredLicense) -> bool {
    let known = |info: &CredentialInfo| before.credentials.iter().any(|old| old.id == info.id);
    after.credentials.iter().any(|info| !known(info))
}

/// Returns whether a key that could be used ends, or ends sooner.
fn lost_a_key(before: &StoredLicense, after: &StoredLicense) -> bool {
    let mut usable = before
        .credentials
        .iter()
        .filter(|old| old.status == CredentialStatus::Active);
    usable.any(|old| {
        let now = after.credentials.iter().find(|info| info.id == old.id);
        now.is_none_or(|now| {
            now.status != CredentialStatus::Active || now.expires_at != old.expires_at
        })
    })
}

/// Returns what an event says of a license: nothing that opens anything.
fn facts(stored: &StoredLicense) -> Map<String, Value> {
    let (license, spec) = (&stored.license, &stored.license.spec);
    let facts = json!({
        "license_id": license.id,
        "app": license.app,
        "status": license.status,
        "user": spec.user,
        "label": spec.label,
        "plan": spec.plan,
        "expires_at": spec.expires_at,
    });
    match facts {
        Value::Object(facts) => facts,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{AccountName, CredentialId, License, LicenseSpec};

    use crate::licenses::ChangeNumber;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    fn key(id: u128) -> CredentialInfo {
        CredentialInfo {
            id: CredentialId::from_u128(id),
            kind: "tallygate".to_owned(),
            prefix: "tg_abcd".to_owned(),
            status: CredentialStatus::Active,
            created_at: NOW,
            expires_at: None,
        }
    }

    fn device(id: &str) -> Device {
        Device {
            id: id.parse().expect("valid"),
            bound_at: NOW,
        }
    }

    fn stored() -> StoredLicense {
        StoredLicense {
            license: License {
                id: LicenseId::from_u128(1),
                account: AccountName::default(),
                app: "api".parse().expect("valid"),
                status: LicenseStatus::Active,
                created_at: NOW,
                spec: LicenseSpec {
                    label: Some("a".to_owned()),
                    ..LicenseSpec::default()
                },
            },
            credentials: vec![key(1)],
            devices: vec![device("first")],
            version: ChangeNumber(1),
        }
    }

    fn after(change: impl FnOnce(&mut StoredLicense)) -> Vec<EventType> {
        let mut after = stored();
        change(&mut after);
        let events = events_of(Some(&stored()), &after, NOW);
        events.into_iter().map(|event| event.kind).collect()
    }

    #[test]
    fn a_change_is_told_by_what_it_changed() {
        use EventType as Type;
        assert_eq!(after(|_| {}), []);
        assert_eq!(after(|stored| stored.version = ChangeNumber(2)), []);
        assert_eq!(
            after(|stored| stored.license.spec.label = None),
            [Type::LicenseChanged]
        );
        for (status, told) in [
            (LicenseStatus::Disabled, Type::LicenseDisabled),
            (LicenseStatus::Revoked, Type::LicenseRevoked),
        ] {
            assert_eq!(after(|stored| stored.license.status = status), [told]);
            let mut before = stored();
            before.license.status = status;
            let again = events_of(Some(&before), &stored(), NOW);
            assert_eq!(again[0].kind, Type::LicenseActivated);
        }
        let both = after(|stored| {
            stored.license.spec.label = None;
            stored.license.status = LicenseStatus::Disabled;
        });
        assert_eq!(both, [Type::LicenseChanged, Type::LicenseDisabled]);
    }

    #[test]
    fn an_end_that_is_hidden_by_a_change_is_told_by_it_and_always_as_the_same_event() {
        let end = NOW;
        let mut before = stored();
        before.license.spec.expires_at = Some(end);
        let later = end.plus_micros(10_000_000);
        let told = |change: &dyn Fn(&mut StoredLicense), at| {
            let mut after = before.clone();
            change(&mut after);
            let events = events_of(Some(&before), &after, at);
            let first = events.into_iter().next().expect("it is told");
            (first.kind, first.id, first.at)
        };
        let gone = |stored: &mut StoredLicense| stored.license.status = LicenseStatus::Revoked;
        let extended = |stored: &mut StoredLicense| stored.license.spec.expires_at = None;
        let renamed = |stored: &mut StoredLicense| stored.license.spec.label = None;
        let ended = end_of(&before, EventType::LicenseExpired, 0).expect("it ends");
        let expected = (EventType::LicenseExpired, ended.id, end);
        assert_eq!(told(&gone, later), expected);
        assert_eq!(told(&extended, later), expected);
        // Whoever looks for ends will see this one, and that one was told long ago.
        assert_eq!(told(&renamed, later).0, EventType::LicenseChanged);
        let much_later = end.plus_micros(2 * Timestamp::HOUR);
        assert_eq!(told(&gone, much_later).0, EventType::LicenseRevoked);
        assert_eq!(
            told(&gone, end.plus_micros(-1)).0,
            EventType::LicenseRevoked
        );

        let ahead = end_of(&before, EventType::LicenseExpiring, 7).expect("it ends");
        assert_ne!(ahead.id, ended.id);
        assert_eq!(ahead.at, end.plus_micros(-7 * 24 * Timestamp::HOUR));
        assert_eq!(ahead.data["days"], 7);
    }

    #[test]
    fn a_key_in_place_of_another_is_a_rotation_and_a_further_one_is_not() {
        let further = after(|stored| stored.credentials.push(key(2)));
        assert_eq!(further, [EventType::LicenseChanged]);
        let gone = after(|stored| stored.credentials[0].status = CredentialStatus::Revoked);
        assert_eq!(gone, [EventType::LicenseChanged]);
        for end in [
            |old: &mut CredentialInfo| old.status = CredentialStatus::Revoked,
            |old: &mut CredentialInfo| old.expires_at = Some(NOW),
        ] {
            let rotated = after(|stored| {
                end(&mut stored.credentials[0]);
                stored.credentials.push(key(2));
            });
            assert_eq!(rotated, [EventType::KeyRotated]);
        }
    }

    #[test]
    fn devices_are_told_by_their_ids_and_those_that_were_freed_first() {
        let mut after = stored();
        after.devices = vec![device("second"), device("third")];
        let told = events_of(Some(&stored()), &after, NOW);
        let told: Vec<_> = told
            .iter()
            .map(|event| {
                let data = &event.data;
                (event.kind, data.get("devices"), data.get("device"))
            })
            .collect();
        assert_eq!(
            told,
            [
                (EventType::DevicesReset, Some(&json!(["first"])), None),
                (EventType::DeviceBound, None, Some(&json!("second"))),
                (EventType::DeviceBound, None, Some(&json!("third"))),
            ]
        );
    }

    #[test]
    fn a_wallet_is_told_nothing_of() {
        let mut wallet = stored();
        wallet.license.id = LicenseId::of_wallet(&wallet.license.account);
        wallet.license.app = model::AppName::every();
        assert_eq!(events_of(None, &wallet, NOW), []);
    }

    #[test]
    fn an_event_says_what_the_license_is_and_no_key() {
        let made = events_of(None, &stored(), NOW);
        assert_eq!(made.len(), 2, "made, and bound to its device");
        assert_eq!(made[1].kind, EventType::DeviceBound);
        assert_eq!((made[0].kind, made[0].at), (EventType::LicenseCreated, NOW));
        let expected = json!({
            "license_id": "lic_00000000000000000000000000000001",
            "app": "api",
            "status": "active",
            "user": null,
            "label": "a",
            "plan": null,
            "expires_at": null,
        });
        assert_eq!(Value::Object(made[0].data.clone()), expected);
    }
}
