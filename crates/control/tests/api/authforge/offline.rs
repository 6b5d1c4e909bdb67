//! Offline files: made by the seller for devices, or by the software for its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use authforge::{OfflineHwidPolicy, VerifyLicenseFileOptions, verify_license_file};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use licensing::{ActivatingDevice, Idempotency, IdempotentRequest, NewOfflineFile, SoftwareTerms};
use model::{Actor, CallId};
use serde_json::{Value, json};
use store::ClaimKind;
use tokio::task::JoinSet;

use super::{Software, denied, refused};

impl Software {
    /// Verifies a file as the SDK does.
    async fn verify(&self, file: &str, device: &str) -> authforge::OfflineLicense {
        let app = "api".parse().unwrap();
        let key = self.world.signing.app_public_key(&app).await.unwrap();
        let now = self.world.services.now().micros() / 1_000;
        let options = VerifyLicenseFileOptions {
            app_id: self.app_id.clone(),
            public_keys: vec![STANDARD.encode(key)],
            hwid: Some(device.to_owned()),
            now_epoch_ms: Some(now),
        };
        verify_license_file(file, &options).expect("a file of ours")
    }

    async fn mint(&self, key: &str, body: &Value) -> crate::support::Answer {
        let path = format!("/v1/licenses/{key}/offline-files");
        self.sell("POST", &path, body).await
    }

    async fn activate(&self, key: &str, device: &str) -> crate::support::Answer {
        let body = self.body(key, device);
        self.auth("offline/activate", &body).await
    }
}

fn selling_offline() -> SoftwareTerms {
    SoftwareTerms {
        offline_activation: true,
        ..SoftwareTerms::default()
    }
}

#[tokio::test]
async fn a_seller_has_files_made_and_sees_which_were() {
    let software = Software::start().await;
    let key = software.license(json!({ "label": "order 7" })).await;
    software.credit(4).await;
    let request = authforge::format_activation_request(
        &software.app_id,
        "device-a",
        "2026-03-01T00:00:00.000Z",
        Some("desk"),
        None,
        None,
        Some(&key),
    );
    let made = software
        .mint(&key, &json!({ "request": request }))
        .await
        .json(201);
    let license = software
        .verify(made["file"].as_str().unwrap(), "device-a")
        .await;
    assert_eq!(
        (license.license_key, license.label.as_deref()),
        (key.clone(), Some("order 7"))
    );
    assert_eq!(made["jti"], license.jti);
    assert_eq!(made["fileName"], format!("{key}.authforge"));
    let body = json!({ "hwids": ["a", "b"], "expiresAt": "2026-04-01T00:00:00Z" });
    let made = software.mint(&key, &body).await.json(201);
    let license = software.verify(made["file"].as_str().unwrap(), "b").await;
    assert_eq!(
        license.expires_at.as_deref(),
        Some("2026-04-01T00:00:00.000Z")
    );
    let made = software
        .mint(&key, &json!({ "anyMachine": true }))
        .await
        .json(201);
    let license = software
        .verify(made["file"].as_str().unwrap(), "whichever")
        .await;
    assert_eq!(license.hwid_policy, OfflineHwidPolicy::Any);
    let path = format!("/v1/licenses/{key}/offline-files?limit=2");
    let listed = software.sell("GET", &path, &Value::Null).await.json(200);
    let files = listed["offlineFiles"].as_array().unwrap();
    assert_eq!(files.len(), 2);
    assert_eq!(files[0]["hwids"], json!(["device-a"]));
    let path = format!("{path}&cursor={}", listed["cursor"].as_str().unwrap());
    let rest = software.sell("GET", &path, &Value::Null).await.json(200);
    assert_eq!(rest["offlineFiles"][0]["jti"], made["jti"]);
    assert_eq!(rest["cursor"], Value::Null);
    assert_eq!(software.credits().await, 1);
    software
        .mint(&key, &json!({ "hwids": ["a"] }))
        .await
        .json(201);
    denied(
        &software.mint(&key, &json!({ "hwids": ["a"] })).await,
        402,
        "no_credits",
    );
}

