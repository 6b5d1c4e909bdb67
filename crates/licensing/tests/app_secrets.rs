//! The secrets of apps: renewed with an overlap, the same on every gate, and good for nothing else.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::time::Duration;

use licensing::Licensing;
use model::{Actor, AppId, AppName, Credential};
use support::{FaultyStore, World, app, hash, options};
use testkit::eventually::eventually_async;

const HOUR: Duration = Duration::from_secs(3_600);

async fn renew(world: &World, overlap: Duration) -> Credential {
    let operator = world.licensing.acting(Actor::OPERATOR);
    let issued = operator.renew_app_secret(&app(), overlap).await.unwrap();
    issued.secret
}

async fn app_of(licensing: &Licensing, id: AppId, secret: &Credential) -> Option<AppName> {
    let id = id.to_string();
    let found = licensing.app_of_secret(&id, secret.expose()).await.unwrap();
    found.map(|app| app.app.clone())
}

#[tokio::test]
async fn the_secret_before_is_taken_until_its_overlap_is_over_and_at_most_as_long_as_was_said_first()
 {
    let world = World::new().await;
    let neighbour = world.neighbour(options()).await;
    let id = world.licensing.app_secrets(&app()).await.unwrap().app_id;
    let first = renew(&world, HOUR).await;
    assert_eq!(app_of(&world.licensing, id, &first).await, Some(app()));
    let second = renew(&world, HOUR).await;
    let third = renew(&world, 5 * HOUR).await;
    let secrets = world.licensing.app_secrets(&app()).await.unwrap();
    assert_eq!(secrets.created_at, Some(world.now()));
    let until = world.now().plus_micros(5 * 3_600_000_000);
    assert_eq!(secrets.former_until, Some(until));
    let taken_by = async |gate: &World| {
        let mut taken = Vec::new();
        for secret in [&first, &second, &third] {
            let found = app_of(&gate.licensing, id, secret).await;
            taken.push(found.is_some());
        }
        taken
    };
    // The other gate learns of what it did not know with its next reading.
    let taken = async || {
        let here = taken_by(&world).await;
        eventually_async("gates agree", async || taken_by(&neighbour).await == here).await;
        here
    };
    assert_eq!(taken().await, [true, true, true]);
    world.advance(HOUR).await;
    assert_eq!(taken().await, [false, true, true]);
    world.advance(4 * HOUR).await;
    assert_eq!(taken().await, [false, false, true]);
    let secrets = world.licensing.app_secrets(&app()).await.unwrap();
    assert_eq!(secrets.former_until, None);
    renew(&world, Duration::ZERO).await;
    assert_eq!(taken().await, [false, false, false], "all of them at once");
}

#[tokio::test]
async fn a_secret_is_good_for_its_own_app_and_nothing_else() {
    let world = World::new().await;
    let secret = renew(&world, HOUR).await;
    let licensing = &world.licensing;
    let own = licensing.app_secrets(&app()).await.unwrap().app_id;
    let other: AppName = "other".parse().unwrap();
    let others = licensing.app_secrets(&other).await.unwrap();
    assert_eq!((others.created_at, others.former_until), (None, None));
    assert_ne!(own, others.app_id);
    assert_eq!(app_of(licensing, others.app_id, &secret).await, None);
    assert_eq!(app_of(licensing, AppId::from_u128(1), &secret).await, None);
    for wrong in ["", "x", &secret.expose()[1..]] {
        let own = own.to_string();
        assert_eq!(licensing.app_of_secret(&own, wrong).await.unwrap(), None);
    }
    assert!(
        licensing
            .authenticate(secret.expose())
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        licensing
            .admission()
            .load(hash(&secret))
            .await
            .unwrap()
            .is_none()
    );
    let nowhere = "nowhere".parse().unwrap();
    assert!(licensing.app_secrets(&nowhere).await.is_err());
    FaultyStore::set(&world.store.dead, true);
    assert_eq!(app_of(licensing, own, &secret).await, Some(app()), "known");
    world.clock.advance(Duration::from_secs(1));
    let asked = licensing.app_of_secret(&own.to_string(), "unknown").await;
    assert!(
        asked.unwrap_err().is_unavailable(),
        "never a no for our own trouble"
    );
}

#[tokio::test]
async fn of_many_who_renew_at_once_each_gets_a_secret_that_is_taken() {
    let world = World::new().await;
    let neighbour = world.neighbour(options()).await;
    let mut renewing = tokio::task::JoinSet::new();
    for number in 0..20 {
        let gate = [&world, &neighbour][number % 2];
        let operator = gate.licensing.acting(Actor::OPERATOR);
        renewing.spawn(async move { operator.renew_app_secret(&app(), HOUR).await.unwrap() });
    }
    let issued = renewing.join_all().await;
    for issued in &issued {
        let id = issued.secrets.app_id;
        eventually_async("the secret is taken", async || {
            app_of(&neighbour.licensing, id, &issued.secret).await == Some(app())
        })
        .await;
    }
}

#[tokio::test]
async fn credentials_that_software_has_already_are_taken_over_beside_those_made_here() {
    let world = World::new().await;
    let neighbour = world.neighbour(options()).await;
    let made = renew(&world, HOUR).await;
    let theirs = Credential::parse("as-their-software-has-it").unwrap();
    let operator = world.licensing.acting(Actor::OPERATOR);
    let import = async |id: &str| {
        let app = app();
        let imported = operator.import_app_credentials(&app, id, &theirs, HOUR);
        imported.await
    };
    let secrets = import("their-id").await.unwrap();
    assert_eq!(
        secrets.former_until,
        Some(world.now().plus_micros(3_600_000_000))
    );
    world.advance(HOUR / 2).await;
    let again = import("their-id").await.unwrap();
    assert_eq!(again, secrets, "the same again changes nothing");
    let own = secrets.app_id.to_string();
    for gate in [&world, &neighbour] {
        for id in ["their-id", &own] {
            for secret in [&made, &theirs] {
                eventually_async("it is taken", async || {
                    let found = gate.licensing.app_of_secret(id, secret.expose()).await;
                    found.unwrap().is_some()
                })
                .await;
            }
        }
    }
    let shown = async || {
        let known = world.licensing.software_app_named(&app()).await.unwrap();
        known.shown_id()
    };
    assert_eq!(shown().await, "their-id");
    import(&own).await.unwrap();
    assert_eq!(shown().await, own, "its own id takes the imported one away");
    assert!(import("not an id").await.is_err());
}
