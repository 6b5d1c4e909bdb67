//! What sellers decide about their software while it runs: in force at once where it was decided,
//! and soon on every other gate.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::time::Duration;

use licensing::{Error, LicensingOptions};
use model::{Actor, AppSettings, DeviceId, Timestamp};
use support::{World, app, options};
use testkit::eventually::eventually_async;

/// Switches the software off or on.
async fn switch(world: &World, off: Option<Timestamp>) {
    let operator = world.licensing.acting(Actor::OPERATOR);
    let change = |settings: &mut AppSettings| {
        settings.disabled_at = off;
        Ok(())
    };
    let changed = operator.change_app_settings(&app(), change).await.unwrap();
    assert_eq!(changed.is_disabled(), off.is_some());
}

async fn is_off(world: &World) -> bool {
    let known = world.licensing.software_app_named(&app()).await.unwrap();
    known.is_disabled()
}

#[tokio::test]
async fn a_change_is_in_force_at_once_here_and_soon_on_other_gates() {
    let world = World::new().await;
    let neighbour = world.neighbour(options()).await;
    // The first that the other gate has to do with software is a new secret.
    let operator = neighbour.licensing.acting(Actor::OPERATOR);
    let overlap = Duration::ZERO;
    operator.renew_app_secret(&app(), overlap).await.unwrap();
    assert!(!is_off(&world).await && !is_off(&neighbour).await);
    for off in [Some(world.now()), None, Some(world.now())] {
        switch(&world, off).await;
        assert_eq!(is_off(&world).await, off.is_some());
        eventually_async("the other gate follows", async || {
            is_off(&neighbour).await == off.is_some()
        })
        .await;
    }
    // A change of both at once loses neither.
    let block = async |world: &World, device: &str| {
        let operator = world.licensing.acting(Actor::OPERATOR);
        let device: DeviceId = device.parse().unwrap();
        let change = |settings: &mut AppSettings| {
            settings.security.blocked_devices.push(device.clone());
            Ok(())
        };
        operator.change_app_settings(&app(), change).await.unwrap();
    };
    for round in 0..10 {
        let (one, two) = (format!("a{round}"), format!("b{round}"));
        tokio::join!(block(&world, &one), block(&neighbour, &two));
    }
    for gate in [&world, &neighbour] {
        eventually_async("all are there", async || {
            let known = gate.licensing.software_app_named(&app()).await.unwrap();
            known.settings.security.blocked_devices.len() == 20
        })
        .await;
    }
}

#[tokio::test]
async fn a_change_is_made_though_this_gate_does_not_know_yet_that_it_is_one() {
    let world = World::new().await;
    let slow = LicensingOptions {
        change_poll: Duration::from_secs(3_600),
        ..options()
    };
    let neighbour = world.neighbour(slow).await;
    assert!(!is_off(&neighbour).await);
    switch(&world, Some(world.now())).await;
    assert!(!is_off(&neighbour).await, "it has not heard of it");
    switch(&neighbour, None).await;
    eventually_async("the software is on again", async || !is_off(&world).await).await;
}

#[tokio::test]
async fn a_hundred_changes_at_once_at_two_gates_are_all_made() {
    let world = World::new().await;
    let neighbour = world.neighbour(options()).await;
    let mut changes = tokio::task::JoinSet::new();
    for (number, gate) in (0..50).flat_map(|number| [(number, &world), (number, &neighbour)]) {
        let (licensing, id) = (gate.licensing.clone(), gate.instance);
        changes.spawn(async move {
            let operator = licensing.acting(Actor::OPERATOR);
            let device: DeviceId = format!("{id}-{number}").parse().unwrap();
            let change = |settings: &mut AppSettings| {
                settings.security.block(Some(&device), None);
                Ok(())
            };
            operator.change_app_settings(&app(), change).await.map(drop)
        });
    }
    for done in changes.join_all().await {
        done.unwrap();
    }
    eventually_async("all are there", async || {
        let known = world.licensing.software_app_named(&app()).await.unwrap();
        known.settings.security.blocked_devices.len() == 100
    })
    .await;
}

#[tokio::test]
async fn an_imported_id_is_one_apps_alone_and_finds_it() {
    let world = World::new().await;
    let operator = world.licensing.acting(Actor::OPERATOR);
    let import = async |name: &str, id: &str| {
        let app = name.parse().unwrap();
        let change = |settings: &mut AppSettings| {
            settings.imported_id = Some(id.to_owned());
            Ok(())
        };
        operator.change_app_settings(&app, change).await
    };
    import("api", "their-id").await.unwrap();
    let found = world.licensing.software_app("their-id").await.unwrap();
    assert_eq!(found.unwrap().app, app());
    for (name, id) in [("other", "their-id"), ("other", ""), ("other", "a b")] {
        let refused = import(name, id).await.unwrap_err();
        assert!(
            matches!(
                refused,
                Error::Invalid {
                    field: "app_id",
                    ..
                }
            ),
            "{refused}"
        );
    }
}