#[tokio::test]
async fn a_file_that_is_no_request_for_this_license_makes_nothing() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    let request = |app: &str, key: Option<&str>| {
        authforge::format_activation_request(
            app,
            "a",
            "2026-03-01T00:00:00Z",
            None,
            None,
            None,
            key,
        )
    };
    let good = request(&software.app_id, None);
    let made = software
        .mint(&key, &json!({ "hwids": ["a"] }))
        .await
        .json(201);
    let license_file = made["file"].as_str().unwrap();
    for (text, said) in [
        (license_file.to_owned(), "license file"),
        (good.replace("Checksum: ", "Checksum: 0"), "checksum"),
        (good[..200].to_owned(), "whole"),
        ("hello".to_owned(), "whole"),
        (request("another-app", None), "another app"),
        (
            request(&software.app_id, Some("AAAA-BBBB-CCCC-DDDD")),
            "another license",
        ),
    ] {
        let answer = software.mint(&key, &json!({ "request": text })).await;
        let message = denied(&answer, 400, "bad_request");
        assert!(
            message.contains("request") && message.contains(said),
            "{message}"
        );
    }
    for wrong in [
        json!({}),
        json!({ "hwids": [] }),
        json!({ "hwids": ["a"], "anyMachine": true }),
        json!({ "hwids": vec!["a"; 101] }),
        json!({ "hwids": ["a"], "expiresAt": "2020-01-01T00:00:00Z" }),
    ] {
        denied(&software.mint(&key, &wrong).await, 400, "bad_request");
    }
    software
        .act(&key, &json!({ "action": "revoke" }))
        .await
        .json(200);
    denied(
        &software.mint(&key, &json!({ "hwids": ["a"] })).await,
        400,
        "bad_request",
    );
    let path = format!("/v1/licenses/{key}/offline-files");
    let listed = software.sell("GET", &path, &Value::Null).await.json(200);
    assert_eq!(listed["offlineFiles"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_device_has_one_file_made_for_two_credits_and_gets_the_same_again() {
    let software = Software::with(selling_offline()).await;
    let key = software.license(json!({ "maxHwidSlots": 2 })).await;
    software.credit(7).await;
    let first = software.activate(&key, "a").await;
    let made = first.json(201);
    assert_eq!(
        (&made["status"], &made["replay"]),
        (&json!("success"), &json!(false))
    );
    let license = software.verify(made["file"].as_str().unwrap(), "a").await;
    assert_eq!(
        (license.license_key, license.expires_at),
        (key.clone(), None)
    );
    assert_eq!(software.credits().await, 5);
    let again = software.activate(&key, "a").await.json(200);
    assert_eq!(
        (&again["file"], &again["replay"]),
        (&made["file"], &json!(true))
    );
    assert_eq!(software.credits().await, 5);
    software.activate(&key, "b").await.json(201);
    // A reset frees slots, and gives no device a file that was given out already.
    software
        .act(&key, &json!({ "action": "reset-hwid" }))
        .await
        .json(200);
    refused(
        &software.activate(&key, "c").await,
        403,
        "offline_activation_limit_reached",
    );
    assert_eq!(software.credits().await, 3);
    let none = json!([]);
    assert_eq!(software.shown(&key).await["hwidList"], none, "no slot");
    let path = format!("/v1/licenses/{key}/offline-files");
    let listed = software.sell("GET", &path, &Value::Null).await.json(200);
    assert_eq!(listed["offlineFiles"][1]["activatedBy"], "b");
}

#[tokio::test]
async fn an_activation_that_is_refused_takes_no_slot_and_no_rebinding() {
    let terms = SoftwareTerms {
        rebinds_once: true,
        ..selling_offline()
    };
    let software = Software::with(terms).await;
    let key = software.license(json!({ "maxHwidSlots": 1 })).await;
    software.credit(10).await;
    software.activate(&key, "a").await.json(201);
    refused(
        &software.activate(&key, "b").await,
        403,
        "offline_activation_limit_reached",
    );
    assert_eq!(software.shown(&key).await["hwidList"], json!(["a"]));
    assert_eq!(software.credits().await, 8);
    // The one rebinding is there still.
    software.session(&key, "b").await;
    assert_eq!(software.shown(&key).await["hwidList"], json!(["b"]));
    refused(&software.validate(&key, "c").await, 403, "hwid_mismatch");
    // Where all slots are taken by devices that had no file made, none is made for another.
    software.set(selling_offline()).await;
    let full = software.license(json!({ "maxHwidSlots": 1 })).await;
    software.session(&full, "a").await;
    refused(&software.activate(&full, "b").await, 403, "hwid_mismatch");
    software.activate(&full, "a").await.json(201);
}

#[tokio::test]
async fn of_many_activations_of_a_device_at_once_one_costs() {
    let software = Arc::new(Software::with(selling_offline()).await);
    let key = software.license(json!({ "maxHwidSlots": 3 })).await;
    software.credit(9).await;
    let mut tries = JoinSet::new();
    for _ in 0..8 {
        let (software, key) = (software.clone(), key.clone());
        tries.spawn(async move { software.activate(&key, "a").await });
    }
    let answers = tries.join_all().await;
    let new = answers.iter().filter(|answer| answer.status == 201);
    assert_eq!(new.count(), 1);
    let files: HashSet<_> = answers
        .iter()
        .map(|answer| answer.json(answer.status)["file"].to_string())
        .collect();
    assert_eq!(files.len(), 1, "all get the same file");
    assert_eq!(software.credits().await, 7);
}

#[tokio::test]
async fn a_file_is_given_again_when_nothing_is_left_to_pay_with() {
    let terms = SoftwareTerms {
        burn_cap: Some("2/1h".parse().unwrap()),
        ..selling_offline()
    };
    let software = Software::with(terms).await;
    let key = software.license(json!({ "maxHwidSlots": 3 })).await;
    software.credit(2).await;
    let made = software.activate(&key, "a").await.json(201);
    let refusal = software.activate(&key, "b").await;
    refused(&refusal, 429, "app_burn_cap_reached");
    for wait in [0, 599, 1, 3_600] {
        software.pass(wait).await;
        let again = software.activate(&key, "a").await.json(200);
        assert_eq!(again["file"], made["file"], "after {wait} s more");
    }
    assert_eq!(software.credits().await, 0);
    refused(&software.activate(&key, "b").await, 429, "no_credits");
}

/// As if the gate had died after the file was kept: who asks again gets it, and it costs once.
#[tokio::test]
async fn an_activation_that_was_broken_off_is_paid_by_who_asks_again() {
    let software = Software::with(selling_offline()).await;
    let key = software.license(json!({ "maxHwidSlots": 1 })).await;
    software.credit(5).await;
    let licensing = software.world.services.licensing();
    let license = licensing.license_of_key(&key).await.unwrap().unwrap();
    let (id, device) = (license.stored.license.id, "a");
    let license_id = id.as_u128().to_be_bytes();
    let name: [&[u8]; 3] = [b"authforge activate", &license_id, device.as_bytes()];
    let (call_id, now) = (CallId::generate(), software.world.services.now());
    let kept = json!({ "id": call_id, "issued_at": now, "text": "a file" });
    let claim = IdempotentRequest {
        kind: ClaimKind::Nonce,
        name: &name,
        content: &[b""],
        reference: call_id.as_u128(),
        prepared: Some(&licensing.seal_answer(&name, kept.to_string().as_bytes())),
        waits_for_disk: true,
        lifetime: Duration::from_secs(600),
        dead: &[],
    };
    let Idempotency::Run(guard) = licensing.once(&claim).await.unwrap() else {
        panic!("nobody asked before");
    };
    let new = NewOfflineFile {
        id: call_id.as_u128(),
        license: &license.stored.license,
        devices: vec![device.parse().unwrap()],
        issued_at: now,
        expires_at: None,
        text: "a file",
    };
    let activating = ActivatingDevice {
        id: device.parse().unwrap(),
        most: 1,
        frees_others_once: false,
    };
    let acting = licensing.acting(Actor::OPERATOR);
    acting.activate_offline(new, activating).await.unwrap();
    drop(guard);
    for _ in 0..3 {
        let again = software.activate(&key, device).await.json(200);
        assert_eq!(again["file"], "a file");
        assert_eq!(software.credits().await, 3);
    }
}

/// A gate claimed the activation of a device and died: another makes the file, and is paid once.
#[tokio::test]
async fn an_activation_of_a_gate_that_died_is_carried_out_at_another() {
    let software = Software::with(selling_offline()).await;
    let key = software.license(json!({ "maxHwidSlots": 1 })).await;
    software.credit(5).await;
    let licensing = software.world.services.licensing();
    let license = licensing.license_of_key(&key).await.unwrap().unwrap();
    let (dead, device) = (software.world.neighbour().await, "a");
    let license_id = license.stored.license.id.as_u128().to_be_bytes();
    let name: [&[u8]; 3] = [b"authforge activate", &license_id, device.as_bytes()];
    let (call_id, now) = (CallId::generate(), software.world.services.now());
    let made = json!({ "id": call_id, "issued_at": now, "text": "a file" });
    let claim = IdempotentRequest {
        kind: ClaimKind::Nonce,
        name: &name,
        content: &[b""],
        reference: call_id.as_u128(),
        prepared: Some(&dead.seal_answer(&name, made.to_string().as_bytes())),
        waits_for_disk: true,
        lifetime: Duration::from_secs(600),
        dead: &[],
    };
    let claimed = dead.once(&claim).await.unwrap();
    assert!(matches!(claimed, Idempotency::Run(_)));
    software.pass(5).await;
    for status in [201, 200, 200] {
        let answer = software.activate(&key, device).await.json(status);
        assert_eq!(answer["file"], "a file");
        assert_eq!(software.credits().await, 3);
    }
    assert_eq!(software.shown(&key).await["hwidList"], json!([device]));
}

#[tokio::test]
async fn files_are_made_only_where_app_license_and_credits_allow_it() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    refused(
        &software.activate(&key, "a").await,
        403,
        "offline_activation_disabled",
    );
    software.set(selling_offline()).await;
    let ends = software
        .license(json!({ "expiresAt": "2027-01-01T00:00:00Z" }))
        .await;
    refused(
        &software.activate(&ends, "a").await,
        409,
        "offline_activation_requires_perpetual",
    );
    let shared = software
        .license(json!({ "unlimitedHwidSlots": true }))
        .await;
    refused(
        &software.activate(&shared, "a").await,
        409,
        "offline_activation_requires_seats",
    );
    refused(
        &software.activate("TEST-KEY0-0000-0000", "a").await,
        401,
        "invalid_key",
    );
    software.credit(1).await;
    refused(&software.activate(&key, "a").await, 429, "no_credits");
    assert_eq!(
        software.shown(&key).await["hwidList"],
        json!([]),
        "no slot was taken"
    );
    software.credit(1).await;
    software.activate(&key, "a").await.json(201);
    software
        .act(&key, &json!({ "action": "revoke" }))
        .await
        .json(200);
    refused(&software.activate(&key, "a").await, 410, "revoked");
}
