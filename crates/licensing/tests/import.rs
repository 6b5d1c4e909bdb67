//! The import of licenses: each wholly or not at all, once however often it is asked for.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use licensing::{Error, ExistingKey, ImportRequest, ImportedRow, RowToImport};
use model::{Credential, KeyDigest, LicenseId, LicenseSpec, LicenseStatus};
use store::{LicenseFilter, LicenseStore};
use support::{World, app, hash};

fn row(key: &str) -> RowToImport {
    RowToImport {
        key: ExistingKey::Text(Credential::parse(key).unwrap()),
        spec: LicenseSpec::default(),
        status: LicenseStatus::Active,
        devices: Vec::new(),
    }
}

fn request(rows: Vec<RowToImport>) -> ImportRequest {
    ImportRequest {
        app: app(),
        account: None,
        rows,
        keeps_copies: false,
        dry_run: false,
    }
}

async fn import(world: &World, request: &ImportRequest) -> Vec<ImportedRow> {
    let operator = world.licensing.acting(model::Actor::OPERATOR);
    operator.import(request).await.unwrap()
}

fn made(row: &ImportedRow) -> LicenseId {
    match row {
        ImportedRow::Made(Some(id)) => *id,
        other => panic!("{other:?}"),
    }
}

fn bad(row: &ImportedRow) -> (&'static str, String) {
    match row {
        ImportedRow::Bad(Error::Invalid { field, reason }) => (field, reason.clone()),
        other => panic!("{other:?}"),
    }
}

async fn count(world: &World) -> usize {
    let all = world.store.licenses(LicenseFilter::default(), None, 1_000);
    all.await.unwrap().len()
}

#[tokio::test]
async fn a_license_is_taken_over_with_its_key_devices_status_and_past() {
    let world = World::new().await;
    let mut ended = row("an-old-key-0001");
    ended.spec.expires_at = Some(world.now().plus_micros(-1));
    ended.spec.device_slots = Some(2);
    ended.spec.label = Some("moved".to_owned());
    ended.devices = vec!["B".parse().unwrap(), "A".parse().unwrap()];
    ended.status = LicenseStatus::Disabled;
    let mut known_by_digest = row("unused-key");
    known_by_digest.key = ExistingKey::Digest(KeyDigest::of("an-old-key-0002"));
    let bare = row("A3K9BFWX7NP2QHDT");
    let rows = import(&world, &request(vec![ended.clone(), known_by_digest, bare])).await;
    let ids: Vec<_> = rows.iter().map(made).collect();

    let stored = world.licensing.license(ids[0]).await.unwrap();
    assert_eq!(stored.license.spec, ended.spec);
    assert_eq!(stored.license.status, LicenseStatus::Disabled);
    let devices: Vec<_> = stored
        .devices
        .iter()
        .map(|device| device.id.as_str())
        .collect();
    assert_eq!(devices, ["B", "A"]);
    assert!(
        stored
            .devices
            .iter()
            .all(|device| device.bound_at == world.now())
    );
    for (id, key) in ids
        .iter()
        .zip(["an-old-key-0001", "an-old-key-0002", "A3K9-BFWX-7NP2-QHDT"])
    {
        let entry = world.entry(&hash(&Credential::parse(key).unwrap())).await;
        assert_eq!(entry.license().id, *id, "{key}");
    }
}

#[tokio::test]
async fn the_same_import_again_makes_nothing_and_changes_nothing() {
    let world = World::new().await;
    let mut asked = request(vec![row("an-old-key-0001"), row("an-old-key-0002")]);
    asked.dry_run = true;
    for row in import(&world, &asked).await {
        assert!(matches!(row, ImportedRow::Made(None)), "{row:?}");
    }
    assert_eq!(count(&world).await, 0);
    asked.dry_run = false;
    let ids: Vec<_> = import(&world, &asked).await.iter().map(made).collect();
    asked.rows[0].spec.label = Some("another".to_owned());
    asked.rows.push(row("an-old-key-0003"));
    let again = import(&world, &asked).await;
    for (row, id) in again.iter().zip(&ids) {
        assert!(
            matches!(row, ImportedRow::There(there) if there == id),
            "{row:?}"
        );
    }
    let _new = made(&again[2]);
    assert_eq!(count(&world).await, 3);
    let first = world.licensing.license(ids[0]).await.unwrap();
    assert_eq!(first.license.spec.label, None);
}

#[tokio::test]
async fn what_is_wrong_with_a_row_is_named_and_holds_up_no_other() {
    let world = World::new().await;
    let mut of_another = request(vec![row("a-key-of-another")]);
    of_another.app = "other".parse().unwrap();
    let _elsewhere = made(&import(&world, &of_another).await[0]);
    let with = |change: fn(&mut RowToImport)| {
        let mut row = row("an-old-key-0001");
        change(&mut row);
        row
    };
    let device = |text: &str| text.parse().unwrap();
    let mut crowded = with(|row| row.spec.device_slots = Some(1));
    crowded.devices = vec![device("a"), device("b")];
    let mut doubled = with(|row| row.spec.unlimited_devices = true);
    doubled.devices = vec![device("a"), device("a")];
    let rows = import(
        &world,
        &request(vec![
            row("a-key-of-another"),
            with(|row| row.spec.device_slots = Some(17)),
            crowded,
            doubled,
            with(|row| row.spec.user = Some(String::new())),
            row("an-old-key-0001"),
            row("an-old-key-0001"),
        ]),
    )
    .await;
    let expected = [
        ("key", "another license"),
        ("device_slots", "must be 1 to 16"),
        ("devices", "raise `device_slots`"),
        ("devices", "place 2"),
        ("user", "1 to 200 bytes"),
    ];
    for (row, (field, says)) in rows.iter().zip(expected) {
        let (named, reason) = bad(row);
        assert_eq!(named, field);
        assert!(reason.contains(says), "{reason}");
    }
    let _good = made(&rows[5]);
    assert_eq!(bad(&rows[6]).0, "key");
    assert_eq!(count(&world).await, 2);

    let mut unknown_plan = request(vec![row("an-old-key-0002")]);
    unknown_plan.rows[0].spec.plan = Some("none-such".parse().unwrap());
    let rows = import(&world, &unknown_plan).await;
    assert!(
        matches!(&rows[0], ImportedRow::Bad(Error::PlanUnknown(_))),
        "{rows:?}"
    );
    let operator = world.licensing.acting(model::Actor::OPERATOR);
    let mut unknown_app = request(vec![row("an-old-key-0002")]);
    unknown_app.account = Some("acme".parse().unwrap());
    let refused = operator.import(&unknown_app).await.unwrap_err();
    assert!(matches!(refused, Error::AppUnknown(_)), "{refused}");
}

#[tokio::test]
async fn two_who_take_over_the_same_keys_at_once_make_each_once() {
    let world = World::new().await;
    let other = world.neighbour(support::options()).await;
    let keys: Vec<_> = (0..200)
        .map(|number| format!("an-old-key-{number:04}"))
        .collect();
    let asked = request(keys.iter().map(|key| row(key)).collect());
    let (first, second) = tokio::join!(import(&world, &asked), import(&other, &asked));
    let made = |rows: &[ImportedRow]| {
        let made = rows
            .iter()
            .filter(|row| matches!(row, ImportedRow::Made(Some(_))));
        made.count()
    };
    assert_eq!(made(&first) + made(&second), keys.len());
    assert_eq!(count(&world).await, keys.len());
}
