//! The Developer API.

use std::collections::HashSet;

use model::{Credential, KeyFormat};
use serde_json::{Value, json};

use super::{Software, denied};

#[tokio::test]
async fn case_94_a_hundred_licenses_are_made_at_once_and_none_where_the_number_is_wrong() {
    let software = Software::start().await;
    let body = |quantity: u32| json!({ "appId": software.app_id, "quantity": quantity });
    let made = software.sell("POST", "/v1/licenses", &body(100)).await;
    let made = made.json(201);
    let keys: HashSet<_> = made["licenses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|license| license["licenseKey"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), 100);
    for key in &keys {
        assert_eq!(KeyFormat::of(key), Some(KeyFormat::Authforge), "{key}");
    }
    let first = &made["licenses"][0];
    assert_eq!(first["appId"], software.app_id);
    assert_eq!(first["status"], "active");
    assert_eq!(
        (&first["expiresAt"], &first["maxHwidSlots"]),
        (&Value::Null, &json!(1))
    );
    assert!(first["createdAt"].as_str().unwrap().ends_with("Z"));
    let wrong = [
        (json!({ "quantity": 0 }), "quantity"),
        (json!({ "quantity": 101 }), "quantity"),
        (json!({ "maxHwidSlots": 17 }), "maxHwidSlots"),
        (json!({ "maxHwidSlots": 0 }), "maxHwidSlots"),
        (json!({ "expiresAt": "2020-01-01T00:00:00Z" }), "expiresAt"),
        (json!({ "expiresAt": "soon" }), "expiresAt"),
        (json!({ "label": "x".repeat(129) }), "label"),
        (json!({ "slots": 1 }), "slots"),
    ];
    for (more, field) in wrong {
        let mut body = body(2);
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let answer = software.sell("POST", "/v1/licenses", &body).await;
        let message = denied(&answer, 400, "bad_request");
        assert!(message.contains(field), "{more}: {message}");
    }
    let path = format!("/v1/licenses?appId={}&limit=200", software.app_id);
    let listed = software.sell("GET", &path, &Value::Null).await.json(200);
    assert_eq!(listed["licenses"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn case_95_a_list_has_every_license_once_while_others_are_made() {
    let software = Software::start().await;
    let make = async |quantity: u32, label: &str| {
        let body = json!({ "appId": software.app_id, "quantity": quantity, "label": label });
        software.sell("POST", "/v1/licenses", &body).await.json(201)
    };
    for quantity in [100, 100, 100, 100, 50] {
        make(quantity, "first").await;
    }
    let (mut cursor, mut sizes, mut seen) = (String::new(), Vec::new(), HashSet::new());
    loop {
        let path = format!(
            "/v1/licenses?appId={}&limit=200&cursor={cursor}",
            software.app_id
        );
        let page = software.sell("GET", &path, &Value::Null).await.json(200);
        let licenses = page["licenses"].as_array().unwrap();
        sizes.push(licenses.len());
        for license in licenses {
            assert_eq!(license["label"], "first");
            // Without a keyring no copy of a key is kept here: licenses differ by what is shown.
            let shown = license["licenseKey"].as_str().unwrap();
            assert!(shown.ends_with("-****-****-****"), "{shown}");
            seen.insert((shown.to_owned(), license["createdAt"].to_string()));
        }
        make(3, "later").await;
        match page["cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(sizes, [200, 200, 50]);
    let wrong = [
        "limit=0",
        "limit=201",
        "limit=x",
        "cursor=%7B%7D",
        "cursor=e30",
    ];
    for query in wrong {
        let path = format!("/v1/licenses?appId={}&{query}", software.app_id);
        denied(
            &software.sell("GET", &path, &Value::Null).await,
            400,
            "bad_request",
        );
    }
    denied(
        &software.sell("GET", "/v1/licenses", &Value::Null).await,
        400,
        "bad_request",
    );
}

#[tokio::test]
async fn case_96_what_is_anothers_is_403_an_unknown_key_404_and_a_bad_bearer_401() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    let path = format!("/v1/licenses/{key}");
    let world = &software.world;
    let acme = world.local("POST", "/accounts", r#"{"name":"acme"}"#).await;
    assert_eq!(acme.status, 201);
    let foreign = world.key(r#"{"account":"acme"}"#).await;
    for path in [
        path.clone(),
        format!("/v1/apps/{}/variables", software.app_id),
    ] {
        let answer = software.sell_as(&foreign, "GET", &path, &Value::Null).await;
        denied(&answer, 403, "forbidden");
        let answer = software
            .sell_as("no-such-key", "GET", &path, &Value::Null)
            .await;
        denied(&answer, 401, "invalid_api_key");
    }
    let body = json!({ "appId": software.app_id });
    let answer = software
        .sell_as(&foreign, "POST", "/v1/licenses", &body)
        .await;
    denied(&answer, 403, "forbidden");
    let nowhere = json!({ "appId": "app_00000000000000000000000000000001" });
    let answer = software.sell("POST", "/v1/licenses", &nowhere).await;
    denied(&answer, 403, "forbidden");
    let unknown = Credential::generate(KeyFormat::Authforge);
    let path = format!("/v1/licenses/{}", unknown.expose());
    denied(
        &software.sell("GET", &path, &Value::Null).await,
        404,
        "not_found",
    );
    let reader = world.key(r#"{"scopes":["read:licenses"]}"#).await;
    let path = format!("/v1/licenses/{key}");
    let shown = software.sell_as(&reader, "GET", &path, &Value::Null);
    assert_eq!(shown.await.status, 200);
    let path = format!("/v1/licenses/{key}");
    let answer = software
        .sell_as(&reader, "DELETE", &path, &Value::Null)
        .await;
    denied(&answer, 403, "forbidden");
}

#[tokio::test]
async fn a_license_is_found_without_its_dashes_changed_and_deleted_for_good() {
    let software = Software::start().await;
    let key = software
        .license(json!({ "label": "order 1", "maxHwidSlots": 3 }))
        .await;
    let bare = key.replace('-', "");
    let shown = software.shown(&bare).await;
    for other in [bare.to_lowercase(), key.to_lowercase()] {
        assert_eq!(software.shown(&other).await, shown);
    }
    assert_eq!(shown["licenseKey"], key);
    assert_eq!(shown["label"], "order 1");
    assert_eq!(
        (&shown["maxHwidSlots"], &shown["hwidList"]),
        (&json!(3), &json!([]))
    );
    let set = json!({ "action": "set-slots", "maxHwidSlots": 16 });
    assert_eq!(software.act(&key, &set).await.json(200)["maxHwidSlots"], 16);
    let set = json!({ "action": "set-slots", "unlimitedHwidSlots": true });
    assert_eq!(
        software.act(&key, &set).await.json(200)["unlimitedHwidSlots"],
        true
    );
    let set = json!({ "action": "set-label", "label": null });
    assert_eq!(
        software.act(&key, &set).await.json(200)["label"],
        Value::Null
    );
    for wrong in [
        json!({ "action": "explode" }),
        json!({ "action": "extend" }),
        json!({ "action": "extend", "expiresAt": "2020-01-01T00:00:00Z" }),
        json!({ "action": "set-slots" }),
        json!({ "action": "set-slots", "maxHwidSlots": 17 }),
        json!({}),
    ] {
        denied(&software.act(&key, &wrong).await, 400, "bad_request");
    }
    let path = format!("/v1/licenses/{key}");
    let deleted = software.sell("DELETE", &path, &Value::Null).await.json(200);
    assert_eq!(deleted["licenseKey"], key);
    for method in ["GET", "DELETE"] {
        denied(
            &software.sell(method, &path, &Value::Null).await,
            404,
            "not_found",
        );
    }
    denied(
        &software.act(&key, &json!({ "action": "activate" })).await,
        404,
        "not_found",
    );
    let path = format!("/v1/licenses?appId={}", software.app_id);
    let listed = software.sell("GET", &path, &Value::Null).await.json(200);
    assert_eq!(listed["licenses"], json!([]));
}

#[tokio::test]
async fn a_key_that_was_brought_in_without_dashes_is_shown_without_them() {
    let software = Software::start().await;
    let bare = "A3K9BFWX7NP2QHDT";
    let body = json!({ "app": "api", "key": bare, "device_slots": 2 });
    let request = hyper::Request::post("/api/v1/licenses")
        .header("Host", "gate")
        .header("Authorization", format!("Bearer {}", software.seller));
    let request = request.body(http_body_util::Full::from(body.to_string()));
    let made = software.world.ask([127, 0, 0, 1], request.unwrap()).await;
    made.json(201);
    assert_eq!(software.shown(bare).await["licenseKey"], bare);
    let reset = json!({ "action": "reset-hwid" });
    let reset = software.act(bare, &reset).await.json(200);
    assert_eq!(reset["licenseKey"], bare);
    let files = format!("/v1/licenses/{bare}/offline-files");
    let file = json!({ "anyMachine": true });
    let file = software.sell("POST", &files, &file).await.json(201);
    assert_eq!(file["fileName"], format!("{bare}.authforge"));
    let path = format!("/v1/licenses/{bare}");
    let deleted = software.sell("DELETE", &path, &Value::Null).await.json(200);
    assert_eq!(deleted["licenseKey"], bare);
}

#[tokio::test]
async fn case_99_variables_are_replaced_as_a_whole_or_not_at_all() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    let paths = [
        format!("/v1/licenses/{key}/variables"),
        format!("/v1/apps/{}/variables", software.app_id),
    ];
    for path in paths {
        let get = async || software.sell("GET", &path, &Value::Null).await.json(200);
        let put = async |body: &Value| software.sell("PUT", &path, body).await;
        assert_eq!(get().await, json!({}));
        let exact = r#"{"rate":97.45365320034685}"#;
        let sent: Value = serde_json::from_str(exact).unwrap();
        assert_eq!(put(&sent).await.text(), exact);
        let shown = software.sell("GET", &path, &Value::Null).await;
        assert_eq!(shown.text(), exact, "no digit is another");
        let first = json!({ "tier": "pro", "seats": 3, "beta": true });
        assert_eq!(put(&first).await.json(200), first);
        let second = json!({ "tier": "basic" });
        assert_eq!(put(&second).await.json(200), second);
        let many: Value = (0..51)
            .map(|n| (n.to_string(), json!(1)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        for wrong in [
            many,
            json!({ "x".repeat(65): 1 }),
            json!({ "nested": { "a": 1 } }),
            json!({ "list": [1] }),
            json!({ "nothing": null }),
            json!({ "long": "x".repeat(4_097) }),
        ] {
            denied(&put(&wrong).await, 400, "bad_request");
            assert_eq!(get().await, second, "the old ones stay");
        }
        assert_eq!(put(&json!({})).await.json(200), json!({}));
    }
}

#[tokio::test]
async fn an_event_of_a_payment_grants_one_license_however_often_it_is_told() {
    let software = Software::start().await;
    let body = json!({ "appId": software.app_id, "label": "evt_1" });
    let grant = async |event: &str, body: &Value| {
        let headers = [
            ("Idempotency-Key", event),
            ("Authorization", &format!("Bearer {}", software.seller)),
        ];
        let mut request = hyper::Request::post("/v1/licenses").header("Host", "gate");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let body = http_body_util::Full::new(body.to_string().into());
        let request = request.body(body).unwrap();
        software.world.ask([127, 0, 0, 1], request).await
    };
    let first = grant("evt_1", &body).await.json(201);
    assert_eq!(grant("evt_1", &body).await.json(201), first);
    assert_ne!(grant("evt_2", &body).await.json(201), first);
    let other = json!({ "appId": software.app_id, "quantity": 2 });
    denied(&grant("evt_1", &other).await, 400, "bad_request");
    // A refusal leaves the key free.
    let wrong = json!({ "appId": software.app_id, "quantity": 0 });
    denied(&grant("evt_3", &wrong).await, 400, "bad_request");
    assert_eq!(grant("evt_3", &body).await.status, 201);
}

#[tokio::test]
async fn the_lists_hold_what_was_put_and_take_no_more_than_they_may() {
    let software = Software::start().await;
    let path = format!("/v1/apps/{}/security", software.app_id);
    let block = format!("{path}/blacklist");
    let put =
        async |path: &str, method: &str, body: Value| software.sell(method, path, &body).await;
    let shown = put(&block, "POST", json!({ "type": "hwid", "value": "bad" })).await;
    assert_eq!(shown.json(201)["hwidBlacklist"], json!(["bad"]));
    let shown = put(
        &block,
        "POST",
        json!({ "type": "ip", "value": "192.0.2.7" }),
    )
    .await;
    assert_eq!(shown.json(201)["ipBlacklist"], json!(["192.0.2.7"]));
    let again = put(&block, "POST", json!({ "type": "hwid", "value": "bad" })).await;
    assert_eq!(again.json(201)["hwidBlacklist"], json!(["bad"]));
    let lists = json!({ "hwidBlacklist": [], "ipWhitelist": ["10.0.0.0/8"] });
    let shown = put(&path, "PUT", lists).await.json(200);
    assert_eq!(shown["hwidBlacklist"], json!([]));
    assert_eq!(
        shown["ipBlacklist"],
        json!(["192.0.2.7"]),
        "a list that is not given stays"
    );
    assert_eq!(
        software.sell("GET", &path, &Value::Null).await.json(200),
        shown
    );
    let many: Vec<_> = (0..1_001).map(|n| n.to_string()).collect();
    for (path, method, wrong, field) in [
        (
            &path,
            "PUT",
            json!({ "hwidWhitelist": many }),
            "hwidWhitelist",
        ),
        (
            &path,
            "PUT",
            json!({ "hwidBlacklist": ["x".repeat(257)] }),
            "hwidBlacklist",
        ),
        (
            &path,
            "PUT",
            json!({ "ipWhitelist": ["nowhere"] }),
            "ipWhitelist",
        ),
        (
            &block,
            "POST",
            json!({ "type": "mac", "value": "x" }),
            "type",
        ),
        (
            &block,
            "POST",
            json!({ "type": "ip", "value": "x" }),
            "value",
        ),
    ] {
        let message = denied(&put(path, method, wrong).await, 400, "bad_request");
        assert!(message.contains(field), "{field}: {message}");
    }
    assert_eq!(
        software.sell("GET", &path, &Value::Null).await.json(200),
        shown
    );
}

#[tokio::test]
async fn a_key_that_stands_in_a_url_is_repeated_nowhere() {
    let software = Software::start().await;
    let key = software.license(json!({})).await;
    let bare = key.replace('-', "");
    let unknown = Credential::generate(KeyFormat::Authforge)
        .expose()
        .to_owned();
    let mut refusals = Vec::new();
    for text in [&key, &bare, &unknown] {
        for path in ["", "/", "/nothing", "/variables/more", "/offline-files/x"] {
            let path = format!("/v1/licenses/{text}{path}");
            for method in ["GET", "POST", "PATCH", "PUT", "DELETE"] {
                if method == "DELETE" && path.ends_with(text.as_str()) {
                    continue;
                }
                let answer = software.sell(method, &path, &Value::Null).await;
                if answer.status >= 400 {
                    assert!(
                        answer.json(answer.status)["error"].is_string(),
                        "{method} {path}"
                    );
                    refusals.push(answer.text());
                }
            }
        }
    }
    assert!(refusals.len() > 30);
    let shows = |text: &str| {
        let parts = key.split('-').chain(unknown.split('-')).skip(1);
        let mut parts = parts.filter(|part| !unknown.starts_with(*part));
        parts.any(|part| text.contains(part))
    };
    assert!(!refusals.iter().any(|text| shows(text)), "{refusals:?}");
    let deleted = software
        .sell("DELETE", &format!("/v1/licenses/{key}"), &Value::Null)
        .await;
    assert_eq!(deleted.status, 200);
    let log = software
        .world
        .local("GET", "/audit?limit=1000", "")
        .await
        .text();
    assert!(log.contains("license.revoke"), "{log}");
    assert!(!shows(&log), "{log}");
}

#[tokio::test]
async fn too_many_requests_of_one_key_are_429_with_the_time_to_wait() {
    let software = Software::start().await;
    let path = format!("/v1/apps/{}/variables", software.app_id);
    let mut answers = Vec::new();
    for _ in 0..101 {
        answers.push(software.sell("GET", &path, &Value::Null).await);
    }
    let (last, others) = answers.split_last().unwrap();
    assert!(others.iter().all(|answer| answer.status == 200));
    denied(last, 429, "rate_limited");
    assert_eq!(last.header("retry-after"), "1");
    let other = software.world.key("{}").await;
    let answer = software.sell_as(&other, "GET", &path, &Value::Null).await;
    assert_eq!(answer.status, 200, "another key has a pace of its own");
    software.pass(1).await;
    assert_eq!(software.sell("GET", &path, &Value::Null).await.status, 200);
}
